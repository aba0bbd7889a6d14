"""A rig's estimates on one screen: what fills each card, speed, links, watts, each with its error.

Figures in parentheses are the band the truth is expected in; docs/sizing.md says how often it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from rigspec.catalog.model_facts import ModelFacts
from rigspec.plan.peers import as_served, why_peers_off
from rigspec.report.links import link_lines
from rigspec.report.power_lines import power_lines
from rigspec.report.set_aside import cache_lines, host_lines, neighbour_lines, sets_aside
from rigspec.report.speed_lines import speed_lines
from rigspec.report.words import screen
from rigspec.rules.context import CheckContext
from rigspec.rules.power_states import power_states
from rigspec.rules.sizable import sized_once, uncounted_of, why_unsized
from rigspec.rules.to_save import to_save, unread_drafts
from rigspec.sizing.amount import Amount, band
from rigspec.sizing.cache_type import cache_type
from rigspec.sizing.from_spec import cards_of, catalog_of, paths_of
from rigspec.sizing.memory import MemoryEstimate, asked_context
from rigspec.sizing.service import Sized
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.state_room import StateRoom
from rigspec.sizing.verdict import Verdict, contexts_short, late_short, load_short
from rigspec.spec.rig import Rig, members
from rigspec.units import tenths_of

BAR = 64
"""Cells of the memory bar, where the screen has room for them."""
_LEAST_BAR = 10
FILLS = "█▓▒░"
"""One per term in the order of the breakdown; the cache is `=`, what stays outside is `·`."""
VERDICTS = {
    Verdict.YES: "fits",
    Verdict.CLOSE: "too close to call",
    Verdict.NO: "does not fit",
}


SCREEN = 100
"""Columns of the screen."""


def as_text(rig: Rig, facts: CheckContext, columns: int | None = None) -> str:
    """The whole screen, in the width of a terminal where it has one."""
    lines = [f"rig {rig.name}: estimates; figures in parentheses are the expected band"]
    seen: set[tuple[str, ...]] = set()
    rig = as_served(rig, facts.faults)
    for name, service in rig.services.items():
        used = members(rig.gpus, service.gpus)
        lines += ["", *_service(rig, name, facts, columns)]
        lines += [f"  P2P off: {why}" for why in why_peers_off(rig, name, facts.faults)]
        if len(used) > 1 and used not in seen:
            joined = cards_of(rig, name, catalog_of(facts.catalog))
            if joined and all(card.nvlink for card in joined):
                lines += [f"  NVLink joins these cards{_reduces(rig, name)}"]
            found = paths_of(rig, name, catalog_of(facts.catalog))
            lines += link_lines(found, used, columns)
        seen.add(used)
    return screen("\n".join([*lines, "", *power_lines(power_states(rig, facts))]), columns)


def _reduces(rig: Rig, name: str) -> str:
    """llama.cpp's split by layer has no all-reduces."""
    service = rig.services[name]
    by_layer = service.engine == "llama_cpp" and service.split_mode in (None, "layer", "none")
    return "" if by_layer else ": all-reduces go there, not over the links below"


def _service(rig: Rig, name: str, facts: CheckContext, columns: int | None) -> Iterator[str]:
    sized = sized_once(rig, name, facts)
    if sized is None:
        title, why = f"{name}: unknown whether it fits,", why_unsized(rig, name, facts)
        yield from (f"{title} {why}",) if len(title + why) < SCREEN else (title, f"  {why}")
        yield from _to_save(rig, name, facts)
        return
    yield from service_lines(sized, columns)
    drafts = (said for service, said in unread_drafts(rig, facts) if service == name)
    yield from (f"  not reckoned: its draft model, {said}" for said in drafts)
    flags = uncounted_of(rig.services[name], facts)
    yield from (f"  not reckoned: `{flag}`, {what}" for flag, what in flags.items())


def _to_save(rig: Rig, name: str, facts: CheckContext) -> Iterator[str]:
    model = rig.models.get(rig.services[name].model)
    if rig.services[name].model not in facts.models and model is not None:
        *others, last = to_save(model, facts)
        yield from (f"  {other}, or" for other in others)
        yield f"  {last} saves it beside the rig"


def service_lines(sized: Sized, columns: int | None) -> Iterator[str]:
    """One service: memory of a card, then speed; the bar as long as a terminal lets it be."""
    settings, memory = sized.settings, sized.memory
    spread = _spread(settings, len(sized.cards))
    verdict = "refused" if memory.refused else VERDICTS[memory.boots]
    if memory.refusals and not memory.refused and memory.boots is not Verdict.NO:
        verdict += ", may be refused"
    cards = f"{_names(sized)}, {settings.engine.label}"
    name = "" if sized.name == sized.facts.name else f"{sized.name}: "
    title, where = f"{name}{sized.facts.name}", f"on {cards}{spread}: {verdict}"
    # a long model's name must not push the verdict off the screen
    yield from (f"{title} {where}",) if len(title + where) < SCREEN else (title, f"  {where}")
    yield from (f"  warning: {sentence}" for sentence in warnings_of(sized))
    for refusal in memory.refusals:
        yield f"  {'refused' if refusal.surely else 'may be refused'}: {refusal.message}"
    yield from (f"  not understood: {doubt}" for doubt in memory.doubts)
    if not memory.refused:  # else nothing would run in this shape
        yield from state_lines(memory.states)
        yield from memory_lines(sized, columns)
        yield from host_lines(sized)
        if memory.boots is Verdict.NO:
            yield "  speed: none, it does not start"
        else:
            yield from speed_lines(sized, speeds_of(sized))


def warnings_of(sized: Sized) -> Iterator[str]:
    """What `rigspec check` warns about in a spec of the same service."""
    yield from unfit(sized.facts, sized.settings.engine)
    loading = load_short(sized.facts, sized.card, sized.settings)
    if loading:
        yield loading
    late = late_short(sized.facts, sized.card, sized.settings)
    shortage = contexts_short(sized.card, sized.settings)
    if late and sized.memory.verdict is Verdict.CLOSE:
        yield late
    elif shortage:
        yield shortage


def unfit(facts: ModelFacts, engine: Engine) -> Iterator[str]:
    """The warning that `rigspec check` gives for the same model in a spec."""
    if facts.is_gguf and not engine.reads_gguf:
        yield (
            f"a GGUF file; {engine.label} reads it only with a plugin or not at all: "
            "take llama.cpp (`llama_cpp`)"
        )


def _spread(settings: EngineSettings, cards: int) -> str:
    """`, TP 2, DP 2, EP 4`; in llama.cpp `, split by layer over 2`."""
    if settings.engine is Engine.LLAMA_CPP:
        if settings.tensor_parallel > 1:
            return f", split by {settings.split} over {settings.tensor_parallel}"
        return ", on one of them" if cards > 1 else ""
    sizes = (("TP", settings.tensor_parallel), ("PP", settings.pipeline_parallel),
             ("DP", settings.data_parallel), ("DCP", settings.decode_context_parallel),
             ("EP", settings.expert_ranks))  # fmt: skip
    return "".join(f", {word} {size}" for word, size in sizes if size > 1)


def state_lines(room: StateRoom | None) -> Iterator[str]:
    """What vLLM says to more sequences than its cache has states for; else nothing."""
    if room is not None and not room.surely:
        usual = "" if room.stated else ", its default,"
        yield f"  vLLM refuses {room.sequences} sequences{usual} if its cache holds fewer states:"
        yield f"    {band(room.blocks, 0)} blocks, one for each; {_few_enough(room)}"
        yield "    (`--sequences` of `rigspec fit`)"


def _few_enough(room: StateRoom) -> str:
    if room.blocks.low < 1:
        return "`max_sequences` sets the number"
    return f"`max_sequences: {room.fitting}` surely finds them"


def _names(sized: Sized) -> str:
    counted = Counter(card.name.removeprefix("NVIDIA ") for card in sized.cards)
    return " and ".join(f"{number} × {name}" for name, number in counted.items())


def _whose(sized: Sized) -> str:
    """Whose memory is shown: that of all cards, or of the one with the least room."""
    if len({card.name for card in sized.cards}) > 1:
        return sized.card.name.removeprefix("NVIDIA ")
    unlike = sized.memory.beside or sized.settings.pipeline_parallel > 1
    return "fullest card" if unlike else "each card"


def memory_lines(sized: Sized, columns: int | None = None) -> Iterator[str]:
    """The bar of one card and its terms."""
    memory, total = sized.memory, sized.card.total.value
    *terms, free = memory.terms
    sizes = [max(0.0, term.amount.value) for term in terms]
    cache = max(0.0, free.amount.value)
    if sets_aside(sized) and memory.needed is not None:
        cache = min(cache, memory.needed.value)
    outside = max(0.0, total - sum(sizes) - cache)
    title = f"  {_whose(sized)}, {total:.1f} GiB  "
    room = BAR if columns is None else max(_LEAST_BAR, columns - len(f"{title}||"))
    yield f"{title}|{bar(sizes, cache, outside, total, min(BAR, room))}|"
    for fill, term in zip(FILLS, terms, strict=False):
        yield f"    {fill} {term.name:<30} {band(term.size, 1)} GiB, {term.basis}"
    if sets_aside(sized):
        yield from cache_lines(sized)
        return
    stored = cache_type(sized.facts, sized.settings)
    why = f", {stored.why}" if stored.why else ""
    yield f"    = {f'KV cache, {stored.name}':<30} {_left(free.amount)}{_tokens(memory)}{why}"
    said = _requests(sized, memory)
    yield from ([f"      {said}"] if said else [])
    yield from neighbour_lines(sized)
    rest = outside - sum(each.gib for each in sized.neighbours)
    if rest > 0.05:
        yield f"    · {'left to CUDA contexts':<30} {rest:,.1f} GiB"


def bar(sizes: Sequence[float], cache: float, outside: float, total: float, room: int = BAR) -> str:
    """Terms, cache and rest as cells; what is beyond the card is cut off by `!`."""
    cells = "".join(
        fill * round(min(1.0, size / total) * room) or (fill if size > 0.2 else "")
        for fill, size in zip(FILLS, sizes, strict=False)
    )
    cells += "=" * round(cache / total * room) + "·" * round(outside / total * room)
    if sum(sizes) > total:
        return cells[: room - 1] + "!"
    return cells[:room].ljust(room, "·" if outside else "=")


def _left(room: Amount) -> str:
    """What is left for the cache; a room below nothing is what is missing."""
    if room.value > 0:
        return f"{band(room, 1)} GiB"
    best = f", at best {room.high:,.1f} are left" if room.high > 0 else ""
    return f"none: {-room.value:z,.1f} GiB are missing{best}"


def _tokens(memory: MemoryEstimate) -> str:
    known = memory.kv_tokens is not None and memory.kv_tokens.value > 0
    return f", {band(memory.kv_tokens, 0)} tokens" if memory.kv_tokens and known else ""


def _requests(sized: Sized, memory: MemoryEstimate) -> str:
    said = []
    asked = asked_context(sized.facts, sized.settings)
    wide = bool(memory.doubts)
    guess = "perhaps " if wide else ""
    if memory.needed is not None and asked:
        takes = band(memory.needed, 1) if wide else f"{memory.needed.value:,.1f}"
        said.append(f"one request of {asked:,} takes {takes} GiB")
    if memory.concurrency is not None and memory.concurrency >= 1:
        where = " in each replica" if sized.settings.replicas > 1 else ""
        said.append(f"{guess}{tenths_of(memory.concurrency):.1f} at once{where}")
    if memory.largest_context:
        said.append(f"the longest expected to fit is {guess}{memory.largest_context:,}")
    return ", ".join(said)
