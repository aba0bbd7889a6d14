"""An advice is a command that can be typed: each stage it names is a deploy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rigspec.verify.advice import DEPLOY, find_words, run_stage

MODULES = sorted(
    path for room in ("verify", "operations") for path in Path("rigspec", room).glob("*.py")
)


def test_a_stage_is_named_with_the_command_that_runs_it() -> None:
    assert run_stage("driver") == (
        "run the driver stage: pyinfra inventory/home.py deploys/driver.py"
    )
    assert run_stage("kernel", "reboot") == (
        "run the kernel and reboot stages: "
        "pyinfra inventory/home.py deploys/kernel.py deploys/reboot.py"
    )


@pytest.mark.parametrize("module", MODULES, ids=str)
def test_no_row_names_a_stage_without_its_command(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert module.name == "advice.py" or not re.search(r"run the [\w ]+ stages?\b", text)
    for names in re.findall(r"run_stage\(([^)]*)\)", text):
        for name in re.findall(r"""["'](\w+)["']""", names):
            assert Path(f"deploys/{name}.py").is_file()
    assert Path(DEPLOY.rpartition(" ")[2]).is_file()


def test_words_are_searched_for_where_owners_put_them() -> None:
    assert find_words(["iommu=off"]) == "grep -rn iommu=off /etc/default/grub /etc/default/grub.d"
    assert find_words(["a;b", "c"]).startswith("grep -rn -e 'a;b' -e c ")
