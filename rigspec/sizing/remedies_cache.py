"""Ways out that lie in the cache: its size where that is stated, its type, its copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.gpus import BFLOAT16_SINCE
from rigspec.sizing.accepted import ATTENTION, refusals
from rigspec.sizing.records import kv_kind
from rigspec.sizing.remedy import Case, Remedy, surest, tried
from rigspec.sizing.settings import Engine
from rigspec.sizing.sglang_states import HELD_AHEAD
from rigspec.sizing.verdict import beside_all
from rigspec.units import GIB, MIB

NO_BYTES = "no `--kv-cache-memory-bytes`"
SHARED_SINCE = (0, 11)
"""Earlier releases have no decode context parallel, or not for every latent attention."""


def other_cache(case: Case) -> Iterator[Remedy]:
    """vLLM's own size of the cache in place of a stated one; else a larger one."""
    if case.settings.kv_bytes is None or case.settings.engine is not Engine.VLLM:
        return
    own = replace(case.settings, kv_bytes=None)
    found = list(tried("vLLM's own cache size", NO_BYTES, case, own))
    yield from found or _larger_cache(case)


def _larger_cache(case: Case) -> Iterator[Remedy]:
    """All that is surely free of the card beside everything else: no share bounds a stated size."""
    used = tuple(term.amount for term in case.before.terms[:-1])
    others = (1 - min(1.0, case.spare_share)) * case.card.total.value
    free = beside_all(case.card, case.settings, used).low - others
    size = max(0, int(free * GIB) // MIB * MIB)
    changed = replace(case.settings, kv_bytes=size)
    yield from tried("larger cache", f"--kv-cache-memory-bytes {size}", case, changed)


def cache_type(case: Case) -> Iterator[Remedy]:
    """Another type than one that is refused; else a cache of 8 bits."""
    if any(refusal.rule == ATTENTION for refusal in refusals(case.facts, case.settings, case.card)):
        yield from surest(_taken_types(case))
        return
    for word in narrower(case):
        changed = replace(case.settings, kv_dtype=word)
        yield from tried("kv dtype", f"kv_cache_dtype: {word}", case, changed)


def _taken_types(case: Case) -> Iterator[Remedy]:
    """The model's own type, 16 bits where the checkpoint asks for what is refused, then 8 bits."""
    own = replace(case, settings=replace(case.settings, kv_dtype="auto"))
    old = (case.card.compute or BFLOAT16_SINCE) < BFLOAT16_SINCE
    for word in ("auto", "float16" if old else "bfloat16", *narrower(own)):
        write = "no `kv_cache_dtype`" if word == "auto" else f"kv_cache_dtype: {word}"
        changed = replace(case.settings, kv_dtype=word)
        yield from tried("another cache type", write, case, changed)


def narrower(case: Case) -> tuple[str, ...]:
    """A type of 8 bits, where the cache is wider and the card takes one, as the engine calls it:
    SGLang has no `fp8`, and Triton no e4m3 before Ada."""
    if kv_kind(case.facts, case.settings) not in ("bf16", "fp32"):
        return ()
    compute = case.card.compute
    if compute is not None and compute < (8, 0):
        return ()
    if case.settings.engine is not Engine.SGLANG:
        return ("fp8",)
    return ("fp8_e5m2",) if compute and compute < (8, 9) else ("fp8_e4m3",)


RUNNING = (8, 4, 2, 1)
"""Requests whose recurrent states SGLang may be told to hold, and no more."""


def fewer_states(case: Case) -> Iterator[Remedy]:
    """SGLang's states of a few requests, in place of a share of the pool, or its own where too few
    are stated."""
    settings = case.settings
    if settings.engine is Engine.SGLANG and case.facts.has_states:
        own = replace(settings, state_slots=None)
        if settings.state_slots is not None:
            yield from tried("SGLang's own states", "no `--max-mamba-cache-size`", case, own)
        yield from surest(_fewer_states(case))


def _fewer_states(case: Case) -> Iterator[Remedy]:
    for running in RUNNING:
        if running <= (case.settings.max_seqs or running):
            slots = running * HELD_AHEAD
            changed = replace(case.settings, state_slots=slots)
            more = slots > (case.settings.state_slots or slots)
            name = "more states" if more else "fewer states"
            yield from tried(name, f"`--max-mamba-cache-size {slots}`", case, changed)


def shared_cache(case: Case) -> Iterator[Remedy]:
    """Latent attention keeps a whole cache on every rank; decode context parallel cuts it."""
    facts, settings = case.facts, case.settings
    latent = facts.is_latent and not facts.has_states and settings.engine is Engine.VLLM
    if not latent or (settings.version or SHARED_SINCE) < SHARED_SINCE:
        return
    for size in range(settings.decode_context_parallel + 1, settings.tensor_parallel + 1):
        if settings.tensor_parallel % size == 0:
            write = f"decode_context_parallel_size: {size}"
            changed = replace(settings, decode_context_parallel=size)
            found = list(tried("shared cache", write, case, changed))
            if found:
                yield found[0]
                return
