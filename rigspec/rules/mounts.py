"""`services.NAME.mounts`: what else the container sees of the host, and paths it does not see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath

from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig

_POWERS = (
    "/etc/rigspec", "/var/run/docker.sock", "/run/docker.sock", "/run/podman", "/proc", "/sys",
    "/dev", "/root/.ssh", "/etc/shadow", "/boot",
)  # fmt: skip
"""What would hand the host, or other services' keys, to whatever runs in the container."""

_TAKEN = ("/models", "/cache", "/run/secrets")
"""Where rigspec itself puts weights, caches and keys."""

_OF_HOSTS = ("/home", "/srv", "/mnt", "/media", "/data", "/etc", "/root", "/var")
"""Where owners keep files; images keep theirs elsewhere."""

_OF_IMAGES = ("/usr", "/opt", "/app", "/workspace", "/vllm-workspace", "/sgl-workspace")
"""Where images keep the templates they bring (vLLM's examples, SGLang's sources)."""


def host_path_kept(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Nothing is mounted that would hand over the host."""
    for path, host, _ in _mounts(rig):
        given = next((p for p in _POWERS if _within(host, p) or _within(p, host)), None)
        if given:
            yield error(
                "mounts.host-path-kept",
                path,
                f"`{host}` is not for containers"
                if host == given
                else f"`{host}` goes with `{given}`, which is not for containers",
                why="whoever breaks into the engine would own the host, or other services' keys",
                hint="mount the one folder that the engine reads",
            )


def container_path_taken(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Weights, caches and keys keep their places in the container."""
    for path, _, inside in _mounts(rig):
        taken = next((p for p in _TAKEN if _within(inside, p) or _within(p, inside)), None)
        if taken:
            yield error(
                "mounts.container-path-taken",
                path,
                f"`{taken}` of the container is taken"
                + ("" if inside == taken else f", and `{inside}` overlaps it"),
                why="weights, compile caches and the API key lie there",
                hint="choose another path, for example the same as on the host",
            )


def path_not_mounted(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A path of the host in the engine's flags is a path that the container does not have."""
    for name, service in rig.services.items():
        seen = (*_TAKEN, *service.mounts.values())
        for i, word in enumerate(service.extra_args):
            named = _path_in(word)
            if named and _of_host(named) and not any(_within(named, p) for p in seen):
                yield warning(
                    "mounts.path-not-mounted",
                    ("services", name, "extra_args", i),
                    f"the container has no `{named}` unless the image brings it",
                    why="the engine would not find the file and refuse to start",
                    hint=f"add `mounts: {{{named}: {named}}}` to the service",
                )


def _mounts(rig: Rig) -> Iterator[tuple[Path, str, str]]:
    for name, service in rig.services.items():
        for host, inside in service.mounts.items():
            yield ("services", name, "mounts", host), host, inside


def _within(path: str, folder: str) -> bool:
    return PurePosixPath(path).is_relative_to(folder)


def _of_host(path: str) -> bool:
    """Whether owners keep such a file: by its folder, or a template outside those of images."""
    of_images = any(_within(path, folder) for folder in _OF_IMAGES)
    written = PurePosixPath(path).suffix in (".jinja", ".jinja2") and not of_images
    return written or any(_within(path, folder) for folder in _OF_HOSTS)


def _path_in(word: str) -> str:
    """The absolute path that a word is, or that follows its `=`; empty where there is none."""
    value = word.rpartition("=")[2]
    return value if value.startswith("/") and len(value) > 1 and " " not in value else ""
