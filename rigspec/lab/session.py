"""One spec rehearsed: its virtual rig, the rehearsal spec, and the pyinfra host it makes.

The folder of a virtual rig remembers which spec it was built from (`spec.json`), so that
`inventory/lab.py` finds every running one without being told.
"""

from __future__ import annotations

import base64
import gzip
import json
import secrets
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from rigspec.lab import repo
from rigspec.lab.home import lab_home, ssh_key
from rigspec.lab.machine import Machine
from rigspec.lab.rehearse import Surroundings, rehearse
from rigspec.lab.rig import HUB_URL, VirtualRig
from rigspec.lab.rootfs import Firmware
from rigspec.lab.signing import fingerprint
from rigspec.lab.spec_rig import load_rig, owners_models, virtual_rig
from rigspec.spec.driver import Repository
from rigspec.spec.rig import Rig
from rigspec.verify.mounts import names_a_file

SPEC_FILE = "spec.json"
STAND_INS = "/var/lib/rigspec-lab/mounts"
"""On the virtual rig: one empty file for each path that was provided."""
ENGINES = {"vllm": "vllm", "sglang": "sglang", "llama_cpp": "llama.cpp"}
"""Our engine names, and the lab's image of each."""


@dataclass(frozen=True)
class Rehearsal:
    """A spec file and the virtual rig that plays it; the spec is read anew at each use."""

    spec: Path
    machine: VirtualRig

    @property
    def name(self) -> str:
        """The rig's name, which is the virtual machine's and the pyinfra host's too."""
        return self.machine.machine.name

    def rig(self) -> Rig:
        """The spec as the owner wrote it."""
        return load_rig(self.spec)

    def rehearsed(self) -> Rig:
        """The spec aimed at the running virtual machine."""
        return rehearse(self.rig(), self.machine.all_cards, self.surroundings())

    def remember(self) -> None:
        """Note which spec this virtual rig plays, for `inventory/lab.py`."""
        note = self.machine.machine.folder / SPEC_FILE
        firmware = self.machine.options.installation.firmware
        note.write_text(json.dumps({"spec": str(self.spec), "firmware": firmware}))

    def fits_its_disk(self) -> bool:
        """Whether the disk it has, if any, was installed for this firmware."""
        installed = (self.machine.machine.folder / "disk.qcow2").exists()
        wanted = self.machine.options.installation.firmware
        return not installed or _remembered_firmware(self.name) == wanted

    def surroundings(self) -> Surroundings:
        """Where the running virtual rig is, and what stands in for the outside world."""
        return Surroundings(
            ssh_port=self.machine.machine.state["ssh"],
            ssh_key=str(ssh_key()),
            known_hosts=str(self.machine.known_hosts),
            nvidia_repository=_repository(repo.URL),
            toolkit_repository=_repository(repo.TOOLKIT_URL),
            hub_url=HUB_URL,
            engine_images={
                engine: self.machine.image_reference(image) for engine, image in ENGINES.items()
            },
        )


def _repository(url: str) -> Repository:
    return Repository(url=url, key_url=repo.KEY_URL, key_fingerprint=fingerprint())


def open_rehearsal(spec: Path, *, firmware: Firmware | None = None) -> Rehearsal:
    """The rehearsal of a spec file; starts nothing. LabError when the spec has errors.

    Without a firmware it keeps the one it was installed with, BIOS the first time.
    """
    chosen = firmware or _remembered_firmware(load_rig(spec).name)
    return Rehearsal(spec.resolve(), virtual_rig(spec, firmware=chosen))


def _remembered_firmware(name: str) -> Firmware:
    note = lab_home() / "run" / name / SPEC_FILE
    known = json.loads(note.read_text()) if note.exists() else {}
    return "uefi" if known.get("firmware") == "uefi" else "bios"


def running_rehearsals() -> tuple[Rehearsal, ...]:
    """Every virtual rig that is up, by name."""
    notes = sorted((lab_home() / "run").glob(f"*/{SPEC_FILE}"))
    running = [note for note in notes if Machine(note.parent.name).is_running]
    return tuple(open_rehearsal(Path(json.loads(note.read_text())["spec"])) for note in running)


def lab_secrets(rehearsal: Rehearsal) -> dict[str, str]:
    """Throw-away values for the API keys a spec names, kept with the virtual rig."""
    file = rehearsal.machine.machine.folder / "secrets.json"
    known: dict[str, str] = json.loads(file.read_text()) if file.exists() else {}
    wanted = {s.api_key_env for s in rehearsal.rig().services.values() if s.api_key_env}
    for name in sorted(wanted - known.keys()):
        known[name] = f"lab-{secrets.token_hex(16)}"
    file.touch(mode=0o600)
    file.write_text(json.dumps(known))
    return {name: known[name] for name in sorted(wanted)}


def provide_mounts(rehearsal: Rehearsal) -> None:
    """Stand-ins for what the owner puts on the real host: mounted files, and weights by path.

    Raises nothing: a rig that does not answer, or has no room, is the run's to say, with its place.
    """
    rig = rehearsal.rig()
    paths = {path for service in rig.services.values() for path in service.mounts}
    weights = owners_models(rig)
    if paths or weights:
        rehearsal.machine.ssh(stand_ins(paths, weights))


_CONFIG = '{"architectures": ["RigspecLabSimulated"], "simulated": true}'
_SHARD = r"\2\0\0\0\0\0\0\0{}"
"""For printf: the smallest safetensors file, the length of an empty header and the header."""


def stand_ins(paths: Iterable[str], weights: Iterable[str] = (), marks: str = STAND_INS) -> str:
    """Shell text that makes what is missing: a file, or a folder with one, as the name has it.

    Once per installation: what the owner takes away afterwards stays away.
    """
    makers = {path: _stand_in(path) for path in paths} | {path: _tiny(path) for path in weights}
    made = [f"mkdir -p {marks}"]
    for path, make in sorted(makers.items()):
        mark = f"{marks}/{path.replace('/', '_')}"
        made.append(f"{{ [ -e {mark} ] || [ -e {path} ] || {{ {make}; }}; }} && touch {mark}")
    return " && ".join(made)


def _stand_in(path: str) -> str:
    """An empty file, alone or in its folder: verify tells of folders with nothing in them."""
    return f"install -D /dev/null {path}{'' if names_a_file(path) else '/stand-in'}"


def _tiny(path: str) -> str:
    """A checkpoint without weights in it, or the lab's GGUF, which llama.cpp really loads."""
    place = PurePosixPath(path)
    if place.suffix != ".gguf":
        config = f"echo '{_CONFIG}' >{path}/config.json"
        return f"mkdir -p {path} && {config} && printf '{_SHARD}' >{path}/model.safetensors"
    from rigspec.lab.simulated.model import gguf_bytes  # numpy

    with tempfile.TemporaryDirectory() as scratch:
        packed = base64.b64encode(gzip.compress(gguf_bytes(Path(scratch)))).decode()
    return f"mkdir -p {place.parent} && echo {packed} | base64 -d | gzip -d >{path}"
