"""Inference engines: our spec key to their flag, what their images and servers are like."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Literal, cast

from rigspec.catalog.data import Row, load_table
from rigspec.catalog.drivers import CudaDriver, cuda_driver
from rigspec.frozen import dataclass

ENGINES = ("vllm", "sglang", "llama_cpp")
FIGURES = ("flags", "api_key", "exit_codes", "stock", "images")


@dataclass(frozen=True)
class ExitCodes:
    """What the server process leaves behind; None where nobody has seen it."""

    usage: int
    """A wrong flag: starting again does not help."""
    failure: int
    stopped: int
    """After SIGTERM."""
    engine_killed: int | None
    """After its worker died while serving: with 0, only `Restart=always` brings it back."""


@dataclass(frozen=True)
class Engine:
    """One inference engine."""

    name: str
    flags: Mapping[str, str | None]
    """Spec key to flag; None: the engine has none."""
    how: Mapping[str, str]
    """Spec key to what is special about passing its value."""
    entrypoint: tuple[str, ...]
    default_port: int
    default_host: str
    api_key_variable: str | None
    """Environment variable the engine reads its key from."""
    api_key_how: Literal["environment", "config_file"]
    """How the key gets in without standing on the command line."""
    health: str
    ready: str
    ready_note: str
    open_routes: tuple[str, ...]
    """Routes that answer without the key."""
    exit_codes: ExitCodes
    flag_version: str
    """Version whose flags the catalog knows exactly."""
    caches: Mapping[str, str]
    """Environment variable to folder below the cache volume."""
    stock: tuple[str, ...]
    """Repositories of the project's own images; any other may hold a patched engine."""
    images: tuple[tuple[re.Pattern[str], str], ...]
    """Image name pattern to the CUDA release inside."""
    sources: Mapping[str, str]

    def cuda_of_image(self, image: str) -> str | None:
        """CUDA release in an image, told from its tag; None when the tag does not say."""
        name = image.removeprefix("docker.io/").partition("@")[0]
        return next((cuda for pattern, cuda in self.images if pattern.search(name)), None)

    def is_stock(self, image: str) -> bool:
        """Whether an image is the project's own build."""
        return repository(image).removeprefix("docker.io/") in self.stock

    def driver_floor(self, image: str, cuda: str | None = None) -> CudaDriver | None:
        """Driver an image needs: by the stated CUDA release, else by its tag; None: unknown."""
        release = cuda or self.cuda_of_image(image)
        return cuda_driver(release) if release else None


def repository(image: str) -> str:
    """`registry:5000/a/b:tag@sha256:…` without tag and digest."""
    name = image.partition("@")[0]
    head, slash, last = name.rpartition("/")
    return head + slash + last.partition(":")[0]


def tag(image: str) -> str:
    """The tag alone; empty where there is none."""
    return image.partition("@")[0].removeprefix(repository(image)).removeprefix(":")


@lru_cache(maxsize=8)
def engine(name: str) -> Engine:
    """The engine `vllm`, `sglang` or `llama_cpp`."""
    return _engine(load_table("engines")[name])


def version_of(text: str | None) -> tuple[int, ...] | None:
    """`0.30.1` → (0, 30, 1); None for a build number, a shallow clone's `0.1.dev…`, or nothing."""
    found = re.match(r"v?(?!0\.1\.dev)(\d+)\.(\d+)(?:\.(\d+)(?!\d|rc|\.?dev))?", text or "")
    return tuple(int(part) for part in found.groups() if part) if found else None


def is_version(engine_name: str, text: str) -> bool:
    """Whether an engine counts its versions so: llama.cpp by builds, the others by releases."""
    if engine_name == "llama_cpp":
        return re.fullmatch(r"b?\d+", text) is not None
    return version_of(text) is not None


def version_like(engine_name: str) -> str:
    """A version as the engine counts them, for a hint."""
    return "b9000" if engine_name == "llama_cpp" else engine(engine_name).flag_version


LINES = {"vllm": 2, "sglang": 3}
"""Numbers of a version that name a line: what follows repairs it. llama.cpp counts builds."""


def is_beyond_known(engine_name: str, version: tuple[int, ...] | None) -> bool:
    """Whether a release is of a line that nobody had looked at when the catalog was written."""
    line = LINES.get(engine_name)
    if version is None or line is None:
        return False
    newest = engine(engine_name).flag_version.split(".")[:line]
    return version[:line] > tuple(map(int, newest))


def known_version(engine_name: str, version: tuple[int, ...] | None) -> tuple[int, ...] | None:
    """A release as the estimates take it; None, with the wider bands, beyond the known ones."""
    return None if is_beyond_known(engine_name, version) else version


def flag_for(engine_name: str, key: str) -> str | None:
    """The engine's flag for a spec key; None where it has none. Unknown keys are a KeyError."""
    return engine(engine_name).flags[key]


def _engine(row: Row) -> Engine:
    api_key = row.mapping("api_key")
    codes = cast(Mapping[str, int], row.mapping("exit_codes"))
    images = cast(list[dict[str, str]], row.values["images"])
    return Engine(
        name=row.id,
        flags=MappingProxyType(cast(dict[str, str | None], row.mapping("flags"))),
        how=MappingProxyType(cast(dict[str, str], row.mapping("how"))),
        entrypoint=row.texts("entrypoint"),
        default_port=row.whole("default_port"),
        default_host=row.text("default_host"),
        api_key_variable=cast(str | None, api_key["variable"]),
        api_key_how=cast(Literal["environment", "config_file"], api_key["how"]),
        health=row.text("health"),
        ready=row.text("ready"),
        ready_note=row.text("ready_note"),
        open_routes=row.texts("open_routes"),
        exit_codes=ExitCodes(**codes),
        flag_version=row.text("flag_version"),
        caches=MappingProxyType(cast(dict[str, str], row.mapping("caches"))),
        stock=row.texts("stock"),
        images=tuple((re.compile(image["match"]), image["cuda"]) for image in images),
        sources=row.sources(FIGURES, {}),
    )
