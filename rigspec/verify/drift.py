"""What has changed on a host since it was deployed and accepted, and who or what likely did it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rigspec.frozen import dataclass
from rigspec.observed.record import Unknown
from rigspec.plan.relied import mounted_paths, secret_paths
from rigspec.plan.sections import Plan
from rigspec.verify.advice import for_rig
from rigspec.verify.change import Change
from rigspec.verify.drift_data import data
from rigspec.verify.drift_fabric import slower_links
from rigspec.verify.drift_host import edited_files, other_bits, packages, power, units
from rigspec.verify.drift_kernel import arguments, kernel
from rigspec.verify.drift_machine import cards, driver, firmware
from rigspec.verify.observation import Observation
from rigspec.verify.proof import Proof


@dataclass(frozen=True)
class Drift:
    """Everything found, and what could not be looked at."""

    changes: tuple[Change, ...]
    unmeasured: tuple[str, ...]
    """One sentence each: what is not known and why."""

    @property
    def exit_code(self) -> int:
        """0 no drift, 1 drift, 3 none found but not everything could be measured."""
        if self.changes:
            return 1
        return 3 if self.unmeasured else 0


def find_drift(plan: Plan, seen: Observation, proof: Proof | None) -> Drift:
    """Live host against plan and, where there is one, proof; causes come before effects."""
    changes = (
        *arguments(plan, seen),
        *(firmware(plan, seen, proof) if proof else ()),
        *cards(seen, proof),
        *kernel(seen, proof),
        *driver(seen, proof),
        *other_bits(plan, seen),
        *(slower_links(seen, proof) if proof else ()),
        *power(plan, seen),
        *edited_files(plan, seen, proof),
        *data(plan, seen),
        *units(plan, seen),
        *packages(plan, seen, proof),
    )
    return Drift(
        tuple(_for_rig(change, plan, seen) for change in changes),
        tuple(_unmeasured(plan, seen, proof)),
    )


def _for_rig(change: Change, plan: Plan, seen: Observation) -> Change:
    do = for_rig(change.next_action, plan.rig, simulated=seen.simulated)
    return replace(change, next_action=do)


def _unmeasured(plan: Plan, seen: Observation, proof: Proof | None) -> Iterable[str]:
    if proof is None:
        yield (
            "no run was accepted yet, so firmware, kernel, driver and links have nothing to be "
            "compared with: `rigspec accept SPEC`"
        )
    parts = {
        "the system": seen.host,
        "the kernel line of the next boot": seen.next_boot if plan.kernel.arguments else (),
        "the cards": seen.cards,
        "the PCI tree": seen.tree,
        "driver modules": seen.modules,
        "units": seen.units,
        "packages": seen.packages,
        "managed files": seen.upkeep.files,
        "firmware": seen.upkeep.firmware,
        "weights": seen.models if plan.models else (),
        "mounted files": seen.upkeep.mounted if mounted_paths(plan) else (),
        "secrets": seen.upkeep.secrets if secret_paths(plan) else (),
    }
    for name, part in parts.items():
        if isinstance(part, Unknown):
            yield f"{name} could not be read: {part.reason}"
    files = {} if isinstance(seen.upkeep.files, Unknown) else seen.upkeep.files
    for path, state in files.items():
        if isinstance(state.exists, Unknown) or isinstance(state.sha256, Unknown):
            yield f"{path} could not be read"
