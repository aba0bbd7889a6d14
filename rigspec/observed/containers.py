"""Container engines: versions, images, containers and the CDI devices they may hand out."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Any

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section
from rigspec.observed.text import hide_secrets

_NO_DAEMON = re.compile(r"annot connect to the Docker daemon|permission denied|^ERROR:")


def load_json(text: str | Iterable[str]) -> Reading[Any]:
    """The JSON value in a text that may have warnings above it."""
    lines = bare_lines(text)
    start = next((n for n, line in enumerate(lines) if line.lstrip()[:1] in {"{", "["}), None)
    if start is None:
        said = next((line.strip() for line in lines if line.strip()), "")
        return Unknown("no JSON in the answer", said)
    try:
        value, _ = json.JSONDecoder().raw_decode("\n".join(lines[start:]).lstrip())
    except ValueError as problem:
        return Unknown(f"JSON is broken: {problem}", lines[start][:120])
    return value


def _at(value: Any, *keys: str) -> Any:
    """A value deep in JSON, None where any step is missing."""
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


@dataclass(frozen=True)
class Engine(Record):
    """Docker or Podman on the host."""

    version: Reading[str]
    """Version of the server; unknown with its own words when the daemon does not answer."""
    runtimes: tuple[str, ...] = ()
    cdi_spec_dirs: tuple[str, ...] = ()
    cgroup_driver: str = ""
    storage_driver: str = ""
    live_restore: bool = False


def parse_engine(text: str | Iterable[str]) -> Reading[Engine]:
    """`docker info --format '{{json .}}'`, `podman info --format json`, or plain `docker info`."""
    lines = bare_lines(text)
    info = load_json(lines)
    if isinstance(info, Unknown):
        return _plain_engine(lines) or info
    said = next((line for line in lines if _NO_DAEMON.search(line)), "")
    docker, podman = _at(info, "ServerVersion"), _at(info, "version", "Version")
    version = docker or podman or Unknown("the daemon did not answer", said)
    return Engine(
        version,
        tuple(sorted(_at(info, "Runtimes") or {})),
        tuple(_at(info, "CDISpecDirs") or ()),
        _at(info, "CgroupDriver") or _at(info, "host", "cgroupManager") or "",
        _at(info, "Driver") or _at(info, "store", "graphDriverName") or "",
        bool(_at(info, "LiveRestoreEnabled")),
    )


def _plain_engine(lines: Sequence[str]) -> Engine | None:
    """What `docker info` prints for people: `Key: value`, lists below their key."""
    pairs = [line.strip().partition(":") for line in lines]
    said = {key: value.strip() for key, _, value in reversed(pairs)}
    start = next((n for n, line in enumerate(lines) if "CDI spec directories:" in line), None)
    below = (line.strip() for line in lines[start + 1 :]) if start is not None else ()
    if "Server Version" not in said:
        return None
    return Engine(
        said["Server Version"] or Unknown("the line was cut", "Server Version:"),
        tuple(sorted(said.get("Runtimes", "").split())),
        tuple(takewhile(lambda folder: folder.startswith("/"), below)),
        said.get("Cgroup Driver", ""),
        said.get("Storage Driver", ""),
        said.get("Live Restore Enabled") == "true",
    )


@dataclass(frozen=True)
class Image(Record):
    """An image in the local store."""

    id: str
    tags: tuple[str, ...]
    digests: tuple[str, ...]
    """`repository@sha256:…`; empty for an image that was built or loaded here."""
    size_bytes: Reading[int]
    architecture: str
    labels: Mapping[str, str]
    env: tuple[str, ...]


@dataclass(frozen=True)
class Container(Record):
    """A container: what runs, from which image, with which devices."""

    name: str
    id: str
    image: str
    image_id: str
    state: Reading[str]
    health: str | None
    exit_code: Reading[int]
    oom_killed: bool
    restart_count: Reading[int]
    started_at: str
    command: tuple[str, ...]
    """Values of secret flags and variables are hidden, their names stay."""
    env: tuple[str, ...]
    labels: Mapping[str, str]
    binds: tuple[str, ...]
    devices: tuple[str, ...]
    """CDI names and device paths."""
    ports: tuple[str, ...]
    """`127.0.0.1:8000->8000/tcp`."""
    ipc_mode: str
    shm_bytes: Reading[int]
    restart_policy: str


def parse_images(text: str | Iterable[str]) -> Reading[tuple[Image, ...]]:
    """`docker image inspect REF…` (or podman's): the images that exist, absent ones left out."""
    entries = _entries(text)
    if isinstance(entries, Unknown):
        return entries
    return tuple(
        Image(
            str(_at(e, "Id") or ""),
            tuple(_at(e, "RepoTags") or ()),
            tuple(_at(e, "RepoDigests") or ()),
            _int(_at(e, "Size")),
            str(_at(e, "Architecture") or ""),
            dict(_at(e, "Config", "Labels") or _at(e, "Labels") or {}),
            hide_secrets(_at(e, "Config", "Env") or ()),
        )
        for e in entries
    )


def parse_containers(text: str | Iterable[str]) -> Reading[tuple[Container, ...]]:
    """`docker inspect NAME…` (or podman's): the containers that exist."""
    entries = _entries(text)
    if isinstance(entries, Unknown):
        return entries
    return tuple(_container(entry) for entry in entries)


def _entries(text: str | Iterable[str]) -> Reading[list[dict[str, Any]]]:
    """Entries of an inspect; `[]` beside "No such …" is an answer: none."""
    value = load_json(text)
    if isinstance(value, Unknown):
        return [] if re.search(r"no such (object|image|container)", value.line, re.I) else value
    if not isinstance(value, list):
        return Unknown("inspect printed no list")
    return [entry for entry in value if isinstance(entry, dict)]


def _int(value: Any) -> Reading[int]:
    return value if isinstance(value, int) else Unknown("not in the answer")


def _container(entry: dict[str, Any]) -> Container:
    state, host, config = (_at(entry, key) or {} for key in ("State", "HostConfig", "Config"))
    status = _at(state, "Status")
    policy = _at(host, "RestartPolicy", "Name") or "no"
    return Container(
        name=str(_at(entry, "Name") or "").lstrip("/"),
        id=str(_at(entry, "Id") or ""),
        image=str(_at(config, "Image") or _at(entry, "ImageName") or ""),
        image_id=str(_at(entry, "Image") or ""),
        state=str(status) if status else Unknown("inspect shows no state"),
        health=_at(state, "Health", "Status") or _at(state, "Healthcheck", "Status") or None,
        exit_code=_int(_at(state, "ExitCode")),
        oom_killed=bool(_at(state, "OOMKilled")),
        restart_count=_int(_at(entry, "RestartCount")),
        started_at=str(_at(state, "StartedAt") or ""),
        command=hide_secrets(str(word) for word in _at(config, "Cmd") or ()),
        env=hide_secrets(_at(config, "Env") or ()),
        labels=dict(_at(config, "Labels") or {}),
        binds=tuple(_at(host, "Binds") or ()),
        devices=_devices(host),
        ports=_ports(entry),
        ipc_mode=str(_at(host, "IpcMode") or ""),
        shm_bytes=_int(_at(host, "ShmSize")),
        restart_policy=str(policy),
    )


def _devices(host: Mapping[str, Any]) -> tuple[str, ...]:
    paths = [str(_at(d, "PathOnHost")) for d in _at(host, "Devices") or ()]
    asked = [str(n) for r in _at(host, "DeviceRequests") or () for n in _at(r, "DeviceIDs") or ()]
    return tuple(paths + asked)


def _ports(entry: Mapping[str, Any]) -> tuple[str, ...]:
    bound = _at(entry, "NetworkSettings", "Ports") or {}
    return tuple(
        f"{_at(b, 'HostIp') or '0.0.0.0'}:{_at(b, 'HostPort')}->{port}"  # noqa: S104 — read, not bound
        for port, binds in sorted(bound.items())
        for b in binds or ()
    )


@dataclass(frozen=True)
class Cdi(Record):
    """CDI as the host has it: names that can be asked for, and the files that define them."""

    devices: Reading[tuple[str, ...]]
    """`nvidia.com/gpu=0`, `nvidia.com/gpu=GPU-…`, `nvidia.com/gpu=all`."""
    spec_files: Reading[tuple[str, ...]]
    """More than one file for nvidia.com/gpu: a stale one may shadow the fresh one."""


_DEVICE = re.compile(r"^\s*([\w.-]+/[\w.-]+=[\w:.-]+)\s*$")


def parse_cdi_probe(sections: Mapping[str, Sequence[str]]) -> Cdi:
    """The sections `cdi` (`nvidia-ctk cdi list`) and `cdi-files`."""
    listed = section(sections, "cdi")
    files = section(sections, "cdi-files")
    devices: Reading[tuple[str, ...]]
    if isinstance(listed, Unknown):
        devices = listed
    else:
        devices = tuple(m.group(1) for line in listed if (m := _DEVICE.match(line)))
    if isinstance(files, Unknown):
        return Cdi(devices, files)
    return Cdi(devices, tuple(f for f in files if f.startswith("/")))
