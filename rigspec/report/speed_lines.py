"""How fast a service is, in words: one stream, many, prompts, and what a cap costs of it."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.sizing.amount import band
from rigspec.sizing.power import CapCost, Work, speed_at_cap
from rigspec.sizing.service import Sized
from rigspec.sizing.sglang_states import requests
from rigspec.sizing.speeds import Speeds
from rigspec.sizing.throughput import Speed
from rigspec.sizing.turns import slowest
from rigspec.units import count, text_w


def speed_lines(sized: Sized, speeds: Speeds) -> Iterator[str]:
    """Decode, prompts, then what a cap costs."""
    if speeds.single is None:
        yield "  speed: unknown, the memory bandwidth of this card is not in the catalog"
        return
    yield f"  decode at {speeds.depth:,} tokens  {_speed(speeds.single)}"
    if speeds.speculative is not None:
        yield f"    with drafts         {_speed(speeds.speculative)}, {_accepted(speeds)}"
    if speeds.batch is not None and speeds.streams > 1:
        over = f" over {speeds.replicas} replicas" if speeds.replicas > 1 else ""
        streams = f"{count(speeds.streams, 'stream'):<18}"
        yield f"    {streams}  {_speed(speeds.batch)}, summed{over}, prompts between"
    if speeds.waiting:
        holder = _holder(sized, speeds)
        yield f"      {holder} no more of them at this depth: {speeds.waiting:,} wait"
    if speeds.prefill is not None:
        alone = f", in each of {speeds.replicas} replicas" if speeds.replicas > 1 else ""
        yield f"  prompt of {speeds.depth:,} tokens  {_speed(speeds.prefill)}{alone}"
    else:
        yield "  prompt: unknown, the arithmetic peak of this card is not known"
    yield from _cap_lines(sized)


def _holder(sized: Sized, speeds: Speeds) -> str:
    """What keeps the others waiting: SGLang's recurrent states, or the cache."""
    settings, left = sized.settings, sized.memory.available
    running = requests(sized.facts, settings, left)
    own = speeds.streams // speeds.replicas
    by_states = running is not None and int(running.value) <= own
    return "its recurrent states hold" if by_states else "the cache holds"


def _accepted(speeds: Speeds) -> str:
    return speeds.speculative.basis.rpartition("; ")[2] if speeds.speculative else ""


def _speed(speed: Speed) -> str:
    return f"{band(speed.tok_s, 0)} tok/s, bound by {speed.bottleneck.value}"


def _cap_lines(sized: Sized) -> Iterator[str]:
    """What a cap costs; nothing of one that is the card's own limit."""
    card = slowest(sized.cards)
    works: tuple[tuple[Work, str], ...] = (
        ("decode", "one stream"), ("batch", "many"), ("prefill", "prompts"),
    )  # fmt: skip
    costs = {word: speed_at_cap(card, work) for work, word in works}
    watts = card.power_limit_w or card.power_default_w
    if watts is None or not any(cost.source for cost in costs.values()):
        return
    cap = f"  {'cap' if card.power_limit_w else 'limit'} of {text_w(watts)}"
    least = min((cost.low for cost in costs.values() if not cost.measured), default=1.0)
    reckoned = f"low ends reckon with {least * 100:.0f} % of it"
    if all(_kept(cost) == _UNKNOWN for cost in costs.values()):
        yield f"{cap}: what it costs in speed is unknown for this card; {reckoned}"
        return
    yield f"{cap} keeps of the speed: {', '.join(f'{w} {_kept(c)}' for w, c in costs.items())}"
    if any(cost.below_sweep for cost in costs.values()):
        yield "    about: below the lowest cap of the sweep, from there in proportion to power"
    yield from (f"    {reckoned} where it was not measured",) if least < 1 else ()
    sources = [cost.source for cost in costs.values() if _kept(cost) != _UNKNOWN]
    yield f"    measured: {sources[0]}"


_UNKNOWN = "unknown"


def _kept(cost: CapCost) -> str:
    if cost.measured:
        return f"{cost.value * 100:.0f} %"
    return f"about {cost.value * 100:.0f} %" if cost.below_sweep else _UNKNOWN
