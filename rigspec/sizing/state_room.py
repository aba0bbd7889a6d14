"""Whether every sequence the engine is told to run finds a block for its recurrent state.

A hybrid model keeps one state per running sequence, each in a block of the pool. vLLM refuses to
start when it may run more sequences than there are blocks, and its default of 1024 on large cards
is often more.
"""

from __future__ import annotations

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta
from rigspec.frozen import dataclass
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.kvcache import PoolShape
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.vllm_batch import batch_of
from rigspec.units import GIB

CHECKED = (0, 20)
"""The first vLLM that refuses (vllm-project/vllm pull 38270, after 0.19); older ones capture
smaller graphs instead, as does `--enforce-eager`, which captures none."""


FEWER = 0.8
"""Blocks of published refusals beside the estimate's: 1.01 on an H100 (856, 0.22), 0.85 and 0.80 on
an RTX PRO 6000 (939 and 556, 0.27); what takes the rest is not printed there."""


EXACTLY = 16
"""Below this many sequences each one counts."""


@dataclass(frozen=True)
class StateRoom:
    """Sequences the engine may run, and the blocks that could hold their states."""

    sequences: int
    stated: bool
    """Whether the owner set the number; else it is what vLLM takes for the card."""
    known: bool
    """Whether it surely is this number: set, or left to the default of a stated version."""
    blocks: Amount

    @property
    def surely(self) -> bool:
        """Whether even the low end of the pool holds them all."""
        return self.sequences <= self.blocks.low

    @property
    def fitting(self) -> int:
        """Sequences that the low end holds: exactly where they are few, else a power of two."""
        most = max(1, int(self.blocks.low))
        return most if most < EXACTLY else 1 << most.bit_length() - 1

    @property
    def never(self) -> bool:
        """Whether not even the high end does. The default of an unstated version is no proof."""
        return self.known and self.sequences > self.blocks.high


def state_room(
    facts: ModelFacts,
    settings: EngineSettings,
    card: Card,
    shape: PoolShape | None,
    left: Amount,
) -> StateRoom | None:
    """None where nothing is refused: no states, no graphs, an older or another engine."""
    version = settings.version
    if settings.engine is not Engine.VLLM or settings.eager or shape is None:
        return None
    if not facts.has_states or (version is not None and version < CHECKED):
        return None
    value, low, high = (
        float(shape.blocks(max(0.0, gib) * GIB)) for gib in (left.value, left.low, left.high)
    )
    asked, stated = batch_of(facts, settings, card).seqs, settings.max_seqs is not None
    known = stated or (settings.complete and version is not None)
    return StateRoom(asked, stated, known, Amount(value, low * FEWER, high))


STATE_TOKENS = {Engine.VLLM: (0.8, 1.2), Engine.SGLANG: (0.5, 1.6)}
"""Of the tokens beside recurrent states: prefix caching, drafts and the states' type change the
pages one request holds, and few published commands state all three. Of 206 pools of vLLM 91 % lie
within the first beyond what the band of the free memory gives, of 32 that state all 94 % within
that band alone."""


def state_doubt(
    facts: ModelFacts, settings: EngineSettings, tokens: Amount, *, told: bool
) -> Amount:
    """Tokens from the settings alone, with what a hybrid's pages leave open; nothing where all that
    they hang on is told and the layout is that of vLLM's gated delta nets. Where only the release
    is not, the newest is meant, which takes the most pages."""
    if not facts.has_states:
        return tokens
    low, high = STATE_TOKENS.get(settings.engine, (1.0, 1.0))
    plain = all(isinstance(layer.mixer, Attention | Delta) for layer in facts.layers)
    if told and plain and settings.engine is Engine.VLLM:
        low, high = 1.0, 1.0 if settings.version is not None else high
    return Amount(tokens.value, tokens.low * low, tokens.high * high)
