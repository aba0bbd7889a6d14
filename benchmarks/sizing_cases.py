"""One published run as the estimates take it: facts, card and settings out of a case's free text.

Measured figures are kept apart under `measured`; nothing here reads them, except that a printed
total of the card (`gpu_total_gib`, an input of the boot) is taken where a case states it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.sizing_gpus import NamedCards, cards_named
from benchmarks.sizing_words import speculation_of, tokens_of, version_of
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_parts import Vision
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.model_sizes import SizeTable
from rigspec.catalog.model_words import Words, apply_words, gguf_words, scheme_words
from rigspec.catalog.models import load_model_facts
from rigspec.sizing.amount import Amount, about, exact
from rigspec.sizing.cards import Card, visible_gib
from rigspec.sizing.matrices import matrices, stored_bytes
from rigspec.sizing.settings import Engine, EngineSettings


@dataclass(frozen=True)
class Case:
    """One run: what was known before it, and what was measured."""

    id: str
    source: str
    arch: str
    engine: Engine
    settings: EngineSettings
    facts: ModelFacts | None
    no_facts: str
    cards: tuple[Card, ...]
    no_card: str
    measured: Mapping[str, object]
    stated: Keys
    kind: str

    @property
    def card(self) -> Card | None:
        """The smallest card of the group: the one that rules."""
        return min(self.cards, key=lambda card: card.total.value) if self.cards else None


@dataclass(frozen=True)
class Models:
    """Where configs are looked for, and the sizes beside them."""

    folder: Path
    sizes: SizeTable


def case_of(raw: Mapping[str, object], models: Models, order: int) -> Case:
    """A case of the file; missing and null keys become None."""
    keys = Keys((raw,))
    engine = _engine(keys)
    named = cards_named(keys.text("gpu"))
    facts, reason = _facts(keys, models, named)
    settings = _settings(keys, engine, facts)
    cards = _cards(keys, named)
    return Case(
        id=str(raw.get("id") or f"case-{order}"),
        source=json.dumps(_source(raw.get("source")), sort_keys=True, default=str),
        arch=keys.text("arch") or "unknown",
        engine=engine,
        settings=settings,
        facts=facts,
        no_facts=reason,
        cards=cards,
        no_card=f"the card `{keys.text('gpu') or 'not named'}` is not in the catalogue",
        measured=keys.mapping("measured"),
        stated=keys,
        kind=keys.text("kind") or "",
    )


def _source(value: object) -> object:
    """What makes rows siblings: repository and file, page or index entry, not the section."""
    if not isinstance(value, Mapping):
        return value
    return {key: value[key] for key in ("repo", "file", "url", "file_index_id") if key in value}


def _engine(keys: Keys) -> Engine:
    text = (keys.text("engine_family", "engine") or "").lower()
    if "sglang" in text:
        return Engine.SGLANG
    return Engine.LLAMA_CPP if "llama" in text else Engine.VLLM


def _facts(keys: Keys, models: Models, named: NamedCards) -> tuple[ModelFacts | None, str]:
    name, stem = keys.text("model") or "", (keys.text("config") or "").removesuffix(".json")
    tried = [text for text in (stem.replace("__", "/"), name) if text]
    facts = None
    for candidate in tried:
        try:
            facts = load_model_facts(candidate, [models.folder])
        except (ValueError, OSError) as broken:
            return None, f"the config of {candidate} cannot be read: {broken}"
        if facts is not None:
            break
    if facts is None:
        where = f"config `{stem}.json`" if stem else "no config"
        return None, f"{where} for model `{name or 'not named'}` that states its dimensions"
    facts = replace(facts, name=name or facts.name)
    return _as_run(facts, keys, models, named), ""


def _as_run(facts: ModelFacts, keys: Keys, models: Models, named: NamedCards) -> ModelFacts:
    """The facts of the checkpoint that ran: its quantization and its sizes."""
    words = _words(keys)
    if words is not None and words.dtype_bytes:
        facts = replace(facts, dtype_bytes=words.dtype_bytes)
    if words is None and _cannot_be_plain(facts, keys, named):
        words = Words(Scheme.INT4)
    if words is not None:
        quantization = apply_words(
            facts.quantization,
            words,
            keys.text("quantization") or "",
            has_experts=facts.has_experts,
            has_states=facts.has_states,
        )
        facts = replace(facts, quantization=quantization)
    row = models.sizes.find(facts.name)
    if row is not None and _belongs(facts, row[1]):
        facts = replace(facts, sizes=row[1])
    return _with_remarks(facts, keys)


def _cannot_be_plain(facts: ModelFacts, keys: Keys, named: NamedCards) -> bool:
    """No quantization is named, and the unquantized weights exceed all cards together."""
    if facts.quantization.scheme is not Scheme.PLAIN or not named.gpus:
        return False
    gpus = max(keys.whole("gpu_count") or 1, len(named.gpus))
    room = gpus * max(gpu.memory_mib for gpu in named.gpus) * 2**20
    return sum(stored_bytes(facts, matrix) for matrix in matrices(facts)) > 0.9 * room


def _belongs(facts: ModelFacts, sizes: ExactSizes) -> bool:
    """Whether a size can be that of the checkpoint that ran.

    A run that quantizes at load, or a sibling in another format, is far from its namesake's bytes.
    """
    if facts.quantization.scheme is Scheme.GGUF:
        return False
    formula = sum(stored_bytes(facts, matrix) for matrix in matrices(facts))
    copy = facts.vocab * facts.hidden * facts.dtype_bytes if facts.tied else 0
    return 0.7 * formula < sizes.total_bytes < 1.6 * (formula + copy)


def _with_remarks(facts: ModelFacts, keys: Keys) -> ModelFacts:
    """Doubts that the case itself states about its config."""
    note = (keys.text("config_note") or "").lower()
    if "pruned" in note:
        remark = "experts were pruned from this checkpoint"
        facts = replace(facts, doubts=(*facts.doubts, remark), weights_doubt=0.4)
    if "vlm" in (keys.text("arch_note") or "") and facts.vision is None:
        tower = Vision(elements=400_000_000, replicated=False, stated=False)
        facts = replace(facts, vision=tower)
    return facts


def _words(keys: Keys) -> Words | None:
    """The quantization a case names, in the text nearest to the checkpoint."""
    stated = keys.text("quantization") or ""
    compose = re.sub(
        r"(?i)(int8|fp8)(?!\s*wts)[-_ ]*(per|pth|mtp|kv|\.yml|e[45]m)?",
        " ",
        keys.text("compose") or "",
    )
    texts = (stated, keys.text("model") or "", compose)
    wants_gguf = "llama" in (keys.text("engine_family") or "").lower()
    for text in texts:
        found = gguf_words(text) if wants_gguf or "gguf" in text.lower() else None
        found = found or (scheme_words(text) if not wants_gguf else None)
        if found is not None:
            return found
    return Words(Scheme.GGUF, bits=4.9) if wants_gguf else None


def _cards(keys: Keys, named: NamedCards) -> tuple[Card, ...]:
    total, free = keys.number("gpu_total_gib"), keys.number("gpu_free_gib")
    bridged = _says_nvlink(keys)
    if named.gpus:
        return tuple(
            Card(
                name=gpu.name,
                total=exact(total) if total else visible_gib(gpu.memory_mib),
                bandwidth_gb_s=gpu.bandwidth_gb_s,
                compute=gpu.compute,
                nvlink=gpu.switched or bridged,
                peer_access=gpu.peer_access,
                free_gib=free,
                power_limit_w=named.cap_w,
                power_default_w=gpu.power_default_w,
                unified=gpu.compute in ((11, 0), (12, 1)),
            )
            for gpu in named.gpus
        )
    name = keys.text("gpu") or "not named"
    if total:
        return (Card(name, exact(total), None, None, free_gib=free),)
    if named.memory_gb:
        return (Card(name, _unnamed_total(name, named.memory_gb), None, None),)
    return ()


def _says_nvlink(keys: Keys) -> bool:
    texts = (keys.text("gpu"), keys.text("interconnect"), keys.text("compose"), keys.text("rig"))
    text = " ".join(filter(None, texts)).lower()
    return "nvlink" in text and "no nvlink" not in text


def _unnamed_total(name: str, memory_gb: float) -> Amount:
    """GiB CUDA sees on a card known only by its size; unified memory keeps 5 % for the host."""
    share = 0.955 if "unified" in name.lower() else 0.985
    return about(memory_gb * share, 0.02 * memory_gb)


def _settings(keys: Keys, engine: Engine, facts: ModelFacts | None) -> EngineSettings:
    speculative = speculation_of(keys.text("speculative"), keys.text("compose"))
    prefix = keys.flag("enable_prefix_caching")
    split = (keys.text("split_mode") or "layer").lower()
    gpus = keys.whole("gpu_count") or 1
    ranks = keys.whole("tp") or (gpus if engine is Engine.LLAMA_CPP else 1)
    return EngineSettings(
        engine=engine,
        version=version_of(keys.text("engine_version"), keys.text("date"))
        if engine is Engine.VLLM
        else None,
        tensor_parallel=max(1, ranks),
        pipeline_parallel=max(1, keys.whole("pp") or 1),
        decode_context_parallel=max(1, keys.whole("dcp") or 1),
        data_parallel=max(1, keys.whole("dp") or 1),
        expert_parallel=keys.flag("ep") is True or (keys.whole("ep") or 1) > 1,
        memory_fraction=keys.number("gpu_memory_utilization", "mem_fraction_static"),
        context=tokens_of(keys.number("max_model_len") or keys.text("max_model_len")),
        max_seqs=keys.whole("max_num_seqs"),
        max_batched_tokens=keys.whole("max_num_batched_tokens"),
        max_graph_size=keys.whole("max_cudagraph_capture_size"),
        eager=keys.flag("enforce_eager") is True,
        kv_dtype=keys.text("kv_cache_dtype") or "auto",
        block_size=keys.whole("block_size"),
        prefix_caching=prefix is not False,
        language_only=keys.flag("language_model_only") is True,
        speculative=speculative,
        split="tensor" if split == "tensor" else "row" if split == "row" else "layer",
        parallel=keys.whole("n_seq_max", "parallel") or 1,
        batch=keys.whole("n_batch") or 2048,
        ubatch=keys.whole("n_ubatch") or 512,
        flash_attention=keys.flag("flash_attn") is not False,
        experts_on_cpu=keys.flag("cpu_offload") is True,
    )


def sized(facts: ModelFacts, sizes: ExactSizes) -> ModelFacts:
    """The facts with sizes somebody read."""
    return replace(facts, sizes=sizes)
