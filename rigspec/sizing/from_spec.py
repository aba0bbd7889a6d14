"""A rig spec as the estimators take it: cards, engine settings, places in the PCIe tree.

The one place where a field of the spec becomes an input of `rigspec.sizing`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

from rigspec.catalog.engines import engine as engine_row
from rigspec.catalog.engines import is_beyond_known, known_version, tag, version_of
from rigspec.catalog.gpus import Gpu, find_gpu
from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing import llamacpp_told
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.drafter import stored_gib
from rigspec.sizing.flags import Flags, attention_context, copies_attention, state_bytes
from rigspec.sizing.links import LANE_GB_S, Hop, LinkPath, Place, paths
from rigspec.sizing.settings import Engine, EngineSettings, Lora, Speculation, Speculative
from rigspec.sizing.uncounted import uncounted
from rigspec.spec.pcie import Switch
from rigspec.spec.rig import Rig, all_members, is_bridged_pair, members
from rigspec.spec.services import AUTO, Service

Catalog = Callable[[str], Gpu | None]
"""The card of a SKU; None when nobody knows it."""


def catalog_of(extra: Path | None) -> Catalog:
    """Our table, and the owner's folder of further rows."""
    return partial(find_gpu, extra=extra)


ENGINES = {"vllm": Engine.VLLM, "sglang": Engine.SGLANG, "llama_cpp": Engine.LLAMA_CPP}

_METHODS: tuple[tuple[str, Speculation], ...] = (
    ("dflash", "dflash"), ("eagle", "eagle"), ("mtp", "mtp"), ("nextn", "mtp"),
    ("ngram", "ngram"), ("lookahead", "ngram"), ("draft", "draft"), ("standalone", "draft"),
)  # fmt: skip
"""A word in the engine's name of the method → what the estimates know it as."""


def settings_of(
    rig: Rig, name: str, models: Mapping[str, ModelFacts] | None = None
) -> EngineSettings:
    """What one service tells its engine; `models` holds facts of a draft model, if any."""
    service = rig.services[name]
    llama, flags = service.engine == "llama_cpp", Flags(service.extra_args)
    told = version_of(service.engine_version or _stock_tag(service))
    found = EngineSettings(
        engine=ENGINES[service.engine],
        version=known_version(service.engine, told),
        beyond_known=is_beyond_known(service.engine, told),
        patched=not engine_row(service.engine).is_stock(service.image),
        tensor_parallel=cards_in_use(rig, service) if llama else service.tensor_parallel_size,
        pipeline_parallel=service.pipeline_parallel_size,
        decode_context_parallel=service.decode_context_parallel_size,
        data_parallel=service.data_parallel_size,
        dp_attention=copies_attention(service),
        attention_context=attention_context(service),
        expert_parallel=service.expert_parallel,
        memory_fraction=service.gpu_memory_fraction,
        kv_bytes=flags.size("--kv-cache-memory-bytes", "--kv-cache-memory"),
        context=_context(service, models or {}),
        auto_context=service.context_length == AUTO,
        stretched=_stretched(service),
        max_seqs=service.max_sequences,
        max_batched_tokens=service.max_batched_tokens,
        max_graph_size=flags.whole("--max-cudagraph-capture-size", "--cuda-graph-max-bs"),
        eager=service.enforce_eager,
        kv_dtype=service.kv_cache_dtype or "auto",
        block_size=flags.whole("--block-size", "--page-size"),
        prefix_caching=_prefix_caching(flags),
        state_bytes=state_bytes(flags),
        state_ratio=flags.number("--mamba-full-memory-ratio") or EngineSettings.state_ratio,
        state_slots=flags.whole("--max-mamba-cache-size"),
        pool_tokens=flags.size("--max-total-tokens"),
        language_only=flags.given("--language-model-only"),
        speculative=_speculative(service, models or {}),
        lora=_lora(service, flags),
        complete=True,
        uncounted=bool(uncounted(service)),
    )
    return llamacpp_told.told(found, service) if llama else found


def _context(service: Service, models: Mapping[str, ModelFacts]) -> int | None:
    """Tokens of a full request: vLLM takes the model's own where it is told nothing, and refuses
    to start when its cache does not hold that, just as if it were written out."""
    if service.context_length is not None or service.engine != "vllm":
        return None if service.context_length == AUTO else service.context_length
    own = models.get(service.model)
    return own.max_positions if own else None


_LONGER: dict[str, tuple[str, frozenset[str]]] = {
    "vllm": ("VLLM_ALLOW_LONG_MAX_MODEL_LEN", frozenset({"1", "true"})),
    "sglang": ("SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN", frozenset({"1", "true", "yes", "y"})),
}
"""What lets an engine start beyond the model's own length, and how it is said: `vllm/envs.py`,
`sglang/srt/configs/model_config.py` and `sglang/srt/environ.py`."""


def _stretched(service: Service) -> bool:
    name, yes = _LONGER.get(service.engine, ("", frozenset()))
    allowed = service.environment.get(name, "").lower() in yes
    scaled = (
        "rope" in word or "hf-overrides" in word.replace("_", "-") for word in service.extra_args
    )
    return allowed or any(scaled)


def _prefix_caching(flags: Flags) -> bool | None:
    """What the owner asks for; None leaves it to the engine."""
    if flags.given("--no-enable-prefix-caching", "--disable-radix-cache"):
        return False
    return True if flags.given("--enable-prefix-caching") else None


def _lora(service: Service, flags: Flags) -> Lora | None:
    """Slots for adapters; SGLang's are as wide as the adapters given, which nobody reads, unless a
    rank is set (`server_args.py` of 0.5.23: eight adapters per batch)."""
    rank = flags.whole("--max-lora-rank")
    if service.engine == "sglang" and rank and flags.given("--enable-lora", "--lora-paths"):
        return Lora(flags.whole("--max-loras-per-batch") or 8, rank)
    if service.engine != "vllm" or not flags.given("--enable-lora"):
        return None
    usual = Lora()
    return Lora(flags.whole("--max-loras") or usual.slots, rank or usual.rank)


def cards_in_use(rig: Rig, service: Service) -> int:
    """Cards that llama.cpp shares a model out over."""
    return 1 if service.split_mode == "none" else max(1, len(members(rig.gpus, service.gpus)))


def _stock_tag(service: Service) -> str:
    """The tag of the project's own image, which names the release."""
    return tag(service.image) if engine_row(service.engine).is_stock(service.image) else ""


def _speculative(service: Service, models: Mapping[str, ModelFacts]) -> Speculative | None:
    asked = service.speculative
    if asked is None:
        return None
    word = asked.method.lower()
    known = (ours for theirs, ours in _METHODS if theirs in word)
    method: Speculation = next(known, "unstated")
    draft = models.get(asked.model or "")
    size = stored_gib(draft) if draft else 0.0
    accepted = None if asked.acceptance is None else 1 + asked.acceptance * asked.tokens
    layers = draft.layers if draft and method == "draft" else ()
    return Speculative(method, asked.tokens, accepted, size, layers)


def cards_of(rig: Rig, name: str, catalog: Catalog) -> tuple[Card, ...]:
    """The cards of one service in order, with their caps; empty when a SKU is unknown."""
    found = []
    used = members(rig.gpus, rig.services[name].gpus)
    bridged = True if is_bridged_pair(rig.gpus, used) else None
    for member in used:
        group = rig.gpus[member.partition(".")[0]]
        gpu = catalog(group.sku)
        if gpu is None:
            return ()
        found.append(card_of(gpu, power_limit_w=group.power_limit_w, nvlink=bridged))
    return tuple(found)


def used_cards(
    service: Service, cards: tuple[Card, ...], settings: EngineSettings
) -> tuple[tuple[Card, ...], tuple[Card, ...]]:
    """The cards that are loaded and those left out: llama.cpp may take its main GPU alone."""
    if service.split_mode != "none":
        return cards, ()
    main = settings.main_gpu if settings.main_gpu < len(cards) else 0
    return cards[main : main + 1], (*cards[:main], *cards[main + 1 :])


def places_of(rig: Rig, catalog: Catalog) -> tuple[Place, ...]:
    """Every GPU of the rig that the spec gives a place in the PCIe tree, in member order."""
    found = dict(_places(rig, catalog))
    return tuple(found[member] for member in all_members(rig.gpus) if member in found)


def _places(rig: Rig, catalog: Catalog) -> Iterator[tuple[str, Place]]:
    for direct in rig.pcie.direct:
        for member in members(rig.gpus, direct.gpus):
            generation = direct.generation or rig.pcie.generation
            hop = Hop(member, generation, direct.width or rig.pcie.width)
            best = _best(rig, member, catalog)
            yield member, Place(member, hop, numa_node=direct.numa_node, best_gb_s=best)
    for switch in rig.pcie.switches:
        yield from _below(rig, catalog, switch, (), switch.numa_node)


def _below(
    rig: Rig, catalog: Catalog, switch: Switch, above: tuple[Switch, ...], numa: int
) -> Iterator[tuple[str, Place]]:
    chain = (switch, *above)
    uplinks = tuple(_uplink(chain[i : i + 2]) for i in range(len(chain)))
    for member in members(rig.gpus, switch.gpus):
        hop = Hop(
            member,
            min(rig.pcie.generation, switch.generation),
            min(rig.pcie.width, switch.downstream_width),
        )
        best = _best(rig, member, catalog)
        yield member, Place(member, hop, tuple(s.name for s in chain), uplinks, numa, best)
    for lower in switch.switches:
        yield from _below(rig, catalog, lower, chain, numa)


def _uplink(pair: tuple[Switch, ...]) -> Hop:
    """A switch's uplink: as fast as its slower end."""
    switch, above = pair[0], pair[1] if len(pair) > 1 else None
    generation, width = switch.generation, switch.upstream_width
    if above is not None:
        generation, width = min(generation, above.generation), min(width, above.downstream_width)
    return Hop(f"uplink of {switch.name}", generation, width)


def _best(rig: Rig, member: str, catalog: Catalog) -> float | None:
    gpu = catalog(rig.gpus[member.partition(".")[0]].sku)
    return LANE_GB_S[gpu.pcie_gen] * gpu.pcie_width if gpu and gpu.in_pcie_slot else None


def peers(rig: Rig, name: str, catalog: Catalog) -> bool:
    """Whether the cards of a service copy to each other directly: wanted, granted, not disabled."""
    service = rig.services[name]
    used = members(rig.gpus, service.gpus)
    disabled = service.environment.get("NCCL_P2P_DISABLE") == "1"
    return rig.pcie.peer_to_peer and peers_granted(rig, used, catalog) and not disabled


def peers_granted(rig: Rig, used: Iterable[str], catalog: Catalog) -> bool:
    """Whether the driver is known to grant peer access between all these members."""
    return all(card is not None and card.p2p == "yes" for card in _skus(rig, used, catalog))


def _skus(rig: Rig, used: Iterable[str], catalog: Catalog) -> list[Gpu | None]:
    """The rows of these members' cards, each once; None for one that is not known."""
    return [catalog(rig.gpus[group].sku) for group in {m.partition(".")[0] for m in used}]


def paths_of(rig: Rig, name: str, catalog: Catalog) -> tuple[LinkPath, ...]:
    """The way between every two cards of one service, however often one of them is named."""
    used = tuple(dict.fromkeys(members(rig.gpus, rig.services[name].gpus)))
    places = {place.gpu: place for place in places_of(rig, catalog)}
    own = [places[member] for member in used if member in places]
    found = paths(own, peer=peers(rig, name, catalog), redirect=rig.pcie.acs == "keep")
    return tuple(_with_nvlink(rig, path, catalog) for path in found)


def _with_nvlink(rig: Rig, path: LinkPath, catalog: Catalog) -> LinkPath:
    """The path, and what NVLink there is above it: a bridge of the spec, or the boards' switch."""
    pair = (path.first, path.second)
    says = [(card.nvlink or "") if card else "" for card in _skus(rig, pair, catalog)]
    bridged = is_bridged_pair(rig.gpus, pair)
    if not bridged and not all("switch" in text for text in says):
        return path
    links = re.findall(r"\bNV(\d+)", " ".join(says))
    return replace(path, bridged=bridged, nvlink=f"NV{min(links, key=int)}" if links else "NV#")
