"""Drift of the fabric's speed, where a load run was accepted and another one was made since."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.verify.change import Change
from rigspec.verify.observation import Observation
from rigspec.verify.proof import Proof, fabric_of

ALLOWED_LOSS = 0.10
"""Healthy links repeat within a few percent; a lost lane or generation halves them."""


def slower_links(seen: Observation, proof: Proof) -> Iterator[Change]:
    """Pairs and all-reduces that are slower than accepted by more than a tenth."""
    now = fabric_of(seen)
    slow = [
        f"{name}: {was:.1f} → {now[name]:.1f} GB/s"
        for name, was in proof.fabric.items()
        if name in now and now[name] < was * (1 - ALLOWED_LOSS)
    ]
    if slow:
        yield Change(
            "fabric-speed",
            "fabric",
            "cards exchange data more slowly than when the rig was accepted: a link trained lower, "
            "traffic climbs to the CPU, or something else used the cards during the run",
            tuple(slow),
            "look at the link and ACS rows of `rigspec verify`, then measure again: "
            "`rigspec verify SPEC --load`",
        )
