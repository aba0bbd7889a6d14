"""How fast a service is, in words: one stream, many, prompts, and what a cap costs of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from rigspec.sizing.amount import band
from rigspec.sizing.cards import Card
from rigspec.sizing.power import CapCost, decode_cost, prompt_cost, speed_at_cap
from rigspec.sizing.service import Sized
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.sglang_states import requests
from rigspec.sizing.speeds import Speeds
from rigspec.sizing.throughput import Speed
from rigspec.sizing.turns import at_work
from rigspec.sizing.weights import host_gib
from rigspec.units import count, text_w


def speed_lines(sized: Sized, speeds: Speeds) -> Iterator[str]:
    """Decode, prompts, then what a cap costs."""
    if host_gib(sized.facts, sized.settings) is not None:
        yield "  speed: unknown, it depends on the host's memory and cores"
        return
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
    yield from _cap_lines(sized, speeds)


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


def _cap_lines(sized: Sized, speeds: Speeds) -> Iterator[str]:
    """What each cap costs of the speeds above; nothing of one that is the card's own limit."""
    kinds = at_work(sized.cards, sized.settings)
    for card in kinds:
        whose = f" ({card.name.removeprefix('NVIDIA ')})" if len(kinds) > 1 else ""
        yield from _cap_of(card, whose, sized.settings, speeds)


def _cap_of(card: Card, whose: str, settings: EngineSettings, speeds: Speeds) -> Iterator[str]:
    costs = _costs(card, settings, speeds)
    watts = card.power_limit_w or card.power_default_w
    if watts is None or not speed_at_cap(card, "decode").source:
        return
    cap = f"  {'cap' if card.power_limit_w else 'limit'} of {text_w(watts)}{whose}"
    if settings.turns > 1 and all(cost.low >= 1.0 for cost in costs.values()):
        yield f"{cap} costs no speed: {_IN_TURN}"
        return
    reckoned = _reckoned(costs)
    if all(_kept(cost) == _UNKNOWN for cost in costs.values()):
        yield f"{cap}: what it costs in speed is unknown for this card; {reckoned}"
    else:
        yield f"{cap} keeps of the speed: {', '.join(f'{w} {_kept(c)}' for w, c in costs.items())}"
        if any(cost.below_sweep for cost in costs.values()):
            yield "    about: below the lowest cap of the sweep, from there in proportion to power"
        yield from (f"    {reckoned} where it was not measured",) if reckoned else ()
    if settings.turns > 1:
        yield f"    {' and '.join(word for word in costs if word != _MANY)}: {_IN_TURN}"
    sources = [cost.source for cost in costs.values() if cost.source and _kept(cost) != _UNKNOWN]
    yield from (f"    measured: {source}" for source in sources[:1])


_MANY = "many"
_IN_TURN = "the cards take turns, and it is a limit of the average"


def _reckoned(costs: Mapping[str, CapCost]) -> str:
    """What low ends are lowered to; the speeds are named where they differ. Empty: all measured."""
    found: dict[str, list[str]] = {}
    for word, cost in costs.items():
        if not cost.measured:
            found.setdefault(f"{cost.low * 100:.0f} %", []).append(word)
    named = len(found) > 1
    parts = (f"{left} ({', '.join(words)})" if named else left for left, words in found.items())
    return f"low ends reckon with {' and '.join(parts)} of it" if found else ""


def _costs(card: Card, settings: EngineSettings, speeds: Speeds) -> dict[str, CapCost]:
    """By the words for each speed that is shown, as it was reckoned with."""
    found = {"one stream": decode_cost(card, settings, 1)}
    if speeds.batch is not None and speeds.streams > 1:
        found[_MANY] = decode_cost(card, settings, speeds.streams // speeds.replicas)
    if speeds.prefill is not None:
        found["prompts"] = prompt_cost(card, settings)
    return found


_UNKNOWN = "unknown"


def _kept(cost: CapCost) -> str:
    if cost.measured:
        return f"{cost.value * 100:.0f} %"
    return f"about {cost.value * 100:.0f} %" if cost.below_sweep else _UNKNOWN
