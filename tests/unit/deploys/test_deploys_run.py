"""The deploy files through pyinfra's own command line, on its fake connector: no host at all."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

STAGES = (
    "preflight",
    "kernel",
    "driver",
    "reboot",
    "pcie",
    "power",
    "containers",
    "storage",
    "model",
    "service",
    "daily",
    "verify",
)
ON_REQUEST = ("proof", "pace")
"""Deploys that are no part of a rig's stages: verbs run them."""

INVENTORY = """
rigs = [("@fake/rig", {{"spec": {spec!r}, "fake_delay": 0, "fake_delay_jitter": 0,
                       "fake_responses": {{"": {answer!r}}}}})]
"""


def run(folder: Path, deploy: str, answer: str) -> subprocess.CompletedProcess[str]:
    inventory = folder / "inventory.py"
    spec = str(Path("rigs/home.yaml").resolve())
    inventory.write_text(INVENTORY.format(spec=spec, answer=answer))
    words = [sys.executable, "-m", "pyinfra", "-y", str(inventory), f"deploys/{deploy}.py"]
    return subprocess.run(words, capture_output=True, text=True, check=False)


def test_every_stage_has_its_own_deploy_and_the_rig_runs_them_in_order() -> None:
    assert {path.stem for path in Path("deploys").glob("*.py")} == {
        *STAGES,
        *ON_REQUEST,
        "rig",
        "load",
        "probe",
    }
    called = re.findall(r"^stages\.(\w+)\(plan\)", Path("deploys/rig.py").read_text(), re.M)
    assert tuple(called) == STAGES
    for stage in (*STAGES, *ON_REQUEST):
        assert f"stages.{stage}(current_plan())" in Path(f"deploys/{stage}.py").read_text()


def test_another_operating_system_stops_the_run_at_its_first_stage(tmp_path: Path) -> None:
    answer = "##RIG host\nrig_uid=0\nrig_machine=x86_64\nID=fedora\nVERSION_ID=43\n##RIG-END"
    done = run(tmp_path, "rig", answer)
    assert done.returncode == 1
    assert "FAIL: operating system" in done.stderr
    assert "nothing has been changed on this host" in done.stderr
    assert "Kernel:" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("stage", ["kernel", "service", "verify"])
def test_a_stage_alone_on_a_host_that_tells_nothing_fails_in_words(
    tmp_path: Path, stage: str
) -> None:
    # exit 0 without output gives the fact's default: nothing is known, nothing may be changed
    done = run(tmp_path, stage, "")
    assert done.returncode == 1
    assert "could not be read, so nothing is changed" in done.stderr
    assert "Traceback" not in done.stderr
