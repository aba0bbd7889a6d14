"""The KV pool of vLLM: from bytes to blocks to tokens, for every mix of layer kinds.

Rules of vLLM 0.33 (`v1/core/kv_cache_utils.py`, `v1/kv_cache_interface.py`): all layer kinds share
one page size, so the attention block grows until it covers a recurrent state, and layers are put
into groups of equal size. Of 130 printed pools 113 come out within 1 % (`benchmarks.sizing`).
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from functools import lru_cache

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Compressed, Delta, Latent, Layer, Mamba, Mixer
from rigspec.frozen import dataclass
from rigspec.sizing.drafter import drafter_kinds
from rigspec.sizing.records import attention_token_bytes, latent_token_bytes, state_bytes
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.stages import holds_drafts, own_layers
from rigspec.sizing.vllm_runner import has_second_runner

NEW_TOKEN_LINE = (0, 20, 2)
"""From here on the printed tokens of mixed models are concurrency × context (a boot of 0.20.2
prints so, three of 0.20.0 do not)."""

IN_FLIGHT = (0, 26)
"""From here on a window layer is charged the tokens of every step that is under way
(`max_in_flight_tokens` of 0.26.0 to 0.33.0; 0.25.1 charges one step)."""

STATES_CACHED = (0, 28)
"""Before this prefixes of models with recurrent states are only cached when asked for
(`ModelConfig.is_prefix_caching_supported`; a boot of 0.26 charges one page of state less)."""


@dataclass(frozen=True)
class LayerKind:
    """Layers that cache alike: bytes per token, or a fixed state, per layer and rank."""

    name: str
    count: int
    token_bytes: float = 0.0
    state_bytes: int = 0
    window: int = 0


@dataclass(frozen=True)
class PoolShape:
    """How an engine cuts its pool for one model and one set of settings."""

    kinds: tuple[LayerKind, ...]
    block_tokens: int
    page_bytes: float
    group_size: int
    in_flight: int
    state_pages: int
    context_parallel: int
    new_token_line: bool

    @property
    def mixed(self) -> bool:
        """Whether layers of different kinds share the pool."""
        return len(self.kinds) > 1

    @property
    def block_bytes(self) -> float:
        """Bytes one block takes over a whole group."""
        return self.group_size * self.page_bytes

    @property
    def groups(self) -> int:
        """Groups of layers, all kinds together."""
        return sum(math.ceil(kind.count / self.group_size) for kind in self.kinds)

    def blocks(self, available_bytes: float) -> int:
        """Blocks the available bytes hold."""
        return max(0, int(available_bytes // self.block_bytes)) if self.block_bytes else 0

    def blocks_per_request(self, context: int) -> int:
        """Blocks one request of full length takes, over all groups."""
        return sum(
            math.ceil(kind.count / self.group_size) * self._per_group(kind, context)
            for kind in self.kinds
        )

    def _per_group(self, kind: LayerKind, context: int) -> int:
        if kind.state_bytes:
            return self.state_pages
        reach = math.ceil(context / self.context_parallel)
        if kind.window:
            cells = min(kind.window - 1 + self.in_flight, reach)
            return math.ceil(cells / self._block_of(kind)) + 1
        return math.ceil(reach / self._block_of(kind))

    def _block_of(self, kind: LayerKind) -> int:
        """Tokens of this kind that fill one page."""
        return max(1, int(self.page_bytes / kind.token_bytes)) if kind.token_bytes else 1

    def tokens(self, available_bytes: float, context: int) -> int:
        """The token count the engine prints for this pool."""
        blocks = self.blocks(available_bytes)
        if not self.mixed:
            return blocks * self.block_tokens * self.context_parallel
        if not self.new_token_line:
            return blocks // self.groups * self.block_tokens * self.context_parallel
        return int(blocks / max(1, self.blocks_per_request(context)) * context)

    def concurrency(self, available_bytes: float, context: int) -> float:
        """How many requests of full length fit at once."""
        return self.blocks(available_bytes) / max(1, self.blocks_per_request(context))

    def largest_context(self, available_bytes: float, limit: int) -> int:
        """The longest single request that fits, up to `limit`, in steps of 16 tokens."""
        blocks = self.blocks(available_bytes)
        low, high = 0, max(16, limit) // 16
        while low < high:
            middle = (low + high + 1) // 2
            if self.blocks_per_request(middle * 16) <= blocks:
                low = middle
            else:
                high = middle - 1
        return min(low * 16, limit) if low else 0

    def bytes_for(self, context: int, requests: float = 1.0) -> float:
        """Pool bytes that this many requests of full length need."""
        return self.blocks_per_request(context) * requests * self.block_bytes


def pool_shape(
    facts: ModelFacts, settings: EngineSettings, *, batch_tokens: int
) -> PoolShape | None:
    """The shape of vLLM's pool; None when a layer's cache layout is not known."""
    drafts = _draft_layers(facts, settings)
    if any(isinstance(layer.mixer, Compressed) for layer in (*facts.unlike, *drafts)):
        return None
    kinds = _kinds(facts, drafts, settings)
    if not kinds:
        return None
    version = settings.version
    shape = PoolShape(
        kinds=kinds,
        block_tokens=settings.block_size or (64 if facts.is_latent else 16),
        page_bytes=0.0,
        group_size=1,
        in_flight=batch_tokens * _steps_in_flight(facts, settings),
        state_pages=_state_pages(settings),
        context_parallel=max(1, settings.decode_context_parallel),
        new_token_line=version is None or version >= NEW_TOKEN_LINE,
    )
    return _paged(shape, facts)


def _steps_in_flight(facts: ModelFacts, settings: EngineSettings) -> int:
    """Steps under way at once (`VllmConfig.max_concurrent_batches`): one for each stage, and with
    asynchronous scheduling the next. The first runner has none over stages, and drafts that are
    looked up in the prompt leave it out."""
    version, stages = settings.version, max(1, settings.pipeline_parallel)
    if version is not None and version < IN_FLIGHT:
        return 1
    looked_up = settings.speculative is not None and settings.speculative.method == "ngram"
    ahead = stages == 1 or has_second_runner(facts, settings)
    return stages + 1 if ahead and not looked_up else stages


def _paged(shape: PoolShape, facts: ModelFacts) -> PoolShape:
    """Page and group sizes for the kinds at hand."""
    attention = [kind for kind in shape.kinds if kind.token_bytes]
    state = max((kind.state_bytes for kind in shape.kinds), default=0)
    if len(shape.kinds) == 1 and attention:
        page = attention[0].token_bytes * shape.block_tokens
        return replace(shape, page_bytes=page, group_size=shape.kinds[0].count)
    block = shape.block_tokens
    if state and attention:
        widest = max(kind.token_bytes for kind in attention)
        step = 128 if facts.is_latent else 16
        block = max(block, math.ceil(state / widest / step) * step)
    page = max((kind.token_bytes * block for kind in attention), default=0.0)
    counts = [kind.count for kind in shape.kinds]
    smallest, largest = min(counts), max(counts)
    group = largest if largest < 1.5 * smallest else smallest
    return replace(shape, page_bytes=max(page, state), group_size=group, block_tokens=block)


def _state_pages(settings: EngineSettings) -> int:
    """Pages of state one request holds: one more than drafts, one more with prefix caching."""
    drafts = settings.speculative.depth if settings.speculative else 0
    cached = settings.prefix_caching
    if cached is None:
        cached = settings.version is None or settings.version >= STATES_CACHED
    return (2 if cached else 1) + drafts


def _draft_layers(facts: ModelFacts, settings: EngineSettings) -> tuple[Layer, ...]:
    """The draft's own layers in the pool of a stage."""
    speculative = settings.speculative if holds_drafts(settings) else None
    if speculative is None or speculative.method not in ("mtp", "eagle", "unstated"):
        return speculative.draft_layers if speculative else ()
    if speculative.method != "eagle" and facts.draft.layers:
        return facts.draft.layers[:1]
    full = [layer for layer in facts.layers if isinstance(layer.mixer, (Attention, Latent))]
    return tuple(full[-1:])


def _kinds(
    facts: ModelFacts, drafts: tuple[Layer, ...], settings: EngineSettings
) -> tuple[LayerKind, ...]:
    """Layers of a stage and its draft counted by how they cache; a uniform model gives one kind
    with summed bytes."""
    counted: dict[tuple[float, int, int], int] = {}
    own, keeps = own_layers(facts, settings), _keeps_edges(facts, settings)
    whole = replace(settings, kv_dtype="auto") if keeps else settings
    alike = _alike(facts, own.start, own.stop, EDGE if keeps else 0)
    for (mixer, at_edge), count in (*alike, *(((layer.mixer, False), 1) for layer in drafts)):
        signature = _signature(facts, mixer, whole if at_edge else settings)
        if signature is not None:
            counted[signature] = counted.get(signature, 0) + count
    kinds = [
        LayerKind("state" if state else "window" if window else "full", count, token, state, window)
        for (token, state, window), count in counted.items()
    ]
    kinds += drafter_kinds(kinds, settings)
    if len(kinds) > 1 and all(not kind.state_bytes and not kind.window for kind in kinds):
        summed = sum(kind.count * kind.token_bytes for kind in kinds)
        return (LayerKind("full", 1, summed),)
    return tuple(kinds)


@lru_cache(maxsize=16)  # every remedy asks again, with another context or batch
def _alike(
    facts: ModelFacts, start: int, stop: int, edge: int
) -> tuple[tuple[tuple[Mixer | None, bool], int], ...]:
    """Mixers of the layers from `start` to before `stop`, whether they are among the `edge` at
    either end of the model, and how many layers are so."""
    last = len(facts.layers)
    counted = Counter(
        (layer.mixer, index < edge or last - index <= edge)
        for index, layer in enumerate(facts.layers[start:stop], start)
    )
    return tuple(counted.items())


EDGE = 2
"""Layers at either end of a model without recurrent states whose cache TurboQuant leaves alone
(vLLM's `arg_utils.py` from 0.20 on: Llama-3.1-8B in `4bit_nc` on a 3090 printed 103,488 tokens)."""


def _keeps_edges(facts: ModelFacts, settings: EngineSettings) -> bool:
    return "turboquant" in settings.kv_dtype.lower() and not facts.has_states


def _signature(
    facts: ModelFacts, mixer: Mixer | None, settings: EngineSettings
) -> tuple[float, int, int] | None:
    if isinstance(mixer, Attention):
        if mixer.shares_cache:
            return None
        return attention_token_bytes(facts, mixer, settings), 0, mixer.window
    if isinstance(mixer, Latent):
        return latent_token_bytes(facts, mixer, settings), 0, 0
    if isinstance(mixer, (Delta, Mamba)):
        return 0.0, state_bytes(facts, mixer, settings), 0
    return None
