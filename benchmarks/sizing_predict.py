"""The estimates for one case, quantity by quantity; a refusal always says why."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from benchmarks.sizing_cases import Case
from benchmarks.sizing_known import Unknown, card_of, facts_of
from benchmarks.sizing_models import UNREAD_TOWER
from benchmarks.sizing_outcomes import accepted_measured, fits_measured
from benchmarks.sizing_rates import decode, prompt_rate
from rigspec.catalog.flag_table import is_release
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_parts import Latent
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing import memory, vllm
from rigspec.sizing.accepted import refusals
from rigspec.sizing.amount import Amount, about, exact
from rigspec.sizing.cards import Card
from rigspec.sizing.group import each_card, tightest
from rigspec.sizing.kvcache import NEW_TOKEN_LINE, PoolShape, pool_shape
from rigspec.sizing.llamacpp import CACHE_BYTES, cache_widths
from rigspec.sizing.settings import Engine
from rigspec.sizing.state_room import state_doubt
from rigspec.sizing.verdict import Verdict
from rigspec.sizing.weights import rank_weights

Figure = float | str


@dataclass(frozen=True)
class Row:
    """One prediction beside what was measured."""

    id: str
    source: str
    quantity: str
    engine: str
    arch: str
    predicted: Figure
    low: Figure
    high: Figure
    measured: Figure
    unit: str
    sized: bool
    """Whether the checkpoint's bytes were at hand: headers, an index, a published size."""
    experts: bool


@dataclass(frozen=True)
class Declined:
    """One quantity of one case without a prediction, and why."""

    id: str
    quantity: str
    reason: str
    has_facts: bool = False
    """Whether the case carries a config or sizes."""


def predictions(case: Case) -> Iterator[Row | Declined]:
    """Every quantity the case has a measured figure for."""
    for quantity, unit, measured, predict in _asked(case):
        try:
            value = predict(case)
        except Unknown as why:
            yield Declined(case.id, quantity, str(why), case.facts is not None)
            continue
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as broken:
            reason = f"the estimate failed on this config: {broken!r}"
            yield Declined(case.id, quantity, reason, case.facts is not None)
            continue
        yield _row(case, quantity, unit, measured, value)


def _row(case: Case, quantity: str, unit: str, measured: Figure, value: Amount | str) -> Row:
    middle, low, high = (
        (value, value, value) if isinstance(value, str) else (value.value, value.low, value.high)
    )
    facts = case.facts
    return Row(
        case.id, case.source, quantity, case.engine.value, case.arch, middle, low, high, measured,
        unit, bool(facts and facts.sizes), bool(facts and facts.has_experts),
    )  # fmt: skip


Ask = tuple[str, str, Figure, Callable[[Case], Amount | str]]


def _asked(case: Case) -> Iterator[Ask]:
    found = Keys((case.measured,))
    weights = found.number("weights_gib_per_gpu")
    if weights is not None:
        yield "weights_gib_per_gpu", "GiB", weights, predict_weights
    available = found.number("available_kv_gib")
    if available is not None:
        yield "available_kv_gib", "GiB", available, predict_available
    tokens = found.number("kv_cache_tokens")
    if tokens is not None:
        if available is not None:
            yield "kv_cache_tokens", "tokens", tokens, predict_tokens
        yield "kv_cache_tokens_from_spec", "tokens", tokens, predict_tokens_from_spec
    outcome = fits_measured(case)
    if outcome is not None:
        yield "fits", "yes/no", outcome, predict_fits
    accepted = accepted_measured(case)
    if accepted is not None:
        yield "accepted", "yes/no", accepted, predict_accepted
    yield from _speeds(case, found)


def _speeds(case: Case, found: Keys) -> Iterator[Ask]:
    seen: set[str] = set()
    for entry in _entries(found.items("decode")):
        rate, streams = entry.number("tok_s"), entry.whole("concurrency") or 1
        context = entry.whole("context")
        if rate is None or rate <= 0:
            continue
        single = "decode_tok_s_spec" if case.settings.speculative else "decode_tok_s"
        quantity = single if streams == 1 else f"decode_tok_s@{streams}"
        if quantity not in seen:
            seen.add(quantity)
            yield quantity, "tok/s", rate, decode(streams, context)
    for entry in _entries(found.items("prefill")):
        rate, prompt = entry.number("tok_s"), entry.whole("prompt_tokens") or 8000
        if rate is not None and rate > 0 and "prefill" not in seen:
            seen.add("prefill")
            yield "prefill_tok_s", "tok/s", rate, prompt_rate(prompt)


def _entries(items: tuple[object, ...]) -> list[Keys]:
    return [Keys((item,)) for item in items if isinstance(item, Mapping)]


def predict_weights(case: Case) -> Amount:
    """GiB of weights on the fullest GPU."""
    if case.unplaced:
        raise Unknown("a part lies in host memory, and nobody says which")
    facts, settings = facts_of(case), case.settings
    if settings.engine is Engine.LLAMA_CPP and settings.tensor_parallel > 1 and case.cards:
        parts = each_card(facts, _all_cards(case), settings)  # whole layers: no two hold the same
        return max((found.weights for found, _ in parts), key=lambda weights: weights.value)
    return rank_weights(facts, settings).amount


def _all_cards(case: Case) -> tuple[Card, ...]:
    """A card for each rank: those named, or as many of the one."""
    ranks = case.settings.tensor_parallel
    return case.cards if len(case.cards) >= ranks else (card_of(case),) * ranks


def predict_available(case: Case) -> Amount:
    """GiB left for the cache, from the settings alone."""
    facts, pool = facts_of(case), _pool(case)
    if case.engine is not Engine.SGLANG or not facts.has_states:
        return pool
    return state_doubt(facts, case.settings, pool, told=False)


def _pool(case: Case) -> Amount:
    """GiB left for the cache and the recurrent states that lie beside it."""
    facts, card = _whole_facts_of(case), card_of(case)
    if card.total.high > 1.25 * card.total.low:
        room = f"{card.total.low:.0f} to {card.total.high:.0f} GiB"
        raise Unknown(f"nothing states how much of the card there is: {room}")
    found = memory.estimate(facts, card, case.settings).available
    if case.engine is Engine.VLLM and case.settings.max_seqs is None:
        few = memory.estimate(facts, card, replace(case.settings, max_seqs=OPEN_SEQS)).available
        found = replace(found, high=max(found.high, few.value))
    if not _leaves_fraction_open(case):
        return found
    least, most = (
        memory.estimate(facts, card, replace(case.settings, memory_fraction=share)).available
        for share in OPEN_FRACTION
    )
    return Amount(found.value, min(found.low, least.low), max(found.high, most.high))


OPEN_SEQS = 32
"""`--max-num-seqs` of many published commands; a run that states none may have set one, and a large
card's own 1,024 take gigabytes of a sampler's step."""
OPEN_FRACTION = (0.85, 0.95)
"""`--gpu-memory-utilization` of published commands; a run that states none may have set one."""


FLASH_BUILD = 6325
"""Of llama.cpp: from it on flash attention is on where it can be, before it was off."""


def _leaves_attention_open(case: Case) -> bool:
    """Whether llama.cpp may have held every score of a batch: nobody says, and the build may be
    old; a cache in few bits needs flash attention."""
    build = re.search(r"\bb?(\d{4,5})\b", case.stated.text("engine_version") or "")
    old = build is None or int(build[1]) < FLASH_BUILD
    plain = min(cache_widths(case.settings.kv_dtype)) >= 2.0
    unsaid = case.stated.flag("flash_attn") is None
    return case.engine is Engine.LLAMA_CPP and old and plain and unsaid


NARROWEST = "q4_0"
_PLAIN_CACHE = re.compile(r"auto|f16|f32|fp16|bf16|16.?bit", re.IGNORECASE)


def _is_foreign(kv_dtype: str) -> bool:
    """Whether the cache is of a type that llama.cpp itself does not have, and a fork packs; the
    rest of the text may speak of others."""
    first = kv_dtype.lower().strip().partition(" ")[0]
    known = any(word in first for word in CACHE_BYTES)
    return bool(first) and not known and _PLAIN_CACHE.match(first) is None


def _leaves_fraction_open(case: Case) -> bool:
    return case.settings.engine is Engine.VLLM and case.settings.memory_fraction is None


def predict_tokens(case: Case) -> Amount:
    """Tokens of the pool from the printed GiB, which is rounded to two decimals; SGLang rounds keys
    and values each, and its pool holds a page more than it says, in whole pages."""
    facts = facts_of(case)
    printed = Keys((case.measured,)).number("available_kv_gib") or 0.0
    if case.engine is Engine.SGLANG:  # it prints the target's cache; drafts and states have others
        alone = replace(case.settings, speculative=None, state_ratio=0.0)
        case = replace(case, settings=alone)
    shape = _shape(case, facts)
    if _says_either(case, shape):
        raise Unknown(_two_lines(case, facts, shape, printed))
    rounded = 0.01 if case.engine is Engine.SGLANG else 0.005
    found = _tokens(case, facts, about(printed, rounded))
    if case.engine is Engine.SGLANG:
        found = replace(found, low=found.low - LARGEST_PAGE)
    if facts.has_states and found.high > OPEN_TOKENS * max(1.0, found.low):
        raise Unknown(
            "the run leaves open what a pool of recurrent states depends on (context, type of the "
            f"cache, drafts, prefix caching, layout): {found.low:,.0f} to {found.high:,.0f} tokens"
        )
    return found


LARGEST_PAGE = 64
"""Tokens of SGLang's usual pages at most (`page_size`: 1, or 64 with TensorRT-LLM's kernels)."""
OPEN_TOKENS = 1.1
"""A pool with recurrent states whose tokens are open by more is another question's answer: pages
take the size of a state, so an unstated type of the cache moves everything."""


def _says_either(case: Case, shape: PoolShape) -> bool:
    """Whether the printed tokens mean one thing in older releases of vLLM and another since, and
    the version, or the month that stands for it, is not told closely enough."""
    told = case.settings.version
    open_line = told is None or told == NEW_TOKEN_LINE[:2]
    return case.engine is Engine.VLLM and open_line and shape.mixed


def _two_lines(case: Case, facts: ModelFacts, shape: PoolShape, pool_gib: float) -> str:
    """Why the printed figure cannot be told: what it means depends on the version."""
    context = memory.asked_context(facts, case.settings)
    shapes = (replace(shape, new_token_line=line) for line in (False, True))
    older, newer = (
        memory.tokens_of(facts, case.settings, one, context, pool_gib) for one in shapes
    )
    return (
        f"the version is not stated closely enough: vLLM before "
        f"{'.'.join(map(str, NEW_TOKEN_LINE))} prints "
        f"{older:,} tokens for this pool, later ones {newer:,}"
    )


FORK_KEEPS = 0.7
"""Of a pool, at least, as a fork may keep buffers that nobody here knows of: Kimi-K2.6 with drafts
on 4 and 8 ranks of a context had 0.63 and 0.48 of what the release leaves, in five boots of one."""


def predict_tokens_from_spec(case: Case) -> Amount:
    """Tokens of the pool from the settings alone."""
    facts = facts_of(case)
    pool = _tokens(case, facts, _pool(case))
    found = state_doubt(facts, case.settings, pool, told=_tells_pages(case))
    shape = _shape(case, facts)
    if case.settings.patched:
        found = replace(found, low=found.low * FORK_KEEPS)
    if case.engine is Engine.SGLANG and shape.mixed:  # window and state pools are seldom told whole
        return replace(found, low=found.low / shape.groups)
    return found


def _tells_pages(case: Case) -> bool:
    """Whether all is stated that the pages of a request with recurrent states hang on."""
    stated = (case.stated.flag("enable_prefix_caching"), case.stated.text("kv_cache_dtype"))
    told = (*stated, case.settings.version, case.settings.context)
    return all(value is not None for value in told)


def _caching(case: Case, *, prefixes: bool) -> Case:
    return replace(case, settings=replace(case.settings, prefix_caching=prefixes))


def _tokens(case: Case, facts: ModelFacts, pool: Amount) -> Amount:
    settings, card, shape = case.settings, case.card, _shape(case, facts)
    gap = vllm.last_stage_gap(facts, settings, card) if card else 0.0
    context = memory.asked_context(facts, settings)
    value, low, high = (
        float(memory.tokens_of(facts, settings, shape, context, gib - gap))
        for gib in (pool.value, pool.low, pool.high)
    )
    if facts.has_states and case.stated.flag("enable_prefix_caching") is None:
        # nobody says whether prefixes are cached; with them a request holds one page more
        cached, uncached = (
            replace(shape, state_pages=_shape(with_it, facts).state_pages)
            for with_it in (_caching(case, prefixes=True), _caching(case, prefixes=False))
        )
        low = min(low, memory.tokens_of(facts, settings, cached, context, pool.low - gap))
        high = max(high, memory.tokens_of(facts, settings, uncached, context, pool.high - gap))
    if shape.mixed and settings.context is None:  # states and windows weigh more on a short request
        low = min(
            low, memory.tokens_of(facts, settings, shape, memory.SHORT_CONTEXT, pool.low - gap)
        )
    return _in_doubt(case, facts, shape, Amount(value, low, high))


def _shape(case: Case, facts: ModelFacts) -> PoolShape:
    settings = case.settings
    if settings.engine is Engine.LLAMA_CPP:
        raise Unknown("llama.cpp sizes its cache from the context, not from what is left")
    usual = vllm.batch_of(facts, settings, case.card).tokens if case.card else 8192
    shape = pool_shape(facts, settings, batch_tokens=settings.max_batched_tokens or usual)
    if shape is None:
        raise Unknown("the cache layout of this architecture changes between engine releases")
    return shape


def _in_doubt(case: Case, facts: ModelFacts, shape: PoolShape, tokens: Amount) -> Amount:
    """The band widened for an unknown layout, an unknown print convention, an unstated depth."""
    low, high = tokens.low, tokens.high
    if facts.doubts:
        low, high = low * 0.7, high * 1.3
    if _says_either(case, shape):
        low, high = (
            (low / shape.groups, high) if shape.new_token_line else (low, high * shape.groups)
        )
    if case.stated.text("kv_cache_dtype") is None and _may_cache_eight_bits(case, facts):
        high *= 2
    speculative = case.settings.speculative
    if facts.has_states and speculative is not None and speculative.tokens is None:
        low, high = low * 0.7, high * 1.4
    return Amount(tokens.value, low, high)


def _may_cache_eight_bits(case: Case, facts: ModelFacts) -> bool:
    """Whether an unstated cache type may be fp8: a checkpoint in 4-bit floats may ask for it, and
    pools beside recurrent states are seldom told whole where more than a bare release is named (of
    16 beside a bare one 14 had the model's own); five pools of sparse attention in SGLang on H200
    had it, of which none was told.
    """
    loose = facts.has_states and not is_release(case.stated.text("engine_version") or "")
    floats = facts.quantization.scheme is Scheme.NVFP4
    sparse = any(isinstance(each.mixer, Latent) and each.mixer.index_topk for each in facts.layers)
    return not facts.quantization.kv_fp8 and (floats or sparse or loose)


def _whole_facts_of(case: Case) -> ModelFacts:
    """The facts, where they describe all that the step holds."""
    facts = facts_of(case)
    if UNREAD_TOWER in facts.doubts and not case.settings.language_only:
        raise Unknown(UNREAD_TOWER)
    return facts


def predict_fits(case: Case) -> str:
    """Whether the engine starts with one request of full length."""
    if case.unplaced:
        raise Unknown("a part lies in host memory, and nobody says which")
    facts, settings = _whole_facts_of(case), case.settings
    asked = [settings]
    if _leaves_fraction_open(case):
        asked += [replace(settings, memory_fraction=share) for share in OPEN_FRACTION]
    if _leaves_attention_open(case):
        asked.append(replace(settings, flash_attention=False))
    if settings.engine is Engine.LLAMA_CPP and _is_foreign(settings.kv_dtype):
        asked.append(replace(settings, kv_dtype=NARROWEST))
    found = {tightest(facts, _all_cards(case), each)[0].boots for each in asked}
    if len(found) > 1 or (settings.patched and Verdict.YES in found):
        return Verdict.CLOSE.value  # a fork may keep tables that nobody here knows of
    return found.pop().value


def predict_accepted(case: Case) -> str:
    """Whether the engine takes the shape of the request."""
    facts = facts_of(case)
    card = case.card or Card("not named", exact(80.0), None, None)
    found = refusals(facts, case.settings, card)
    if found and {one.rule for one in found} == {"context"} and case.stated.text("config_note"):
        raise Unknown("the config is a sibling's, whose longest context may be another")
    return "no" if found else "yes"
