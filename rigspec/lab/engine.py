"""The simulated engine images: a real llama.cpp server behind the command lines of real engines."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rigspec.lab.debian import bootstrap, unpack_programs
from rigspec.lab.home import cached
from rigspec.lab.hosttools import run, say
from rigspec.lab.registry import Image, add_image

PACKAGE = "llama.cpp-tools"
SUITE = "sid"  # where Debian has llama.cpp
TOOLS = ("coreutils", "dash", "sed")
LIBRARIES = Path("usr/lib/x86_64-linux-gnu")
PRIVATE = "llama"  # the server's own libraries, below the others
LOADER = Path("usr/lib64/ld-linux-x86-64.so.2")
COMMANDS = ("llama-server", "dash", "cat", "ls", "sleep", "tr", "cut", "sed")
SCRIPTS = Path(__file__).resolve().parent / "simulated" / "engine"

# the entry points of the real images, so that the same arguments start the simulated one
ENTRYPOINTS: dict[str, tuple[str, ...]] = {
    "vllm": ("vllm", "serve"),
    "sglang": (),
    "llama.cpp": ("/app/llama-server",),
}


@dataclass(frozen=True)
class EngineImages:
    """The store a registry serves, and the image of each engine by its name."""

    store: Path
    images: dict[str, Image]


def engine_images() -> EngineImages:
    """The images, built on first use (15 s)."""
    scripts = {file.name: file.read_bytes() for file in sorted(SCRIPTS.iterdir())}
    inputs = {
        "scripts": {name: hashlib.sha256(data).hexdigest() for name, data in scripts.items()},
        "package": (SUITE, PACKAGE, TOOLS, COMMANDS),
        "entrypoints": ENTRYPOINTS,
        "model": hashlib.sha256(_model_source()).hexdigest(),
    }

    def build(folder: Path) -> None:
        say("building the simulated engine images")
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch) / "image"
            _fill(Path(scratch), root)
            for engine, entry in ENTRYPOINTS.items():
                add_image(root, folder, f"rigspec-lab/{engine}", "simulated", entrypoint=entry)

    store = cached("engine", inputs, build)
    images = {}
    for engine in ENTRYPOINTS:
        name = f"rigspec-lab/{engine}"
        images[engine] = Image(name, (store / "tags" / name / "simulated").read_text())
    return EngineImages(store, images)


def _model_source() -> bytes:
    return (SCRIPTS.parent / "model.py").read_bytes()


def _fill(scratch: Path, root: Path) -> None:
    """The image's tree: server, shell, the libraries they link to, scripts and model."""
    from rigspec.lab.simulated.model import write_gguf  # numpy: 0.35 s of each run on the rig

    debian = scratch / "debian"
    _unpack_debian(scratch, debian)
    for folder in ("usr/bin", LIBRARIES, "lib64", "tmp", "etc", "app", "usr/share/rigspec-lab"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    for command in COMMANDS:
        shutil.copy2(debian / "usr/bin" / command, root / "usr/bin" / command)
    shutil.copytree(debian / LIBRARIES / "ggml", root / LIBRARIES / "ggml", symlinks=True)
    _copy_libraries(debian, root)
    shutil.copy2(debian / LOADER, root / "lib64/ld-linux-x86-64.so.2")
    for link, target in {"lib": "usr/lib", "bin": "usr/bin", "usr/bin/sh": "dash"}.items():
        (root / link).symlink_to(target)
    _add_scripts(root)
    write_gguf(root / "usr/share/rigspec-lab/model.gguf")


def _unpack_debian(scratch: Path, target: Path) -> None:
    tree = scratch / "debian.tar"
    bootstrap((SUITE,), (PACKAGE, *TOOLS), tree, variant="extract")
    unpack_programs(tree, target)
    tree.unlink()


def _copy_libraries(debian: Path, root: Path) -> None:
    """Every library the commands and ggml's backends link to, asked of the tree's own loader."""
    libraries = debian / LIBRARIES
    programs = [debian / "usr/bin" / command for command in COMMANDS]
    programs += sorted((libraries / "ggml").rglob("*.so"))
    where = f"{libraries}:{libraries / PRIVATE}"
    for program in programs:
        argv = (debian / LOADER, "--library-path", where, "--list", program)
        said = run(argv, doing=f"listing libraries of {program.name}")
        for place in re.findall(rf"=> ({libraries}/\S+)", said):
            target = root / Path(place).relative_to(debian)
            if not target.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(place, target)


def _add_scripts(root: Path) -> None:
    places = {
        **{name: f"usr/bin/{name}" for name in ("vllm", "sglang", "python3")},
        "llama-server": "app/llama-server",
        **{name: f"usr/share/rigspec-lab/{name}" for name in ("vllm.flags", "sglang.flags")},
        "serve.sh": "usr/share/rigspec-lab/serve.sh",
    }
    for name, place in places.items():
        shutil.copyfile(SCRIPTS / name, root / place)
        (root / place).chmod(0o755)
    marker = root / "usr/share/rigspec-lab/SIMULATED"
    marker.write_text("this image is the simulated engine of the rigspec lab\n")
