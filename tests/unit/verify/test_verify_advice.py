"""An advice is a command that can be typed: each stage it names is a deploy."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from home_in_order import GOOD, PLAN, units

from rigspec.verify.advice import DEPLOY, find_words, for_rig, run_stage
from rigspec.verify.drift import find_drift
from rigspec.verify.rig import verify_rig

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


@pytest.mark.parametrize(
    ("rig", "simulated", "said"),
    [
        ("attic", False, "pyinfra inventory/home.py deploys/driver.py --limit attic"),
        ("home", False, "pyinfra inventory/home.py deploys/driver.py --limit '[h]ome'"),
        ("home", True, "rigspec lab apply rigs/home.yaml"),
    ],
)
def test_the_deploys_of_an_advice_are_those_of_the_rig_that_was_looked_at(
    rig: str, simulated: bool, said: str
) -> None:
    text = f"{run_stage('driver')}, then look at: dkms status"
    assert for_rig(text, rig, simulated=simulated) == (
        f"run the driver stage: {said}, then look at: dkms status"
    )


@pytest.mark.parametrize("simulated", [True, False], ids=["virtual", "real"])
def test_rows_and_changes_name_the_rig_in_their_deploys(simulated: bool) -> None:
    gone = units("rigspec-acs.service", load_state="not-found", active_state="inactive")
    seen = replace(GOOD, simulated=simulated, **gone)
    said = [row.next_action for row in verify_rig(PLAN, seen)]
    said += [change.next_action for change in find_drift(PLAN, seen, None).changes]
    named = [text for text in said if text.startswith("run the deploy: ")]
    wanted = "rigspec lab apply rigs/home.yaml" if simulated else "--limit '[h]ome'"
    assert named and all(text.endswith(wanted) for text in named)


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
