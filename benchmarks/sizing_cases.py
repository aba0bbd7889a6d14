"""One published run as the estimates take it: facts, card and settings out of a case's free text.

Measured figures are kept apart under `measured`; nothing here reads them, except that a printed
total of the card (`gpu_total_gib`, an input of the boot) is taken where a case states it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from benchmarks.sizing_gpus import KnownCard, NamedCards, cards_counted, cards_named
from benchmarks.sizing_host import host_experts
from benchmarks.sizing_models import Models, find_facts
from benchmarks.sizing_words import (
    RELEASES,
    SGLANG_RELEASES,
    cache_type_of,
    is_asked_for,
    speculation_of,
    tokens_of,
    version_of,
)
from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_keys import Keys
from rigspec.sizing import sglang
from rigspec.sizing.amount import Amount, about, exact
from rigspec.sizing.as_loaded import as_computed
from rigspec.sizing.cards import Card, visible_gib
from rigspec.sizing.settings import Engine, EngineSettings, Lora


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
    slower: tuple[Card, ...]
    """The same where the name may mean boards with slower memory; empty where it means one."""
    no_card: str
    measured: Mapping[str, object]
    stated: Keys
    kind: str

    @property
    def ranks_guessed(self) -> bool:
        """Whether nobody says how several cards of a vLLM or SGLang run shared the work."""
        stated = self.stated.whole("tp") is not None or self.engine is Engine.LLAMA_CPP
        return not stated and self.settings.tensor_parallel > 1

    @property
    def unplaced(self) -> bool:
        """Whether a part of it lies in host memory, and nobody says which."""
        return _host_experts(self.stated, self.engine) is None

    @property
    def card(self) -> Card | None:
        """The smallest card of the group: the one that rules."""
        return min(self.cards, key=lambda card: card.total.value) if self.cards else None


def case_of(raw: Mapping[str, object], models: Models, order: int) -> Case:
    """A case of the file; missing and null keys become None."""
    keys = Keys((raw,))
    engine = _engine(keys)
    named = cards_named(keys.text("gpu"))
    facts, reason = find_facts(keys, models, named)
    if facts and is_asked_for(keys.text("kv_cache_dtype")):
        facts = replace(facts, quantization=replace(facts.quantization, kv_fp8=True))
    settings, cards = _settings(keys, engine), _cards(keys, named)
    if facts and cards:
        settings = sglang.as_the_card_takes(facts, cards[0], settings)
        facts = as_computed(facts, cards[0], settings)
    return Case(
        id=str(raw.get("id") or f"case-{order}"),
        source=json.dumps(_source(raw.get("source")), sort_keys=True, default=str),
        arch=keys.text("arch") or "unknown",
        engine=engine,
        settings=settings,
        facts=facts,
        no_facts=reason,
        cards=cards,
        slower=_slower(keys, cards),
        no_card=_no_card(keys),
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


def _cards(keys: Keys, named: NamedCards) -> tuple[Card, ...]:
    total, free = keys.number("gpu_total_gib"), keys.number("gpu_free_gib")
    bridged = _says_nvlink(keys)
    if (total is None and _is_slice(keys.text("gpu") or "")) or _is_other_make(keys):
        return ()
    if named.gpus:
        return tuple(
            Card(
                name=gpu.name,
                total=_room(keys, _total(keys, gpu, named)),
                bandwidth_gb_s=gpu.bandwidth_gb_s,
                compute=gpu.compute,
                nvlink=gpu.switched or bridged,
                peer_access=gpu.peer_access or _says_peers(keys),
                free_gib=free,
                power_limit_w=named.cap_w,
                power_default_w=gpu.power_default_w,
            )
            for gpu in named.gpus
        )
    name = keys.text("gpu") or "not named"
    if total is None and _is_bound(name):
        return ()
    if total:
        return (Card(name, _room(keys, exact(total)), None, None, free_gib=free),)
    if named.memory_gb:
        return (Card(name, _room(keys, _unnamed_total(name, named.memory_gb)), None, None),)
    return ()


def _slower(keys: Keys, cards: tuple[Card, ...]) -> tuple[Card, ...]:
    """`H100` is sold as a module and, with three fifths of its bandwidth, as a board; more than two
    in one machine are modules."""
    text = keys.text("gpu") or ""
    told = re.search(r"(?i)sxm|hbm3|hgx|dgx|nvl|pcie", text) and "not stated" not in text
    if told or (keys.whole("gpu_count") or 1) > 2:
        return ()
    board = find_gpu("h100-pcie")
    if board is None or not all(card.name == MODULE for card in cards):
        return ()
    width = board.memory_bandwidth_gb_s
    return tuple(replace(card, name=board.name, bandwidth_gb_s=width) for card in cards)


MODULE = "NVIDIA H100 80GB HBM3"


def _total(keys: Keys, gpu: KnownCard, named: NamedCards) -> Amount:
    """What the engine saw; a whole number a little above what such a card shows is the one on its
    box (24 of an L4, which shows 22.0). Windows shows programs all that `nvidia-smi` does."""
    stated, visible = keys.number("gpu_total_gib"), _visible(gpu, named)
    if stated is None:
        return visible
    on_the_box = stated == int(stated) and visible.high < stated <= NOMINAL * visible.value
    if not on_the_box:
        return exact(stated)
    if _says_windows(keys):
        return exact(min(stated, (named.total_mib or gpu.memory_mib) / 1024))
    return visible


NOMINAL = 1.1


def _says_windows(keys: Keys) -> bool:
    text = " ".join(filter(None, map(keys.text, ("gpu", "os", "rig", "notes"))))
    return re.search(r"\bWSL|\bWindows\b", text) is not None


def _is_other_make(keys: Keys) -> bool:
    """A card that CUDA does not run: what its driver and kernels take is not known here."""
    return (
        re.search(
            r"(?i)\bAMD\b|radeon|instinct|\bmi\d{2,3}|\bgfx\d|\brocm\b|\barc\b|gaudi|\bapple\b"
            r"|ryzen ai|strix halo|\bM\d (max|ultra|pro)\b|\bRX ?\d{4}|\bR9\d00\b",
            keys.text("gpu") or "",
        )
        is not None
    )


def _no_card(keys: Keys) -> str:
    name = keys.text("gpu") or "not named"
    if _is_other_make(keys):
        return f"`{name}` is no card of NVIDIA, and what its driver takes is not known"
    if _is_bound(name):
        return f"`{name}` is a bound of the card's memory, not its size"
    if _is_slice(name):
        return f"`{name}` is a slice of a card, and nobody says of how much memory"
    return f"the card `{name}` is not in the catalogue"


def _visible(gpu: KnownCard, named: NamedCards) -> Amount:
    """GiB of a card; of two sizes sold under one name up to the larger."""
    found = visible_gib(named.total_mib or gpu.memory_mib)
    if named.total_mib or gpu.larger_mib is None:
        return found
    return Amount(found.value, found.low, visible_gib(gpu.larger_mib).high)


def _is_bound(name: str) -> bool:
    """`>110 GiB card`: larger than that, nobody says by how much."""
    return re.search(r"[<>≥≤]\s*\d+(\.\d+)?\s*Gi?B", name) is not None


def _is_slice(name: str) -> bool:
    return re.search(r"\bvGPU of\b|\bMIG \d", name) is not None


def _room(keys: Keys, total: Amount) -> Amount:
    """The card's memory; on a card shared with others nobody knows how much of it is free."""
    name, notes = keys.text("gpu") or "", keys.text("notes") or ""
    if "shared with" in name.lower():
        return Amount(total.value, 0.1 * total.value, total.high)
    shows = _DISPLAY.search(f"{name} {notes}") is not None
    return Amount(total.value, total.low - DISPLAY_GIB, total.high) if shows else total


_DISPLAY = re.compile(
    r"(?i)\bdrives (?:the|a) display|(?<!no )display (?:attached|on (?:this|the) card)"
)
DISPLAY_GIB = 1.5
"""What a desktop may hold of the card that it is shown on: about 1.3 GiB on a 4090."""


def _says_nvlink(keys: Keys) -> bool:
    texts = (keys.text("gpu"), keys.text("interconnect"), keys.text("compose"), keys.text("rig"))
    text = " ".join(filter(None, texts)).lower()
    return "nvlink" in text and "no nvlink" not in text


def _says_peers(keys: Keys) -> bool:
    """A driver patched so that GeForce boards read each other over PCIe."""
    return "peer access" in (keys.text("interconnect") or "").lower()


def _unnamed_total(name: str, memory_gb: float) -> Amount:
    """GiB CUDA sees on a card known only by its size; unified memory keeps 5 % for the host."""
    share = 0.955 if "unified" in name.lower() else 0.985
    return about(memory_gb * share, 0.02 * memory_gb)


def _estimates_graphs(keys: Keys) -> bool | None:
    """vLLM's switch for deducting CUDA graphs, where the notes of a run state it."""
    found = re.search(r"ESTIMATE_CUDAGRAPHS=([01])", keys.text("notes") or "")
    return found[1] == "1" if found else None


def _settings(keys: Keys, engine: Engine) -> EngineSettings:
    speculative = speculation_of(keys.text("speculative"), keys.text("compose"))
    split = (keys.text("split_mode") or "layer").lower()
    gpus = keys.whole("gpu_count") or cards_counted(keys.text("gpu"))
    copies = max(1, keys.whole("pp") or 1) * max(1, keys.whole("dp") or 1)
    ranks = keys.whole("tp") or max(1, gpus // copies)
    return EngineSettings(
        engine=engine,
        version=None
        if engine is Engine.LLAMA_CPP
        else version_of(
            keys.text("engine_version"),
            keys.text("date"),
            SGLANG_RELEASES if engine is Engine.SGLANG else RELEASES,
        ),
        patched=re.search("fork|patched", keys.text("engine_version") or "") is not None,
        tensor_parallel=max(1, ranks),
        pipeline_parallel=max(1, keys.whole("pp") or 1),
        decode_context_parallel=max(1, keys.whole("dcp") or 1),
        data_parallel=max(1, keys.whole("dp") or 1),
        dp_attention=_copies_attention(keys, engine, gpus),
        attention_context=keys.whole("attention_context_parallel_size") or 1,
        expert_parallel=keys.flag("ep") is True or (keys.whole("ep") or 1) > 1,
        memory_fraction=keys.number("gpu_memory_utilization", "mem_fraction_static"),
        kv_bytes=keys.whole("kv_cache_memory_bytes"),
        context=tokens_of(keys.number("max_model_len") or keys.text("max_model_len")),
        stretched=_LONGER.search(keys.text("notes") or "") is not None,
        max_seqs=keys.whole("max_num_seqs"),
        max_batched_tokens=keys.whole("max_num_batched_tokens"),
        max_graph_size=keys.whole("max_cudagraph_capture_size"),
        eager=keys.flag("enforce_eager") is True,
        kv_dtype=_cache_type(keys, engine),
        block_size=keys.whole("block_size"),
        prefix_caching=_caches_prefixes(keys, engine),
        state_bytes={"float32": 4, "float16": 2, "bfloat16": 2}.get(
            keys.text("mamba_ssm_cache_dtype") or ""
        ),
        state_ratio=keys.number("mamba_full_memory_ratio") or EngineSettings.state_ratio,
        state_slots=keys.whole("max_mamba_cache_size"),
        pool_tokens=keys.whole("max_total_tokens"),
        language_only=keys.flag("language_model_only") is True,
        speculative=speculative,
        lora=_lora(keys),
        estimates_graphs=_estimates_graphs(keys),
        tensor_split=_shares(keys),
        split="tensor" if split == "tensor" else "row" if split == "row" else "layer",
        parallel=keys.whole("n_seq_max", "parallel") or 1,
        batch=keys.whole("n_batch") or 2048,
        ubatch=keys.whole("n_ubatch") or 512,
        flash_attention=keys.flag("flash_attn") is not False,
        host_experts=_host_experts(keys, engine) or 0,
    )


def _cache_type(keys: Keys, engine: Engine) -> str:
    """The type of the cache; llama.cpp's are read where they are used, forks have their own."""
    text = keys.text("kv_cache_dtype")
    return (text or "auto") if engine is Engine.LLAMA_CPP else cache_type_of(text)


_LONGER = re.compile(r"(?i)(?<!no )(?<!without )\byarn\b|--rope-scaling|--hf-overrides")
"""Words for positions scaled beyond the model's own."""


def _host_experts(keys: Keys, engine: Engine) -> int | None:
    """Layers whose experts lie in host memory; None where a part does, and nobody says which."""
    if engine is not Engine.LLAMA_CPP:
        return 0 if keys.flag("cpu_offload") is not True else None
    notes = f"{keys.text('notes')} {keys.text('config_note')}"
    found = host_experts(notes, keys.whole("n_cpu_moe"))
    return found if found or keys.flag("cpu_offload") is not True else None


def _caches_prefixes(keys: Keys, engine: Engine) -> bool | None:
    """As stated, else vLLM's own; but published recipes with drafts turn it on, also where that is
    no default (of 23 boots of hybrid models ten of twelve with drafts, one of eleven without)."""
    stated = keys.flag("enable_prefix_caching")
    drafts = (keys.text("speculative") or "off").lower() not in ("off", "none", "false")
    return True if stated is None and (drafts or engine is not Engine.VLLM) else stated


def _copies_attention(keys: Keys, engine: Engine, gpus: int) -> bool:
    """Whether SGLang's copies are of the attention alone: said, or seen by the number of cards."""
    tp, dp = keys.whole("tp") or 1, keys.whole("dp") or 1
    said = keys.flag("enable_dp_attention") is True
    return engine is Engine.SGLANG and dp > 1 and (said or tp == gpus)


def _lora(keys: Keys) -> Lora | None:
    """Slots for adapters, where a run states them."""
    slots, rank = keys.whole("max_loras"), keys.whole("max_lora_rank")
    return Lora(slots or Lora().slots, rank or Lora().rank) if slots or rank else None


def _shares(keys: Keys) -> tuple[float, ...]:
    """llama.cpp's `--tensor-split`: a list or `3,1`."""
    quoted = re.search(r"--tensor-split ([\d.,]+)", keys.text("notes") or "")
    text = keys.text("tensor_split") or (quoted and quoted[1])
    parts = re.findall(r"\d+(?:\.\d+)?", text) if text else keys.items("tensor_split")
    numbers = [Keys(({"share": part},)).number("share") for part in parts]
    return tuple(number for number in numbers if number is not None and number >= 0)
