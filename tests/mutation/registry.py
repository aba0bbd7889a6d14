"""A fault: one thing spoilt in what a healthy rig printed, and the words its own row must say."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from .raw import Raw


@dataclass(frozen=True)
class Fault:
    """`check` is a check's id without its subject (`power.limit`; `units` for all units).

    `own_text` must stand in the red row of this fault and in no other fault's red row of any
    check. `also` names other checks that the same fault must turn red, because they measure the
    same thing from another side; every other row must stay as it was.
    """

    check: str
    title: str
    mutate: Callable[[Raw], Raw]
    own_text: str
    rig: str = "home"
    """Which healthy rig is spoilt: see `healthy.RIGS`."""
    also: tuple[str, ...] = ()
    source: str = "raw text"
    """`raw text`: what a tool or the kernel printed was changed, before the parsers."""
