"""A kernel line beside the plan: what it lacks, what stands against it, and what that explains."""

from __future__ import annotations

from collections.abc import Collection

from rigspec.frozen import dataclass
from rigspec.plan.sections import KernelPlan

IOMMU = frozenset({"iommu", "amd_iommu", "intel_iommu"})
ASPM = frozenset({"pcie_aspm"})
_STARTS_IOMMU = "intel_iommu=on"
"""Debian's kernels leave Intel's IOMMU off without it; AMD's is on where the firmware has one."""


@dataclass(frozen=True)
class LineFault:
    """How a kernel line differs from the plan; empty tuples: not at all."""

    lacking: tuple[str, ...]
    against: tuple[str, ...]

    def about(self, names: Collection[str]) -> tuple[str, ...]:
        """What differs of these parameters (`pcie_aspm` has `pcie_aspm.policy`, too), said."""
        lacking = (f"`{word}` is missing" for word in self.lacking if _name(word) in names)
        against = (f"`{word}` is set" for word in self.against if _name(word) in names)
        return (*against, *lacking)

    def without_iommu(self) -> tuple[str, ...]:
        """What of it leaves the machine without any IOMMU: a lost `iommu=pt` does not."""
        off = tuple(word for word in self.against if word.endswith("=off"))
        unlit = tuple(word for word in self.lacking if word == _STARTS_IOMMU)
        return LineFault(unlit, off).about(IOMMU)


NO_FAULT = LineFault((), ())


def fault_of(plan: KernelPlan, line: Collection[str]) -> LineFault:
    """The words of one line, running or next, against the plan."""
    return LineFault(
        tuple(word for word in plan.arguments if word not in line),
        tuple(word for word in plan.should_not_exist if word in line),
    )


def _name(word: str) -> str:
    return word.partition("=")[0].partition(".")[0]
