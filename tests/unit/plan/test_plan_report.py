from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rigspec.errors import RigspecError
from rigspec.plan.rig import PLAN_FILE, all_files, digest, plan_rig
from rigspec.report.plan import as_text
from rigspec.report.plan_tree import write_tree
from rigspec.spec.rig import Rig

MakeRig = Callable[..., Rig]
ROOT = Path(__file__).resolve().parents[3]


def rigspec(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from rigspec.cli import main; main()", *words]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_text_names_everything_the_host_is_given(make_rig: MakeRig) -> None:
    plan = plan_rig(
        make_rig(
            pcie={"acs": "off_on_gpu_paths"},
            kernel={"arguments": ["nomodeset"], "module_options": {"nvidia_uvm": {"x": "1"}}},
            services={"chat": {"api_key_env": "CHAT_KEY"}},
            verify={"daily": "true"},
        )
    )
    text = as_text(plan)
    for dest in (*(file.dest for file in all_files(plan)), PLAN_FILE):
        assert f"  {dest} " in text
    wanted = [
        *plan.kernel.arguments,
        *("nvidia_uvm x=1", "blacklist nouveau", "pci=disable_acs_redir", "595.*, held"),
        *(package.name for package in plan.containers.packages),
        *(
            "rigspec-acs.service",
            "  rigspec-drift.timer\n",
            "rigspec-chat.service",
            "/etc/rigspec/secrets/chat.env",
        ),
        *(plan.services[0].image, "--tensor-parallel-size 2", "reboots: ", "restarts: "),
    ]
    assert [word for word in wanted if word not in text] == []
    assert text.splitlines()[-1] == f"digest {digest(plan)}"
    assert max(len(line) for line in text.splitlines()) < 200


def test_tree_holds_the_files_with_their_modes(make_rig: MakeRig, tmp_path: Path) -> None:
    plan = plan_rig(make_rig())
    count = write_tree(plan, tmp_path / "out")
    written = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert len(written) == count == len(all_files(plan)) + 1  # plan.json
    script = tmp_path / "out/usr/local/lib/rigspec/power"
    assert script.stat().st_mode & 0o777 == 0o755


def test_tree_replaces_an_older_one_of_ours_and_only_that(
    make_rig: MakeRig, tmp_path: Path
) -> None:
    write_tree(plan_rig(make_rig(pcie={"acs": "off_on_gpu_paths"})), tmp_path)
    note = tmp_path / "etc/owner-note"
    note.write_text("keep me")
    write_tree(plan_rig(make_rig()), tmp_path)
    assert not (tmp_path / "usr/local/lib/rigspec/acs").exists()
    assert note.read_text() == "keep me"


def test_tree_refuses_a_folder_with_other_things(make_rig: MakeRig, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RigspecError, match="holds no earlier plan"):
        write_tree(plan_rig(make_rig()), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_verb_prints_the_plan_on_stdout_and_remarks_on_stderr() -> None:
    done = rigspec("plan", "rigs/home.yaml")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("rig home: what debian-13 will be given")
    assert "rigs/home.yaml" not in done.stdout


def test_verb_gives_the_plan_as_data() -> None:
    done = rigspec("plan", "rigs/starter.yaml", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["services"][0]["name"] == "qwen"


def test_checking_a_spec_does_not_load_the_templates() -> None:
    text = (
        "import sys; from rigspec.rules.run import check_file; check_file('rigs/home.yaml');"
        "sys.exit('jinja2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", text], cwd=ROOT, check=False).returncode == 0


def test_verb_refuses_a_folder_that_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("")
    done = rigspec("plan", "rigs/home.yaml", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "hint: give --out a new or empty folder" in done.stderr


def test_verb_shows_the_findings_of_a_bad_spec_and_writes_nothing(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text((ROOT / "rigs/home.yaml").read_text().replace("count: 4", "count: four"))
    done = rigspec("plan", str(bad), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "bad.yaml:" in done.stderr
    assert done.stdout == ""
    assert not (tmp_path / "out").exists()


def test_one_screen_of_estimates_has_no_files_to_write(tmp_path: Path) -> None:
    done = rigspec("plan", "rigs/starter.yaml", "--sizing", "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert "leave out --out" in done.stderr
