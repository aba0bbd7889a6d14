"""Cards under load: links at their full width and generation, nothing repaired, none held down."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from statistics import median

from rigspec.observed import load as seen_load
from rigspec.observed.load import DONE, TOO_HOT, CardLoad, LoadReading, Spread
from rigspec.observed.record import NOT_ASKED, Reading, Unknown
from rigspec.plan.sections import GpuMember, Plan
from rigspec.verify.advice import BURN_AGAIN, FABRIC_AGAIN
from rigspec.verify.verdict import Check, Verdict, listed

HOW = {"load": "rigspec verify --load", "burn": "rigspec burn"}
AGAIN = {"load": FABRIC_AGAIN, "burn": BURN_AGAIN}

ALIKE = 0.9
"""Equal cards differ by 2–5 %; gpu-fryer and DCGM draw the line at 10 % too."""


def verify_load(plan: Plan, reading: Reading[LoadReading], name: str) -> Iterator[Verdict]:
    """The rows of the last run of one kind, `load` or `burn`."""
    ended = Check(f"{name}.ended", f"{HOW[name]}: ended by itself", "samples of nvidia-smi", "done")
    if isinstance(reading, Unknown):
        if reading in (NOT_ASKED, seen_load.NEVER):
            yield ended.not_applicable(f"load is opt-in: {HOW[name]}")
        else:
            yield ended.unknown(reading, AGAIN[name])
        return
    yield _ended(ended, reading, name)
    cards = {card.member: card for card in reading.cards}
    if not reading.worked and reading.ended not in {DONE, TOO_HOT}:
        return
    for member in plan.preflight.gpus:
        if member.member in cards:
            yield from _card(member, cards[member.member], name)
    yield from alike(plan, cards.values(), name)
    yield link_errors(reading, name)


def _ended(check: Check, reading: LoadReading, name: str) -> Verdict:
    minutes = f"{reading.minutes} minutes, " if reading.minutes else ""
    if reading.ended == DONE:
        return check.passed(f"{minutes}{reading.taken_at}")
    if reading.ended == TOO_HOT:
        return check.failed(
            f"{reading.words}, {reading.taken_at}",
            "the load was ended before a card had to slow itself down",
            "look at: fans, dust, airflow between the cards, room temperature; a lower "
            "`power_limit_w`",
        )
    if reading.failed:
        return check.warned(
            f"{reading.words}, {reading.taken_at}", "no card has worked in that run", AGAIN[name]
        )
    return check.unknown(
        Unknown("it did not end by itself", reading.words or "it was cut off"),
        f"look at: journalctl -b -u 'rigspec-job-load*'; {AGAIN[name]}",
    )


def _card(member: GpuMember, card: CardLoad, name: str) -> Iterator[Verdict]:
    yield link(member, card, name)
    yield held_down(member, card, name)
    if not isinstance(card.wrong, Unknown):
        yield values(member, card, name)


def link(member: GpuMember, card: CardLoad, name: str) -> Verdict:
    """Under load a healthy link does not stay slow: idle downgrade ends with the first copy."""
    check = Check(
        f"{name}.link.{member.member}",
        f"{member.member}: link under load",
        "nvidia-smi, sampled",
        f"gen {member.link_generation} x{member.link_width}",
    )
    gen, width = card.link_gen, card.link_width
    if isinstance(gen, Unknown) or isinstance(width, Unknown):
        return check.unknown(gen if isinstance(gen, Unknown) else "no width was sampled")
    found = f"gen {gen.greatest:.0f} x{width.least:.0f}"
    if gen.greatest >= member.link_generation and width.least >= member.link_width:
        return check.passed(found)
    return check.failed(
        found,
        "the link stays slower or narrower than declared while data moves",
        "look at: BIOS link speed of the slot, riser or cable quality (AER counters), retimers",
    )


def held_down(member: GpuMember, card: CardLoad, name: str) -> Verdict:
    """No reason but its power cap held the card's clocks down; temperatures and watts beside it."""
    check = Check(
        f"{name}.clocks.{member.member}",
        f"{member.member}: clocks under load",
        "nvidia-smi, sampled",
        "held down by nothing but its power cap",
    )
    if isinstance(card.held_down_by, Unknown):
        return check.unknown(card.held_down_by)
    watts, heat, clock = map(_spread, (card.power_w, card.temperature_c, card.clock_mhz))
    found = f"{heat} °C, {watts} W, {clock} MHz"
    if not card.held_down_by:
        return check.passed(found)
    return check.failed(
        f"{listed(card.held_down_by)}; {found}",
        "the card slows itself down: heat, or its power supply",
        "look at: cooling; both power cables of the card, the PSU's limit; nvidia-smi -q -d "
        "PERFORMANCE",
    )


def _spread(value: Reading[Spread]) -> str:
    if isinstance(value, Unknown):
        return "?"
    return f"{value.least:.0f}–{value.greatest:.0f} (median {value.median:.0f})"


def values(member: GpuMember, card: CardLoad, name: str) -> Verdict:
    """The same multiplication gives the same numbers, every time."""
    check = Check(
        f"{name}.values.{member.member}",
        f"{member.member}: results under load",
        "the same matrices over and over",
        "0 wrong",
    )
    if not card.wrong:
        return check.passed("0 wrong")
    return check.failed(
        f"{card.wrong} wrong",
        "the card computes wrong under load: memory, voltage or heat",
        "take undervolting and overclocks back; look at: ECC counters; try the card elsewhere",
    )


def alike(plan: Plan, cards: Iterable[CardLoad], name: str) -> Iterator[Verdict]:
    """Equal cards with equal caps are equally fast."""
    by_member = {card.member: card for card in cards}
    groups: dict[tuple[str, int | None, int | None], list[CardLoad]] = {}
    for gpu in plan.preflight.gpus:
        if card := by_member.get(gpu.member):
            key = (gpu.sku, gpu.power_limit_w, gpu.clock_ceiling_mhz)
            groups.setdefault(key, []).append(card)
    for group in groups.values():
        if len(group) > 1:
            yield _alike(group, name)


def _alike(group: list[CardLoad], name: str) -> Verdict:
    first = group[0].member
    check = Check(
        f"{name}.alike.{first}",
        f"{first} and its {len(group) - 1} like",
        "matrices, all cards at once",
        f"each at least {100 * ALIKE:.0f} % of the median",
    )
    known = [(c.member, c.tflops) for c in group if not isinstance(c.tflops, Unknown)]
    lost = [card.tflops for card in group if isinstance(card.tflops, Unknown)]
    if lost:
        return check.unknown(lost[0])
    middle = median(speed for _, speed in known)
    found = f"{min(s for _, s in known):.3g}–{max(s for _, s in known):.3g} TFLOP/s"
    slow = [f"{member} {speed / middle:.0%}" for member, speed in known if speed < ALIKE * middle]
    if not slow:
        return check.passed(found)
    return check.failed(
        f"{found}; {listed(slow)} of the median",
        "a slow card holds the whole group back",
        "look at: its clocks and temperature under load, its power cap, another program on it",
    )


def link_errors(reading: LoadReading, name: str) -> Verdict:
    """Nothing on the way had to be sent again, or was lost."""
    check = Check(f"{name}.errors", "PCIe errors under load", "AER counters, replays", "none")
    replays = [
        f"{card.member} {card.replays} replays"
        for card in reading.cards
        if not isinstance(card.replays, Unknown) and card.replays
    ]
    errors = reading.link_errors
    if isinstance(errors, Unknown):
        if replays:
            return check.warned(listed(replays), _REPAIRED, _CABLES)
        if all(isinstance(card.replays, Unknown) for card in reading.cards):
            return check.unknown(errors)
        return check.passed("no replays; the kernel shows no AER counters here")
    said = [f"{e.address} {e.correctable}/{e.nonfatal}/{e.fatal}" for e in errors]
    if any(e.nonfatal or e.fatal for e in errors):
        return check.failed(
            f"{listed([*said, *replays])} (correctable/non-fatal/fatal)",
            "packets were lost on the way",
            _CABLES,
        )
    if said or replays:
        return check.warned(listed([*said, *replays]), _REPAIRED, _CABLES)
    return check.passed("none")


_REPAIRED = "packets were damaged and sent again: the link works, at its limit"
_CABLES = "look at: cables (length, seating), risers, retimers; one generation less in the BIOS"
