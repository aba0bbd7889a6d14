"""The stages: each carries its sections of the plan to the host, and decides nothing.

`deploys/NAME.py` calls one, `deploys/rig.py` all of them in order. Each converged stage costs one
round trip.
"""

from __future__ import annotations

from rigspec.operations.containers import engine_and_toolkit
from rigspec.operations.daily import watched
from rigspec.operations.driver import driver_installed
from rigspec.operations.kernel import next_boot
from rigspec.operations.load import load_made
from rigspec.operations.models import weights_present
from rigspec.operations.pcie import acs_unit
from rigspec.operations.power import bound_and_capped
from rigspec.operations.preflight import host_as_declared
from rigspec.operations.proof import paced, proof_kept
from rigspec.operations.reboot import booted_as_planned
from rigspec.operations.services import served
from rigspec.operations.storage import mounted
from rigspec.operations.verify import rig_observed, rig_verified
from rigspec.plan.sections import Plan


def preflight(plan: Plan) -> None:
    """Refuse before any change what cannot end well."""
    host_as_declared(name="Preflight: host as declared, tools", plan=plan)


def kernel(plan: Plan) -> None:
    """The next boot."""
    next_boot(
        name="Kernel: command line, module options, initramfs",
        rig=plan.rig,
        plan=plan.kernel,
        pcie=plan.pcie,
    )


def driver(plan: Plan) -> None:
    """The NVIDIA driver."""
    driver_installed(
        name="Driver: packages, pinned and held",
        plan=plan.driver,
        later=plan.containers.repositories,
    )


def reboot(plan: Plan) -> None:
    """At most one reboot, for all of the above."""
    booted_as_planned(name="Reboot: only if the running system differs", plan=plan.kernel)


def pcie(plan: Plan) -> None:
    """ACS on GPU paths."""
    acs_unit(name="PCIe: ACS on the bridges between GPUs", plan=plan.pcie)


def power(plan: Plan) -> None:
    """Binding, caps, clock ceilings."""
    bound_and_capped(
        name="Power: cards bound, caps set and read back",
        rig=plan.rig,
        members=plan.preflight.gpus,
        plan=plan.power,
    )


def containers(plan: Plan) -> None:
    """Engine and toolkit."""
    engine_and_toolkit(name="Containers: engine, NVIDIA toolkit, CDI", plan=plan.containers)


def storage(plan: Plan) -> None:
    """Folders for weights."""
    mounted(name="Storage: folders for weights", plan=plan.storage)


def model(plan: Plan) -> None:
    """Weights."""
    weights_present(name="Model: weights, complete and pinned", plan=plan.models)


def service(plan: Plan) -> None:
    """Inference servers."""
    served(name="Service: images, units, answering", plan=plan)


def load(plan: Plan, wish: str) -> None:
    """Load, on request only, and a look at what it showed."""
    load_made(name=f"Load: {wish}", plan=plan, wish=wish)
    rig_observed(name="Load: what the run has left", plan=plan)


def daily(plan: Plan) -> None:
    """The daily look; where it is off, the service stage has removed it."""
    if plan.daily is not None:
        watched(name="Daily: the host compares itself with its plan", plan=plan.daily)


def verify(plan: Plan) -> None:
    """Measured proof."""
    rig_verified(name="Verify: expected beside observed", plan=plan)


def proof(plan: Plan) -> None:
    """The accepted run, kept on the host; no part of a deploy."""
    proof_kept(name="Proof: the accepted run, kept on the host", plan=plan)


def pace(plan: Plan) -> None:
    """Tokens per second; no part of a deploy, for it makes load."""
    paced(name="Pace: tokens per second, time to the first token", plan=plan)
