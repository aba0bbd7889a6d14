"""The arithmetic of a service's memory, and the changes after which it would fit, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rigspec.finding import WAYS_OUT
from rigspec.rules.places import ticked
from rigspec.units import GIB

if TYPE_CHECKING:
    from rigspec.sizing.neighbours import Neighbour
    from rigspec.sizing.refusal import Refusal
    from rigspec.sizing.remedies import Remedy
    from rigspec.sizing.service import Sized

MOST_REMEDIES = 6


def breakdown(sized: Sized) -> str:
    """`of 23.6 GiB: weights 14.4 (14.3–14.6), activation peak 0.5 (0.2–1.3) …`, as in the plan."""
    from rigspec.sizing.amount import band

    before = [f"`{each.name}` before it {each.gib:.1f}" for each in crowded_by(sized)]
    parts = [f"{term.name} {band(term.size, 1)}" for term in sized.memory.terms]
    late = "; it finds only what they leave, and nothing orders the starts"
    said = f"of {sized.card.total.value:.1f} GiB: {', '.join([*before, *parts])} GiB"
    return said + (late if before else "")


def crowded_by(sized: Sized) -> tuple[Neighbour, ...]:
    """Services whose memory an engine finds taken: vLLM's share is of the whole card."""
    return sized.neighbours if sized.settings.engine != "vllm" else ()


def starts_after(sized: Sized) -> str:
    """` where it starts after `a`` for one that finds their memory taken; else empty."""
    names = ticked(tuple(each.name for each in crowded_by(sized)))
    return f" where it starts after {names}" if names else ""


def ways_out(sized: Sized) -> str:
    """Every single change that helps, or some together, the nearest first."""
    from rigspec.sizing.remedies import remedies
    from rigspec.sizing.remedy import how_surely

    spare = 1 - sum(each.reserved_gib for each in sized.neighbours) / sized.card.total.value
    changes = remedies(sized.facts, sized.cards, sized.settings, spare_share=spare, idle=sized.idle)
    found = (*changes, *_one_at_a_time(sized))
    if not found:
        return "no single change helps: take a smaller model or larger cards"
    shown = found[:MOST_REMEDIES]
    return f"{WAYS_OUT}{how_surely(shown)}: " + "; ".join(_said(each, sized) for each in shown)


def _said(remedy: Remedy, sized: Sized) -> str:
    from rigspec.sizing.remedy import MORE_CARDS, given

    written = remedy.write if "`" in remedy.write else f"`{remedy.write}`"
    if remedy.name != MORE_CARDS:
        return f"{remedy.name}: {written} ({given(remedy)})"
    groups = ticked(list(dict.fromkeys(member.partition(".")[0] for member in sized.gpus)))
    alone = " and no `split_mode: none`" if sized.on_main else ""
    # what a spec says of supplies, circuit and slots was for fewer, and so were others' shares
    beside = "".join(f", `{each.name}`" for each in sized.neighbours)
    return (
        f"{remedy.name} in {groups}: {written}{alone} ({given(remedy)}, power, PCIe{beside} "
        "are judged anew)"
    )


def _one_at_a_time(sized: Sized) -> Iterator[Remedy]:
    """Without those whose memory it finds taken, if it fits then."""
    from dataclasses import replace

    from rigspec.sizing.remedy import Case, tried

    crowd = crowded_by(sized)
    if crowd:
        names = ", ".join(dict.fromkeys((*sized.apart, *(each.name for each in crowd))))
        cards = tuple(replace(card, held_gib=0.0) for card in sized.cards)
        case = Case(sized.facts, cards, sized.card, sized.settings, 1.0)
        alone = replace(sized.settings, other_processes_gib=0.0)
        yield from tried("one at a time", f"instead_of: [{names}]", case, alone)


def stated_size(sized: Sized, room_gib: float) -> str:
    """What a stated size of the cache may be; the ways out where not even nothing fits."""
    if room_gib <= 0:
        return ways_out(sized)
    return f"at most {int(room_gib * GIB)} bytes, or no `--kv-cache-memory-bytes`"


def _is_taken(sized: Sized, ranks: int) -> bool:
    """Whether no rule of the shape refuses this TP; the context has a rule of its own."""
    from dataclasses import replace

    from rigspec.sizing.accepted import refusals

    found = refusals(sized.facts, replace(sized.settings, tensor_parallel=ranks), sized.card)
    return all(refusal.rule in ("context", "dcp") for refusal in found)


def fitting_sizes(sized: Sized, refusal: Refusal) -> str:
    """Sizes that break no rule: of DCP where that is refused, else of TP."""
    from dataclasses import replace

    from rigspec.sizing.accepted import CUT_EXPERTS, decode_context_sizes
    from rigspec.sizing.group import tightest
    from rigspec.sizing.remedy import fits

    if refusal.rule == "stages":
        return ""
    if refusal.rule == "dcp":
        taken = decode_context_sizes(sized.facts, sized.settings, sized.card)
        copies = ", ".join(str(size) for size in taken if size > 1)
        without = "leave `decode_context_parallel_size` out" if 1 in taken else ""
        return f"DCP sizes that it takes: {copies}; or {without}" if copies else without
    sizes = [
        str(size)
        for size in (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16)
        if size <= len(sized.gpus) and _is_taken(sized, size)
    ]
    ways = [f"TP sizes that it takes: {', '.join(sizes)}"] if sizes else []
    whole = replace(sized.settings, expert_parallel=True)
    if refusal.rule in CUT_EXPERTS and fits(tightest(sized.facts, sized.cards, whole)[0]):
        ways.append("`expert_parallel: true` leaves the experts whole")
    return "; or ".join(ways)
