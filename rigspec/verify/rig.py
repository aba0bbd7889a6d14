"""All checks of a rig, in the order of the stages."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from rigspec.observed.pairs import FabricReading
from rigspec.plan.sections import Plan
from rigspec.verify import (
    all_reduce,
    boot,
    containers,
    driver,
    files,
    gpu_errors,
    gpus,
    host,
    kernel,
    load,
    pairs,
    patterns,
    pcie,
    pcie_links,
    power,
    service,
    storage,
    vram,
)
from rigspec.verify import units as units_of
from rigspec.verify.advice import for_rig
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Verdict
from rigspec.verify.vram import CardEstimate


def verify_rig(
    plan: Plan,
    seen: Observation,
    estimates: Iterable[CardEstimate] = (),
    baseline: FabricReading | None = None,
) -> tuple[Verdict, ...]:
    """Every row; rows that rest on the lab's stand-ins say that they are simulated.

    `estimates` of memory give a row per card; without them there is nothing to hold it against.
    `baseline`: an accepted measurement of the links of this rig, which later ones are held against.
    """
    rows = (
        *host.verify_host(plan, seen),
        *boot.last_boot(seen),
        *gpus.verify_gpus(plan, seen),
        *gpu_errors.verify_gpu_errors(plan, seen),
        *kernel.verify_kernel(plan, seen),
        *driver.verify_driver(plan, seen),
        *pcie.verify_pcie(plan, seen),
        *power.verify_power(plan, seen),
        *containers.verify_containers(plan, seen),
        *storage.verify_storage(plan, seen),
        *units_of.verify_units(plan, seen),
        *boot.verify_order(plan, seen),
        *service.verify_services(plan, seen),
        *vram.verify_vram(plan, seen, estimates),
        *files.verify_files(plan, seen),
        *_loads(plan, seen, baseline),
    )
    return marked((_addressed(row, plan, seen) for row in rows), seen)


def _addressed(row: Verdict, plan: Plan, seen: Observation) -> Verdict:
    """Its deploys are those of this rig; a row of a service says which one asked for it, where no
    narrower field is named."""
    do = for_rig(row.next_action, plan.rig, simulated=seen.simulated)
    row = replace(row, next_action=do)
    subject = row.id.partition(".")[2].partition(".")[2]
    if row.spec_field or not subject or not row.id.startswith("service."):
        return row
    return replace(row, spec_field=f"services.{subject}")


def verify_preflight(plan: Plan, seen: Observation) -> tuple[Verdict, ...]:
    """The rows that must hold before anything is touched."""

    def rows() -> Iterator[Verdict]:
        yield from host.verify_host(plan, seen)
        yield from gpus.on_the_bus(plan.preflight.gpus, seen)
        yield from pcie_links.links(plan.preflight.gpus, seen)
        yield from pcie.bars(plan.preflight.gpus, seen)

    return marked(rows(), seen)


def verify_loads(
    plan: Plan, seen: Observation, baseline: FabricReading | None = None
) -> tuple[Verdict, ...]:
    """Only the rows that need load, from the last run of it on this host."""
    return marked(_loads(plan, seen, baseline), seen)


def _loads(plan: Plan, seen: Observation, baseline: FabricReading | None) -> Iterator[Verdict]:
    yield from pairs.verify_pairs(plan, seen, baseline)
    yield from patterns.verify_patterns(plan, seen, baseline)
    yield from all_reduce.verify_all_reduce(plan, seen, baseline)
    yield from load.verify_load(plan, seen.load, "load")
    yield from load.verify_load(plan, seen.burn, "burn")


STAND_INS = ("gpus", "driver", "power", "containers", "service", "pcie",
             "fabric", "load", "burn")  # fmt: skip
"""Subjects that rest on simulated tools, packages, engines or hand-written link registers."""
REAL_EFFECTS = frozenset({"pcie.acs", "pcie.aspm", "pcie.groups"})
"""What the real kernel did to the configuration space of a virtual rig."""


def marked(rows: Iterable[Verdict], seen: Observation) -> tuple[Verdict, ...]:
    """On a virtual rig, each row that rests on a stand-in says that it is simulated."""
    return tuple(
        replace(row, simulated=True) if seen.simulated and _on_stand_ins(row.id) else row
        for row in rows
    )


def _on_stand_ins(check: str) -> bool:
    return check.partition(".")[0] in STAND_INS and check not in REAL_EFFECTS
