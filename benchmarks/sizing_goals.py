"""The goals of the estimates, each beside what a file of cases shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.sizing_predict import Declined, Row
from benchmarks.sizing_table import error_of, half_width_of, is_inside, number, verdicts

HELD, WIDE = 0.9, 2.0
"""A band holds that share of the truths, and half of it is at most so many median errors."""


@dataclass(frozen=True)
class Goal:
    """One goal and what was found; `met` is None where the file has no such case."""

    name: str
    asked: str
    found: str
    met: bool | None


def goals(rows: Sequence[Row], declined: Sequence[Declined]) -> list[Goal]:
    """Every goal, in the order they are asked: errors first, then bands, then answers."""
    return [
        _weights(rows),
        _tokens(rows),
        _pool(rows),
        *_fits(rows),
        _decode(rows, "dense", 12.0, lambda row: not row.experts),
        _decode(rows, "experts", 30.0, lambda row: row.experts),
        *_bands(rows),
        _answered(rows, declined),
    ]


def _of(rows: Sequence[Row], quantity: str) -> list[Row]:
    return [row for row in rows if row.quantity.partition("@")[0] == quantity]


def _weights(rows: Sequence[Row]) -> Goal:
    errors = [error_of(row) for row in _of(rows, "weights_gib_per_gpu") if row.sized]
    name, asked = "weights, sizes at hand", "median 1 %, worst 5 %"
    if not errors:
        return Goal(name, asked, "no case", None)
    middle, worst = median(errors), max(errors)
    found = f"{middle:.2g} %, {worst:.3g} % (n {len(errors)})"
    return Goal(name, asked, found, middle <= 1 and worst <= 5)


def _tokens(rows: Sequence[Row]) -> Goal:
    errors = [error_of(row) for row in _of(rows, "kv_cache_tokens")]
    name, asked = "KV tokens of a printed pool", "median 0.1 %, 92 % within 1 %"
    if not errors:
        return Goal(name, asked, "no case", None)
    middle, near = median(errors), sum(error <= 1 for error in errors) / len(errors)
    found = f"{middle:.2g} %, {100 * near:.0f} % (n {len(errors)})"
    return Goal(name, asked, found, middle <= 0.1 and near >= 0.92)


def _pool(rows: Sequence[Row]) -> Goal:
    own = _of(rows, "available_kv_gib")
    name, asked = "free memory, settings alone", "median 0.3 GiB or 6 %"
    if not own:
        return Goal(name, asked, "no case", None)
    middle = median(error_of(row) for row in own)
    share = 100 * median(error_of(row) / max(1e-9, abs(number(row.measured))) for row in own)
    found = f"{middle:.2g} GiB, {share:.2g} % (n {len(own)})"
    return Goal(name, asked, found, middle <= 0.3 or share <= 6)


def _fits(rows: Sequence[Row]) -> Iterator[Goal]:
    counted = verdicts(rows, "fits")
    total = sum(counted.values())
    started = sum(n for (_, was), n in counted.items() if was == "yes")
    false_yes, false_no = counted.get(("yes", "no"), 0), counted.get(("no", "yes"), 0)
    close = sum(n for (said, _), n in counted.items() if said == "close")
    met = (false_yes == 0, false_no <= 0.1 * started) if total else (None, None)
    yield Goal("false `fits`", "none", f"{false_yes} of {total}, {close} too close", met[0])
    yield Goal("false `does not fit`", "10 % of boots", f"{false_no} of {started}", met[1])


def _decode(rows: Sequence[Row], kind: str, most: float, wanted: Callable[[Row], bool]) -> Goal:
    errors = [error_of(row) for row in rows if row.quantity == "decode_tok_s" and wanted(row)]
    name, asked = f"decode, one stream, {kind}", f"median {most:.0f} %"
    if not errors:
        return Goal(name, asked, "no case", None)
    return Goal(name, asked, f"{median(errors):.3g} % (n {len(errors)})", median(errors) <= most)


def _bands(rows: Sequence[Row]) -> Iterator[Goal]:
    numeric = [row for row in rows if not isinstance(row.measured, str)]
    for quantity in sorted({row.quantity.partition("@")[0] for row in numeric}):
        for kind in ("one stream", "several") if quantity == "decode_tok_s" else ("",):
            own = [
                row
                for row in numeric
                if row.quantity.partition("@")[0] == quantity
                and (not kind or ("@" in row.quantity) == (kind == "several"))
            ]
            if own:
                yield _band(f"band of `{quantity}`{', ' if kind else ''}{kind}", own)


def _band(name: str, rows: Sequence[Row]) -> Goal:
    inside = sum(is_inside(row) for row in rows) / len(rows)
    middle = median(error_of(row) for row in rows)
    ratio = median(half_width_of(row) for row in rows) / max(1e-9, middle)
    found = f"{100 * inside:.0f} %, {ratio:.2g} medians (n {len(rows)})"
    asked = f"holds {100 * HELD:.0f} %, half {WIDE:.0f} medians"
    return Goal(name, asked, found, inside >= HELD and ratio <= WIDE)


def _answered(rows: Sequence[Row], declined: Sequence[Declined]) -> Goal:
    refused = sum(one.has_facts for one in declined)
    share = len(rows) / max(1, len(rows) + refused)
    found = f"{100 * share:.0f} % of {len(rows) + refused}"
    name = "answered, where a config or sizes are at hand"
    return Goal(name, "90 %", found, share >= HELD if rows or refused else None)


def markdown(rows: Sequence[Row], declined: Sequence[Declined]) -> str:
    """The goals as a Markdown table."""
    words = {True: "yes", False: "no", None: "–"}
    out = ["| goal | asked | found | met |", "|---|---|---|---|"]
    out += [f"| {g.name} | {g.asked} | {g.found} | {words[g.met]} |" for g in goals(rows, declined)]
    return "\n".join(out)
