"""The container stage: engine, NVIDIA toolkit, daemon settings, cards offered through CDI."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.errors import RigspecError
from rigspec.facts.managed import UnitState
from rigspec.facts.stage import Stage, StageState
from rigspec.operations.apt import Wanted, changes, missing
from rigspec.operations.files import differing, write
from rigspec.operations.pcie import scripts
from rigspec.operations.shell import UNREADABLE, is_executing, refuse, say
from rigspec.operations.units import start, unit_changes
from rigspec.plan.daemon_json import DAEMON_FILE, merge_daemon_json
from rigspec.plan.sections import ContainersPlan, RenderedFile

DOCKER = "docker.service"

Commands = Generator[StringCommand | FunctionCommand, None, None]


def wanted_of(plan: ContainersPlan) -> Wanted:
    """What the container stage wants of apt."""
    return Wanted(packages=plan.packages, repositories=plan.repositories, hold=plan.hold)


def read_stage(plan: ContainersPlan, wanted: Wanted) -> StageState | None:
    """The stage's state in one round trip."""
    files = (*wanted.all_files, *plan.files)
    return host.get_fact(
        Stage,
        paths=(*(file.dest for file in files), DAEMON_FILE),
        units=tuple(dict.fromkeys((*_engine_units(plan), *plan.units))),
        packages=wanted.names,
        keyrings=wanted.keyrings,
        sources=wanted.sources,
        texts=(DAEMON_FILE,) if plan.engine == "docker" else (),
    )


def _engine_units(plan: ContainersPlan) -> tuple[str, ...]:
    return (DOCKER,) if plan.engine == "docker" else ()


def daemon_file(plan: ContainersPlan, seen: StageState) -> RenderedFile | None:
    """daemon.json with our keys merged in, None when they hold already.

    Raises RigspecError when the owner's file is no JSON object.
    """
    if plan.engine != "docker" or not plan.daemon_settings:
        return None
    current = seen.texts.get(DAEMON_FILE, "")
    text = merge_daemon_json(current, plan.daemon_settings)
    if text == current:
        return None
    return RenderedFile(DAEMON_FILE, text, "containers")


@operation()
def engine_and_toolkit(*, plan: ContainersPlan) -> Commands:
    """Engine and toolkit are installed and held, and containers can be given every card."""
    wanted = wanted_of(plan)
    seen = read_stage(plan, wanted)
    if seen is None:
        yield refuse(UNREADABLE)
        return
    try:
        daemon = daemon_file(plan, seen)
    except RigspecError as problem:
        yield refuse(f"{problem.message}\n{problem.hint}")
        return
    steps = [write([daemon])] if daemon else []
    steps += changes(wanted, seen.apt, dict(seen.files))
    if is_executing() and missing(plan.packages, seen.apt):
        say(host, ["installing the container engine and toolkit takes a minute or more"])
    yield from steps
    units = list(_unit_steps(plan, seen, daemon))
    yield from units
    if not steps and not units:
        host.noop(f"{plan.engine} and the NVIDIA toolkit are as planned")


def _unit_steps(
    plan: ContainersPlan, seen: StageState, daemon: RenderedFile | None
) -> Generator[StringCommand, None, None]:
    wrong = differing(plan.files, seen.files)
    if wrong:
        yield write(wrong)
    docker = seen.units.get(DOCKER)
    if plan.engine == "docker" and docker and _settings_unread(docker, seen, daemon):
        yield start(DOCKER, "restart")
    units = tuple(dict.fromkeys((*_engine_units(plan), *plan.units)))
    ours = [unit for unit in plan.units if unit.startswith("rigspec-")]
    read = dict.fromkeys(ours, scripts(plan.files))
    yield from unit_changes(units, seen.units, wrong, inputs=read, files=seen.files)


def _settings_unread(docker: UnitState, seen: StageState, daemon: RenderedFile | None) -> bool:
    """Whether the running daemon was started before its settings were written."""
    if not docker.is_active:
        return False
    file = seen.files.get(DAEMON_FILE)
    return daemon is not None or (file is not None and file.modified > docker.since > 0)
