"""The proof as a table: each check on the healthy rig, and each fault with its own red words."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.verify.verdict import Outcome

from .faults import FAULTS
from .registry import Fault
from .test_mutation import RIGS, check_of, every_check, judged, red_rows


def table() -> Iterator[str]:
    """One block per check."""
    yield "checks by mutation: healthy, then each seeded fault in its own words"
    checks = sorted(every_check())
    for check in checks:
        yield f"{check:<24} healthy: {_healthy(check)}"
        for fault in (f for f in FAULTS if f.check == check):
            yield f"  {fault.title}\n      -> {_words(fault)}"
    yield f"{len(checks)} checks, {len(FAULTS)} faults, {len({f.check for f in FAULTS})} checks red"


def _healthy(check: str) -> str:
    for rig in RIGS:
        rows = [v for v in judged(rig) if check_of(v) == check]
        passed = [v for v in rows if v.outcome is Outcome.PASS]
        if passed:
            return f"pass ({rig}; {len(passed)} of {len(rows)} rows)"
    return "NEVER SEEN PASSING"


def _words(fault: Fault) -> str:
    for row in red_rows(fault):
        if (
            check_of(row) == fault.check
            and fault.own_text in f"{row.title} {row.found} {row.reason}"
        ):
            return f"{row.outcome.name} {row.id}: {row.found}: {row.reason}".replace("\n", " ")
    return "ALL GREEN"
