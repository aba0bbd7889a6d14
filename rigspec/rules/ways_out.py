"""The arithmetic of a service's memory, and the changes after which it would fit, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rigspec.finding import WAYS_OUT
from rigspec.rules.context import CheckContext
from rigspec.rules.services import spare_share
from rigspec.spec.rig import Rig

if TYPE_CHECKING:
    from rigspec.sizing.remedies import Remedy
    from rigspec.sizing.service import Sized

MOST_REMEDIES = 6


def breakdown(sized: Sized) -> str:
    """`of 23.6 GiB: weights 14.4 (14.3–14.6), activation peak 0.5 (0.2–1.3) …`, as in the plan."""
    from rigspec.sizing.amount import band

    parts = [f"{term.name} {band(term.size, 1)}" for term in sized.memory.terms]
    return f"of {sized.card.total.value:.1f} GiB: {', '.join(parts)} GiB"


def ways_out(rig: Rig, sized: Sized, facts: CheckContext) -> str:
    """Every single change that helps, the nearest first."""
    from rigspec.sizing.remedies import remedies

    found = remedies(
        sized.facts, sized.cards, sized.settings,
        spare_share=spare_share(rig, sized.name, facts), idle=sized.idle,
    )  # fmt: skip
    if not found:
        return "no single change helps: take a smaller model or larger cards"
    return WAYS_OUT + "; ".join(_said(r) for r in found[:MOST_REMEDIES])


def _said(remedy: Remedy) -> str:
    written = remedy.write if "`" in remedy.write else f"`{remedy.write}`"
    return f"{remedy.name}: {written} ({remedy.gives}{'' if remedy.surely else ', closely'})"
