"""The PCIe stage: the unit that clears and reads back ACS at every boot."""

from __future__ import annotations

from collections.abc import Generator

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.stage import Stage
from rigspec.observed.pci import PciTree
from rigspec.observed.record import Unknown
from rigspec.operations.files import differing, write
from rigspec.operations.shell import UNREADABLE, refuse
from rigspec.operations.units import start, unit_changes
from rigspec.plan.sections import PciePlan, RenderedFile


def scripts(files: tuple[RenderedFile, ...]) -> tuple[str, ...]:
    """The files a oneshot reads when it runs: everything but unit files."""
    return tuple(f.dest for f in files if not f.dest.startswith("/etc/systemd/"))


def redirecting(tree: PciTree | Unknown) -> tuple[str, ...]:
    """Bridges between GPUs that send peer traffic up to the CPU; unreadable ones are not named."""
    bridges = Unknown("no tree") if isinstance(tree, Unknown) else tree.bridges_between_gpus()
    if isinstance(bridges, Unknown):
        return ()
    return tuple(
        bridge.address
        for bridge in bridges
        if bridge.acs is not None
        and not isinstance(bridge.acs, Unknown)
        and bridge.acs.ctl.redirects
    )


@operation()
def acs_unit(*, plan: PciePlan) -> Generator[StringCommand | FunctionCommand, None, None]:
    """The boot unit is in place, and the bits are as it sets them."""
    seen = host.get_fact(
        Stage, paths=tuple(f.dest for f in plan.files), units=plan.units, pci=plan.acs_off
    )
    if seen is None:
        yield refuse(UNREADABLE)
        return
    wrong = differing(plan.files, seen.files)
    if wrong:
        yield write(wrong)
    read = dict.fromkeys(plan.units, scripts(plan.files))
    steps = list(unit_changes(plan.units, seen.units, wrong, inputs=read, files=seen.files))
    yield from steps
    if plan.acs_off and not steps and redirecting(seen.tree):
        # somebody set the bits after boot: the unit clears them again
        yield from (start(unit, "reload") for unit in plan.units)
    elif not steps and not wrong:
        host.noop("ACS is off on GPU paths" if plan.acs_off else "ACS stays as the kernel has it")
