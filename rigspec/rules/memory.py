"""Whether a model fits its cards, and its format theirs; silent where the model is not known.

Estimates carry bands: an error only when even the favourable end does not fit, a warning when the
answer lies inside the band. The arithmetic modules are imported on use: a spec without saved facts
must not wait for them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.shortage import given, own_length, place, shortage, states_lack
from rigspec.rules.sizable import sized_services
from rigspec.rules.ways_out import breakdown, fitting_sizes, starts_after, stated_size, ways_out
from rigspec.spec.rig import Rig
from rigspec.units import GIB, with_article

if TYPE_CHECKING:
    from rigspec.sizing.amount import Amount
    from rigspec.sizing.service import Sized


def fits(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One request of full length fits beside the weights."""
    for name, sized in sized_services(rig, facts):
        if sized.memory.verdict != "no" or "no" in (_loading(sized), _stated_cache(sized)):
            continue
        complain = error if sized.facts.known else warning
        yield complain(
            "memory.fits",
            place(sized, rig.services[name]),
            shortage(name, sized, own_length(sized, rig.services[name])),
            why=breakdown(sized)
            + ("" if sized.facts.known else f"; not understood: {', '.join(sized.facts.doubts)}"),
            hint=ways_out(sized),
        )


def fits_closely(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """It may fit, it may not: the answer lies inside the known error."""
    for name, sized in sized_services(rig, facts):
        left, needed = sized.memory.available, sized.memory.needed
        if sized.memory.verdict != "close":
            continue
        if needed is not None and left.low >= needed.high:
            yield from _late(rig, name, sized)
            yield from _states(rig, name, sized)
            continue
        least, most = max(0.0, left.low), max(0.0, left.high)
        wanted = f"needs {needed.value:,.1f} GiB" if needed else "needs an unknown amount"
        changes = ": how this model lays out its cache changes with the engine's release"
        yield warning(
            "memory.fits-closely",
            place(sized, rig.services[name]),
            f"`{name}` {wanted} of cache for one full request"
            f"{own_length(sized, rig.services[name])}, {least:,.1f} to {most:,.1f} GiB are left "
            f"on {with_article(sized.card.name)}{starts_after(sized)}",
            why=breakdown(sized),
            hint="the first start decides"
            + (changes if sized.only_unknown else f"; {ways_out(sized)}"),
        )


def loads(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The weights find room until the last of them is quantized."""
    from rigspec.sizing.verdict import load_short

    for name, sized in sized_services(rig, facts):
        loading = _loading(sized)
        if loading == "yes" or (loading == "close" and sized.memory.verdict == "no"):
            continue
        surely = loading == "no"
        complain = error if surely else warning
        yield complain(
            "memory.loads",
            ("services", name, "quantization"),
            f"`{name}`: {load_short(sized.facts, sized.card, sized.settings)}",
            why=f"the engine{'' if surely else ', or some version of it,'} loads all 16 bits first "
            "and runs out of memory before it serves",
            hint="take a checkpoint that is stored in 8 bits and delete the line, or vLLM 0.15 or "
            "newer, which quantizes tensor by tensor",
        )


def stated_cache(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A cache whose size is written out finds room beside everything else."""
    from rigspec.sizing.verdict import beside_all

    for name, sized in sized_services(rig, facts):
        asked, found = sized.settings.kv_bytes, _stated_cache(sized)
        if asked is None or found == "yes":
            continue
        room = beside_all(sized.card, sized.settings, _used(sized))
        complain = error if found == "no" else warning
        yield complain(
            "memory.stated-cache",
            ("services", name, "extra_args"),
            f"`{name}` sets aside {asked / GIB:,.1f} GiB of cache, {max(0.0, room.low):,.1f} to "
            f"{max(0.0, room.high):,.1f} GiB are left on {with_article(sized.card.name)}",
            why="vLLM then does not look at what is free, and runs out of memory",
            hint=stated_size(sized, room.low),
        )


def _stated_cache(sized: Sized) -> str:
    from rigspec.sizing import verdict

    return verdict.stated_cache(sized.card, sized.settings, _used(sized))


def _used(sized: Sized) -> tuple[Amount, ...]:
    return tuple(term.amount for term in sized.memory.terms[:-1])


def _loading(sized: Sized) -> str:
    from rigspec.sizing import verdict

    return verdict.loads(sized.facts, sized.card, sized.settings)


def _late(rig: Rig, name: str, sized: Sized) -> Iterator[Finding]:
    """The cache has room, what grows after it was sized may have none."""
    from rigspec.sizing.verdict import late_short

    lacks = late_short(sized.facts, sized.card, sized.settings)
    if not lacks:
        return  # `contexts_have_room` says so
    stated = given(rig.services[name], "gpu_memory_fraction")
    yield warning(
        "memory.fits-closely",
        ("services", name, "gpu_memory_fraction" if stated else "model"),
        f"`{name}` has room for its cache, but {lacks}",
        why="the engine starts, and may run out of memory under load",
        hint=ways_out(sized),
    )


def _states(rig: Rig, name: str, sized: Sized) -> Iterator[Finding]:
    """The cache has room, the states of one running request may have none (SGLang)."""
    lacks = states_lack(sized)
    if lacks:
        yield warning(
            "memory.fits-closely",
            place(sized, rig.services[name]),
            f"`{name}` has room for its cache, but {lacks}",
            why="SGLang ends its start where the states of not one request find room",
            hint=f"the first start decides; {ways_out(sized)}",
        )


def states_have_room(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every sequence the engine may run finds a block for its recurrent state."""
    for name, sized in sized_services(rig, facts):
        room = sized.memory.states
        if room is None or room.surely or sized.memory.verdict == "no":
            continue
        complain = error if room.never else warning
        stated = given(rig.services[name], "max_sequences")
        yield complain(
            "memory.states-have-room",
            ("services", name, "max_sequences" if stated else "model"),
            f"`max_sequences` of `{name}` is {room.sequences}{'' if stated else ' by default'}, "
            f"its cache holds {room.blocks.low:.0f} to {room.blocks.high:.0f} states, one per "
            "sequence",
            why="this model keeps a recurrent state per running sequence, and vLLM refuses to "
            "start with fewer blocks than sequences",
            hint=f"`max_sequences: {room.fitting}` fits"
            if room.blocks.low >= 1 and room.fitting < room.sequences
            else ("" if room.never else "the first start decides; ") + ways_out(sized),
        )


def contexts_have_room(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What CUDA itself takes lies outside the engine's share, and what SGLang's steps take too."""
    for name, sized in sized_services(rig, facts):
        from rigspec.sizing.verdict import contexts_short, least_beside

        lacks = contexts_short(sized.card, sized.settings)
        if lacks:
            share = least_beside(sized.card, sized.settings) / sized.card.total.value
            yield warning(
                "memory.contexts-have-room",
                ("services", name, "gpu_memory_fraction"),
                lacks,
                why="the engine starts, or nearly, and runs out of memory under load",
                hint=f"at most {int((1 - share) * 100) / 100:g}",
            )


def shape_accepted(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The engine takes the model's shape at these sizes, whatever memory there is."""
    for name, sized in sized_services(rig, facts):
        for refusal in sized.memory.refusals:
            complaint = _SHAPES.get(refusal.rule)
            dcp = sized.settings.decode_context_parallel
            if complaint is None or (
                refusal.rule == "dcp" and sized.settings.tensor_parallel % dcp
            ):
                continue  # heads, context and TP over DCP have rules of their own
            key, why = complaint
            complain = error if refusal.surely else warning
            yield complain(
                "memory.shape-accepted",
                ("services", name, key) if given(rig.services[name], key) else ("services", name),
                f"`{rig.services[name].model}`: {refusal.message}",
                why=why,
                hint=fitting_sizes(sized, refusal),
            )


_SHAPES = {
    "vocabulary": ("tensor_parallel_size", "the embedding is cut by rank; vLLM refuses the rest"),
    "state-heads": ("tensor_parallel_size", "each rank takes a whole number of heads"),
    "fp8-block": (
        "tensor_parallel_size",
        "fp8 scales cover square blocks: vLLM and SGLang refuse a shard that cuts one; vLLM from "
        "0.29 on makes the blocks of experts smaller, where a kernel takes that",
    ),
    "groups": (
        "tensor_parallel_size",
        "a scale covers a group of rows: vLLM and SGLang refuse a shard that cuts one",
    ),
    "expert-groups": ("tensor_parallel_size", "Marlin's kernels end where a shard cuts a group"),
    "dcp": (
        "decode_context_parallel_size",
        "DCP spreads copies of the key/value heads; the heads of a rank must be copies",
    ),
    "stages": ("pipeline_parallel_size", "each stage needs a layer"),
}


def format_runs(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The cards run the weights' number format, natively or unpacked."""
    from rigspec.sizing.accepted import CARD

    for name, sized in sized_services(rig, facts):
        path = ("services", name, "model")
        refused = [r for r in sized.memory.refusals if r.rule == "compute-capability"]
        if refused:
            yield error(
                "memory.format-runs",
                path,
                refused[0].message,
                why="the engine has no kernel for this format on this card and refuses to start",
                hint="take a checkpoint in 16 bit, or GGUF with `engine: llama_cpp`",
            )
            continue
        word = sized.facts.quantization.label
        formats = _NEEDED.get(sized.facts.quantization.scheme.value, set())
        if any(r.rule == CARD for r in sized.memory.refusals):
            continue  # `refused.card` says it
        if formats and not formats & _tensor_formats(rig, name, facts):
            yield note(
                "memory.format-runs",
                path,
                f"{word} weights are emulated on {with_article(sized.card.name)}: unpacked to 16 "
                "bit for each multiplication",
                why="they save memory and bandwidth as usual; prompts run at 16-bit speed",
            )


_NEEDED = {
    "fp8": {"fp8"}, "fp8-block": {"fp8"}, "mxfp8": {"fp8"}, "nvfp4": {"nvfp4"},
    "mxfp4": {"mxfp4"}, "int8": {"int8"},
}  # fmt: skip
"""Scheme → tensor-core formats that multiply it as it is; 4-bit integers are always unpacked."""


def _tensor_formats(rig: Rig, name: str, facts: CheckContext) -> set[str]:
    """Formats that every card of a service multiplies natively."""
    cards = [facts.gpu(rig, ref) for ref in rig.services[name].gpus]
    known = [set(card.formats) for card in cards if card is not None]
    return set.intersection(*known) if known else set()
