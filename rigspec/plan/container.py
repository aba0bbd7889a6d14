"""The container command of one service: `docker run` (or podman) with everything it is given."""

from __future__ import annotations

import hashlib
import json

from rigspec.frozen import dataclass
from rigspec.plan import shell
from rigspec.plan.binding import gpu_variable

Option = tuple[str, ...]

CACHE = "/cache"
"""Where the container sees the named volume with its compile caches."""


@dataclass(frozen=True)
class ContainerRun:
    """What one container is run with."""

    tool: str
    name: str
    image: str
    entry_point: str | None
    argv: tuple[str, ...]
    cards: tuple[str, ...]
    """Members, in order."""
    shm_gib: int
    mounts: tuple[tuple[str, str], ...]
    """Host path and container path, read-only."""
    volume: str
    env_files: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    """Content of the first env file: part of the label, so that an inspection names its plan."""

    @property
    def label(self) -> str:
        """12 hex digits that change with anything the container is given."""
        given = json.dumps([self._options(), self.image, self.argv, self.environment])
        return hashlib.sha256(given.encode()).hexdigest()[:12]

    def _options(self) -> tuple[Option, ...]:
        return (
            ("--rm",),
            ("--name", self.name),
            ("--pull", "never"),
            ("--network", "host"),
            ("--shm-size", f"{self.shm_gib}g"),
            # NCCL pins host memory; its threads have large stacks (NCCL user guide, CUDA images)
            ("--ulimit", "memlock=-1"),
            ("--ulimit", "stack=67108864"),
            ("--ulimit", "nofile=1048576"),
            ("--init",),
            ("--cap-drop", "ALL"),
            # NCCL's shared host buffers ask for NUMA placement (NCCL user guide, troubleshooting)
            *((("--cap-add", "SYS_NICE"),) if len(self.cards) > 1 else ()),
            ("--security-opt", "no-new-privileges"),
            # an image's own check asks a port of its choosing; verify and the deploy ask ours
            ("--no-healthcheck",),
            # standard output reaches the journal through the unit
            ("--log-driver", "none"),
            *(("--volume", f"{path}:{inside}:ro") for path, inside in self.mounts),
            ("--volume", f"{self.volume}:{CACHE}"),
            *(("--env-file", path) for path in self.env_files),
            *((("--entrypoint", self.entry_point),) if self.entry_point else ()),
        )

    @property
    def options(self) -> tuple[Option, ...]:
        """All options but the cards."""
        return (*self._options(), ("--label", f"rigspec.plan={self.label}"))

    @property
    def devices(self) -> tuple[Option, ...]:
        """The cards by UUID, which the start script reads from the host's binding."""
        return tuple(
            ("--device", f"nvidia.com/gpu=${{{gpu_variable(card)}}}") for card in self.cards
        )

    @property
    def words(self) -> tuple[str, ...]:
        """The whole command; `${RIGSPEC_GPU_…}` stands for a card's UUID."""
        options = (word for option in (*self.options, *self.devices) for word in option)
        return (self.tool, "run", *options, self.image, *self.argv)

    @property
    def script(self) -> str:
        """The whole command as shell text, one option a line."""
        return shell.continued(
            (
                f"{self.tool} run",
                *(" ".join(map(shell.quote, option)) for option in self.options),
                *(f"--device {shell.quote_card(word)}" for _, word in self.devices),
                shell.quote(self.image),
                *shell.lines(self.argv),
            )
        )


def volume_name(container: str, image: str) -> str:
    """Name of the cache volume: compile caches of another image are void, so it has its own."""
    _, _, digest = image.partition("@sha256:")
    return f"{container}-cache-{(digest or hashlib.sha256(image.encode()).hexdigest())[:12]}"
