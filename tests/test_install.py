"""A wheel in a fresh environment plans a rig: templates and deploys travel with the package."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def run(*argv: str | Path, **kwargs: object) -> str:
    done = subprocess.run([str(a) for a in argv], capture_output=True, text=True, **kwargs)  # type: ignore[call-overload]
    assert done.returncode == 0, done.stdout + done.stderr
    return str(done.stdout)


def test_wheel_plans_the_same_rig_as_the_clone(tmp_path: Path) -> None:
    run(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", tmp_path, ROOT)
    wheel = next(tmp_path.glob("rigspec-*.whl"))
    fresh = tmp_path / "venv"
    venv.create(fresh, with_pip=False, system_site_packages=False)
    # dependencies come from the environment that runs the tests; rigspec itself from the wheel only
    site = next((fresh / "lib").glob("python*")) / "site-packages"
    run(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", site, wheel)
    ours = {"PYTHONPATH": str(_dependencies(tmp_path)), "PATH": os.environ["PATH"]}
    code = "import sys; from rigspec.cli import main; sys.argv[0] = 'rigspec'; main()"
    spec = ROOT / "rigs" / "starter.yaml"
    wheel_plan = run(fresh / "bin" / "python", "-c", code, "plan", "--json", spec, env=ours)
    clone_plan = run(sys.executable, "-c", code, "plan", "--json", spec, cwd=tmp_path)
    assert json.loads(wheel_plan)["digest"] == json.loads(clone_plan)["digest"]


def _dependencies(tmp_path: Path) -> Path:
    """The running environment's packages without rigspec itself."""
    import pydantic

    here = Path(pydantic.__file__).parent.parent
    mirror = tmp_path / "dependencies"
    mirror.mkdir()
    for entry in here.iterdir():
        if "rigspec" not in entry.name and entry.suffix != ".pth":
            (mirror / entry.name).symlink_to(entry)
    return mirror
