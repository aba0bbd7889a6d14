"""Makes tests/captures/virtual-rig-home anew: a blank virtual rig, converged, asked by verify.

python -m tests.mutation.capture          some ten minutes; the virtual rig is deleted after
python -m tests.mutation.capture --keep   leaves it running: the next capture takes seconds
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from rigspec.facts.observe import all_probes
from rigspec.lab.session import Rehearsal, open_rehearsal
from rigspec.observed.probes import script
from rigspec.observed.sections import split_sections
from rigspec.plan.rig import plan_rig

from .healthy import ASKED, CAPTURE, NAME, ROOT, SPEC, WITH_ANOTHER, question

_UUID = re.compile(r"(?<![0-9A-Za-z-])[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?![0-9a-f-])")


def converged(folder: Path) -> Rehearsal:
    """A copy of the spec under our name, its virtual rig up and as planned."""
    spec = folder / "home.yaml"
    spec.parent.mkdir(parents=True, exist_ok=True)
    spec.write_text(SPEC.read_text().replace("name: home\n", f"name: {NAME}\n", 1))
    rehearsal = open_rehearsal(spec)
    if not rehearsal.machine.machine.is_running:
        rehearsal.machine.up()
    rehearsal.remember()
    argv = (sys.executable, "-m", "pyinfra", "-y", "inventory/lab.py", "deploys/rig.py")
    env = {**os.environ, "RIGSPEC_LAB_SPECS": str(spec.resolve())}
    subprocess.run(argv, cwd=ROOT, env=env, check=True)
    return rehearsal


def masked(text: str) -> str:
    """Boot ids and file system UUIDs say nothing about the rig: every one is replaced."""
    return _UUID.sub("00000000-0000-4000-8000-000000000000", text)


def write(rehearsal: Rehearsal) -> None:
    """Ask everything once and write one file per section."""
    probes = tuple(all_probes(plan_rig(rehearsal.rehearsed())))
    code, said = rehearsal.machine.ssh(script(probes))
    assert code == 0, said
    CAPTURE.mkdir(parents=True, exist_ok=True)
    for old in CAPTURE.glob("*.txt"):
        old.unlink()
    sections = split_sections(said)
    questions = {probe.name: question(probe.text) for probe in probes}
    for name, lines in sections.items():  # one probe may print several
        text = masked("\n".join(lines))
        first = f"{ASKED}{questions.get(name, WITH_ANOTHER)}"
        (CAPTURE / f"{name}.txt").write_text(f"{first}\n{text}\n")
    surroundings = rehearsal.surroundings()
    around = {
        "nvidia_repository": surroundings.nvidia_repository.model_dump(mode="json"),
        "toolkit_repository": surroundings.toolkit_repository.model_dump(mode="json"),
        "hub_url": surroundings.hub_url,
        "engine_images": dict(surroundings.engine_images),
    }
    (CAPTURE / "surroundings.json").write_text(json.dumps(around, indent=1) + "\n")


def main(words: Iterable[str]) -> None:
    """Converge, ask, write."""
    folder = Path(tempfile.gettempdir()) / f"rigspec-{NAME}"
    rehearsal = converged(folder)
    write(rehearsal)
    if "--keep" not in words:
        rehearsal.machine.destroy()


if __name__ == "__main__":
    main(sys.argv[1:])
