"""What the fabric benchmark found, as the page shows it: heat maps, patterns, all-reduce."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

from rigspec.frozen import dataclass
from rigspec.observed.fabric_run import NEVER
from rigspec.observed.pairs import MEASURED, AllReduceReading, FabricReading, PatternReading
from rigspec.observed.record import NOT_ASKED, Reading, Unknown, known
from rigspec.report.judged import Judged
from rigspec.report.pair_matrix import HeatMap, heat_maps
from rigspec.verify.verdict import Outcome

HOW = (
    "Not measured: `rigspec verify SPEC --load` does it. It makes load on the cards, so it is "
    "never done unasked."
)


@dataclass(frozen=True)
class Table:
    """Rows of words."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class FabricView:
    """Heat maps and tables, or the sentence why there are none."""

    note: str
    maps: tuple[HeatMap, ...] = ()
    tables: tuple[Table, ...] = ()


def fabric_view(judged: Judged) -> FabricView:
    """Of the benchmark's last run."""
    fabric = judged.seen.fabric
    if isinstance(fabric, Unknown):
        return FabricView(HOW if fabric in {NOT_ASKED, NEVER} else f"{fabric.reason}. {HOW}")
    members = [member.member for member in judged.plan.preflight.gpus]
    maps = heat_maps(fabric, members, _judged_bad(judged)) if fabric.pairs else ()
    if not maps and len(fabric.cards) < 2 and len(members) < 2:
        return FabricView("One card: there is no pair to measure.", (), tuple(_tables(fabric)))
    note = _note(fabric) if maps else f"No pair was measured. {HOW}"
    return FabricView(note, maps, tuple(_tables(fabric)))


def _note(fabric: FabricReading) -> str:
    simulated = " SIMULATED: these are no measurements of a real fabric." * fabric.simulated
    kind = " On the CPU, as tests do: no GPU was measured." * (fabric.device_kind != "cuda")
    return f"Measured {fabric.taken_at} with {fabric.tool}, every value checked.{simulated}{kind}"


def _judged_bad(judged: Judged) -> frozenset[frozenset[str]]:
    """Pairs of members whose row needs a hand (`fabric.pair.main.0-main.1`)."""
    bad = {v.id for v in judged.verdicts if v.outcome in {Outcome.FAIL, Outcome.WARN}}
    members = [member.member for member in judged.plan.preflight.gpus]
    return frozenset(
        frozenset(pair)
        for pair in combinations(members, 2)
        if {f"fabric.pair.{a}-{b}" for a, b in permutations(pair)} & bad
    )


def _tables(fabric: FabricReading) -> Iterator[Table]:
    if fabric.patterns:
        rows = tuple(_pattern(pattern) for pattern in fabric.patterns)
        yield Table("Several copies at once", ("pattern", "sum", "slowest copy", "values"), rows)
    if fabric.all_reduce:
        columns = ("service", "cards", "size", "bus bandwidth", "small message", "values")
        rows = tuple(_all_reduce(run) for run in fabric.all_reduce)
        yield Table("All-reduce over a service's cards", columns, rows)


def _pattern(pattern: PatternReading) -> tuple[str, ...]:
    each = known(pattern.each_gb_s)
    copies = f"{len(pattern.copies)} cop{'y' if len(pattern.copies) == 1 else 'ies'}"
    return (
        f"{pattern.name}, {copies}",
        _amount(pattern.gb_s, "GB/s"),
        _amount(min(each) if each else None, "GB/s"),
        _values(pattern.values_ok, pattern.ended, pattern.error),
    )


def _all_reduce(run: AllReduceReading) -> tuple[str, ...]:
    peer = "" if run.peer_to_peer else ", peer access off"
    return (
        run.service + peer,
        str(len(run.gpus)),
        f"{run.bytes / (1 << 20):.0f} MiB",
        _amount(known(run.busbw_gb_s), "GB/s"),
        _amount(known(run.latency_us), "µs"),
        _values(run.values_ok, run.ended, run.error),
    )


def _values(values_ok: Reading[bool], ended: str, error: str) -> str:
    if ended != MEASURED:
        return f"{ended.upper()} {error}".strip()
    if isinstance(values_ok, Unknown):
        return "unknown"
    return "right" if values_ok else "WRONG"


def _amount(value: float | None, unit: str) -> str:
    return "unknown" if value is None else f"{value:.1f} {unit}"
