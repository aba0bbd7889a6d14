"""Faults of cards under load: what `load fabric` and `load burn` sampled and counted."""

from __future__ import annotations

from collections.abc import Iterator

from .loads import Event, spoil
from .registry import Fault

RUNS = (("load", "fabric-run", "2"), ("burn", "burn-run", "3"))
"""Prefix of the rows, section, and the card that is spoilt: each run's words are its own."""


def braked(event: Event) -> Event:
    """A power brake beside the usual cap."""
    return {"reasons": [*event["reasons"], "0x0000000000000080"]}


def of_run(name: str, section: str, card: str) -> Iterator[Fault]:
    """Every fault of one kind of run, on one of its cards."""
    n = int(card)
    wrong = 3 + n
    rows = (
        ("link", "card", lambda e: {"link_gen": [1, n, n]} if n == 2 else {"link_width": [4] * 3},
         "main.2: link under load | gen 2 x16" if n == 2 else "main.3: link under load | gen 4 x4"),
        ("clocks", "card", braked, f"main.{n}: clocks under load | power brake; "),
        ("values", "work", lambda e: {"wrong": wrong}, f"{wrong} wrong"),
        ("alike", "work", lambda e: {"tflops": e["tflops"] * 0.85}, f"main.{n} 85%"),
    )  # fmt: skip
    for check, kind, change, own_text in rows:
        title = f"{name}: {check} of main.{n} is not as it should be"
        yield Fault(f"{name}.{check}", title, spoil(section, kind, change, which=n), own_text,
                    rig="metal")  # fmt: skip
    after = spoil(section, "aer", lambda _: {"errors": [0, n, 0]}, which=4 + n)
    yield Fault(f"{name}.errors", f"{name}: packets are lost", after, f" 0/{n}/0", rig="metal")
    hot = spoil(section, "ended", lambda _: {"how": "temperature", "words": f"main.{n} at 9{n} C"})
    yield Fault(f"{name}.ended", f"{name}: ended by heat", hot, f"main.{n} at 9{n} C", rig="metal")


FAULTS = tuple(fault for run in RUNS for fault in of_run(*run))
