"""What an engine refuses by shape and card alone, before any memory is counted.

Rules of vLLM 0.33 and their printed messages; SGLang shares the divisibility rules. Each refusal
carries the arithmetic. Cards, cache types and weight formats: `catalog/data/engine_support.yaml`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.engine_support import Kind, Support, support
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Compressed, Delta, Latent, Mamba
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.as_loaded import lacks_half
from rigspec.sizing.cache_type import engine_s_word
from rigspec.sizing.cards import Card
from rigspec.sizing.refusal import Refusal
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.shards import cut_block, cut_group, cut_narrow

_VOCAB_PAD = 64
CUT_EXPERTS = ("fp8-block", "expert-groups")
"""Rules of shards that whole experts do not break."""
HALF_ONLY = ("awq", "gptq")
"""Methods of which vLLM takes float16, or bfloat16 in Marlin's kernels from 8.0 on
(`get_supported_act_dtypes`)."""
CARD, ATTENTION = "card", "attention"
"""Rules that have complaints of their own in `rigspec/rules/refused.py`."""


def refusals(facts: ModelFacts, settings: EngineSettings, card: Card) -> tuple[Refusal, ...]:
    """Every rule the settings break, and what is no answer though the engine starts."""
    if settings.engine is Engine.LLAMA_CPP:  # it has no shards
        return tuple(_context(facts, settings))
    found: list[Refusal] = []
    for rule in RULES:
        found += rule(facts, settings)
    return (*_support(facts, settings, card), *found, *cut_block(facts, settings, card))


def _attention_tp(settings: EngineSettings) -> str:
    """TP as attention sees it: SGLang's copies of it share the ranks."""
    ranks, tp = settings.attention_ranks, settings.tensor_parallel
    return f"TP {tp}" if ranks == tp else f"attention TP {ranks}"


def _heads(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    ranks, tp = settings.attention_ranks, _attention_tp(settings)
    for layer in facts.unlike:
        mixer = layer.mixer
        if isinstance(mixer, Attention | Latent | Compressed) and mixer.heads % ranks:
            yield Refusal("heads", f"{mixer.heads} attention heads do not divide by {tp}")
            return
        if isinstance(mixer, Attention) and mixer.kv_heads:
            kv = mixer.kv_heads
            if (kv >= ranks and kv % ranks) or (kv < ranks and ranks % kv):
                yield Refusal("kv-heads", f"{kv} key/value heads and {tp} do not divide")
                return


def _vocabulary(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    ranks = settings.tensor_parallel
    padded = math.ceil(facts.vocab / _VOCAB_PAD) * _VOCAB_PAD
    if padded % ranks:
        yield Refusal("vocabulary", f"vocabulary {padded} does not divide by TP {ranks}")


def _states(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    ranks, tp = settings.attention_ranks, _attention_tp(settings)
    for layer in facts.unlike:
        mixer = layer.mixer
        if isinstance(mixer, Delta) and (mixer.key_heads % ranks or mixer.value_heads % ranks):
            heads = f"{mixer.key_heads}/{mixer.value_heads}"
            yield Refusal("state-heads", f"{heads} linear-attention heads and {tp}")
            return
        if isinstance(mixer, Mamba) and mixer.heads % ranks:
            yield Refusal("state-heads", f"{mixer.heads} Mamba heads do not divide by {tp}")
            return


def _context(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    if is_beyond(facts, settings):
        beyond = f"context {settings.context} is above the model's maximum {facts.max_positions}"
        starts = settings.engine is Engine.LLAMA_CPP  # the others end at once
        others = "; answers beyond it are nonsense" if starts else ""
        yield Refusal("context", beyond + others)


def is_beyond(facts: ModelFacts, settings: EngineSettings) -> bool:
    """Whether the context asked for is longer than the model's own, and nothing stretches it."""
    asked, limit = settings.context, facts.max_positions
    return bool(asked and limit and asked > limit and not settings.stretched)


def _decode_context(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    ranks, dcp = settings.tensor_parallel, settings.decode_context_parallel
    if dcp > 1 and ranks % dcp:
        yield Refusal("dcp", f"TP {ranks} does not divide by DCP {dcp}")
    elif dcp > 1 and not facts.is_latent and facts.kv_heads * dcp > ranks:
        yield Refusal(
            "dcp",
            f"DCP {dcp} needs TP ≥ {facts.kv_heads * dcp} with {facts.kv_heads} key/value heads",
        )


def decode_context_sizes(
    facts: ModelFacts, settings: EngineSettings, card: Card
) -> tuple[int, ...]:
    """Sizes of decode context parallel that break no rule of theirs at this TP; 1 is none."""
    ranks = settings.tensor_parallel
    return tuple(
        size
        for size in range(1, ranks + 1)
        if ranks % size == 0
        and not any(_decode_context(facts, replace(settings, decode_context_parallel=size)))
    )


def _stages(facts: ModelFacts, settings: EngineSettings) -> Iterator[Refusal]:
    if len(facts.layers) < settings.pipeline_parallel:
        yield Refusal("stages", f"{len(facts.layers)} layers over PP {settings.pipeline_parallel}")


RULES = (_heads, _vocabulary, _states, cut_group, cut_narrow, _context, _decode_context, _stages)


def _support(facts: ModelFacts, settings: EngineSettings, card: Card) -> Iterator[Refusal]:
    """What the engine's own builds have no kernels for; somebody else's build may have them."""
    taken = support(settings.engine.value)
    if taken is None or settings.patched or card.compute is None:
        return
    built = taken.least_card(settings.version)
    who, told = settings.engine.label, settings.version is not None or settings.beyond_known
    if card.compute < built.least:
        sure = told or not taken.held(card.compute)
        yield Refusal(CARD, built.refusal(who, card.name, card.compute), sure)
        return
    cache = engine_s_word(facts, settings)
    row = taken.refused_attention(
        cache,
        attention_kind(facts),
        facts.quantization.method,
        card.compute,
        settings.version,
    )
    if row is not None:
        said = row.refusal(who, cache, card.name, card.compute)
        yield Refusal(ATTENTION, said, told or row.versions.every)
    method = facts.quantization.method
    if settings.engine is Engine.VLLM and method in HALF_ONLY and lacks_half(facts, card):
        yield Refusal(
            "compute-capability",
            f"vLLM multiplies {method.upper()} weights in float16, which `{facts.model_type}` does "
            f"not bear, and {card.name} has no bfloat16",
        )
    yield from _format(taken, facts, card)


def _format(taken: Support, facts: ModelFacts, card: Card) -> Iterator[Refusal]:
    weights = facts.quantization
    if weights.at_load and weights.scheme is Scheme.MXFP4:
        return  # the row is of files that hold it; nobody tried older cards with what vLLM makes
    least = taken.least_format(weights.scheme.value, weights.method)
    if least and card.compute and card.compute < least:
        yield Refusal(
            "compute-capability",
            f"{weights.label or weights.scheme.value} weights need compute capability "
            f"{least[0]}.{least[1]}, {card.name} has {card.compute[0]}.{card.compute[1]}",
        )


def attention_kind(facts: ModelFacts) -> Kind | None:
    """The attention of a model as `engine_support` names it; None where it is not understood."""
    mixers = [layer.mixer for layer in facts.unlike]
    latent = [mixer for mixer in mixers if isinstance(mixer, Latent)]
    if any(isinstance(mixer, Compressed) for mixer in mixers):
        return "compressed"
    if not facts.known:
        return None
    if latent:
        return "sparse" if any(mixer.index_topk for mixer in latent) else "latent"
    return "plain"
