"""The largest step of vLLM: its defaults by card and version, and what a layer of it holds."""

from __future__ import annotations

from collections.abc import Mapping

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Delta, Experts, Latent
from rigspec.catalog.model_quant import Scheme
from rigspec.frozen import dataclass
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import EngineSettings
from rigspec.units import MIB

FIRST_V1, LAST_V0 = (0, 8), (0, 10)
"""From the first on V1 is the default: its defaults depend on the card, and prompts are always cut
into chunks. Cards before Ampere ran V0 up to the last (`arg_utils.py`)."""

LEAST_BATCH, LONGEST_PROMPT = 2048, 32768
"""Before that: tokens of the largest step are the context, within these (`vllm/config.py`, 0.6)."""


@dataclass(frozen=True)
class Batch:
    """Tokens and sequences of the largest step."""

    tokens: int
    seqs: int
    stated: bool


def batch_of(facts: ModelFacts, settings: EngineSettings, card: Card) -> Batch:
    """What the owner set, else the defaults vLLM takes for the card and the model."""
    if runs_old_engine(settings, card):
        return _old_batch(settings)
    large = card.is_large and not (card.compute == GB10 and settings.is_since(GB10_SINCE))
    usual = max(_usual_tokens(card, settings, large=large), _whole_item(facts, settings))
    tokens = settings.max_batched_tokens or usual
    seqs = settings.max_seqs or (1024 if large or _takes_many(settings) else 256)
    explicit = settings.max_batched_tokens is not None and settings.max_seqs is not None
    stated = explicit or (large and settings.is_since((0, 10)))
    return Batch(tokens, seqs, stated)


HUGE_GIB, HUGE_SINCE = 160, (0, 28)
"""Cards of so much memory take twice the tokens of other large ones from here on (`arg_utils.py` of
0.28.0 to 0.33.0; not in 0.27.1)."""
GB10, GB10_SINCE = (12, 1), (0, 33)
"""The one large card that gets a small card's defaults, from here on (not in 0.32.0)."""


def _usual_tokens(card: Card, settings: EngineSettings, *, large: bool) -> int:
    if card.total.value >= HUGE_GIB and settings.is_since(HUGE_SINCE):
        return 16384
    return 8192 if large else 2048


WHOLE_ITEMS = (0, 22)
"""The first that makes room in a step for the largest item of a model that must read one whole
(`_get_min_mm_batched_tokens` of 0.22.0 to 0.33.0; not in 0.21.0)."""


def _whole_item(facts: ModelFacts, settings: EngineSettings) -> int:
    """Tokens of that item."""
    older = settings.version is not None and settings.version < WHOLE_ITEMS
    if facts.vision is None or settings.language_only or older:
        return 0
    return facts.vision.whole_item


MANY_SINCE, MANY_BEFORE = (0, 8, 0), (0, 8, 4)
"""V1 began with 1,024 sequences on every card, for whose logits small cards lacked room (vLLM pull
16158; 32B over four 4090s kept 0.8 GiB of the 5 that 256 leave)."""


def _takes_many(settings: EngineSettings) -> bool:
    version = settings.version
    return version is not None and MANY_SINCE <= version < MANY_BEFORE


def runs_old_engine(settings: EngineSettings, card: Card) -> bool:
    """Whether a vLLM of that version runs its first engine (V0) on the card."""
    version = settings.version
    if version is None:
        return False
    before_ampere = card.compute is not None and card.compute < (8, 0)
    return version < FIRST_V1 or (before_ampere and version[:2] <= LAST_V0)


def _old_batch(settings: EngineSettings) -> Batch:
    """V0 took a whole prompt in one step, up to where prompts were cut into chunks."""
    context = settings.context or 0
    whole = context if LEAST_BATCH < context <= LONGEST_PROMPT else LEAST_BATCH
    explicit = settings.max_batched_tokens is not None and settings.max_seqs is not None
    return Batch(settings.max_batched_tokens or whole, settings.max_seqs or 256, explicit)


def since(table: Mapping[tuple[int, int], float], version: tuple[int, ...] | None) -> float:
    """The entry of the newest version not after `version`; the newest when that is unknown."""
    fitting = [key for key in table if version is None or key <= version]
    return table[max(fitting)]


def sparse_logits(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes of the indexer's scores in sparse attention: fp32 for every (token, context) pair.

    Two images of GLM-5.1 on the same rig differ by 4.84 GiB between contexts 65,536 and 202,752.
    """
    pools = [
        facts.index_pool
        for layer in facts.unlike
        if isinstance(layer.mixer, Latent) and layer.mixer.index_topk
    ]
    context = settings.context or facts.max_positions or 0
    return 4.0 * batch.tokens * context / pools[0] if pools else 0.0


CUT_SINCE, LOGITS_BUDGET = (0, 21), 512 * MIB
"""vLLM cuts a prompt so that these scores stay below (`VLLM_SPARSE_INDEXER_MAX_LOGITS_MB`, pull
request 36178): GLM-5.2 on eight H20 and GLM-5.3 on four B200 kept 8 to 24 GiB more than whole
scores leave. Forks of 0.20 did not cut."""


def dense_width(facts: ModelFacts, settings: EngineSettings) -> float:
    """Widest dense feed-forward part of one rank."""
    ranks = max(1, settings.tensor_parallel)
    widths = [layer.mlp.width for layer in facts.unlike if layer.mlp]
    widths += [layer.experts.shared_width for layer in facts.unlike if layer.experts]
    return max(widths, default=0) / ranks


def expert_workspace(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Bytes of the routed experts' intermediate buffers (modular fused-MoE kernels)."""
    experts = _experts(facts)
    if experts is None or facts.quantization.scheme is Scheme.MXFP4:
        return 0.0
    width, hidden = experts.width / settings.expert_shards, experts.latent or facts.hidden
    rows = batch.tokens * experts.active
    return rows * (max(width, hidden) + max(2 * width, hidden)) * 2


def _experts(facts: ModelFacts) -> Experts | None:
    return next((layer.experts for layer in facts.unlike if layer.experts), None)


def state_scratch(facts: ModelFacts, settings: EngineSettings, batch: Batch) -> float:
    """Chunked-scan buffers of delta-net layers: 40 B × tokens × value width (three boots)."""
    ranks = max(1, settings.tensor_parallel)
    widths = [
        layer.mixer.value_heads * layer.mixer.value_dim
        for layer in facts.unlike
        if isinstance(layer.mixer, Delta)
    ]
    return 40.0 * batch.tokens * max(widths, default=0) / ranks
