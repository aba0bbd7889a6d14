"""What fits: one model on one kind of card, over context lengths and tensor-parallel sizes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass
from rigspec.sizing.all_reduce import PEER_PCIE, Link
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.group import tightest
from rigspec.sizing.memory import MemoryEstimate
from rigspec.sizing.settings import EngineSettings
from rigspec.sizing.speculation import with_speculation
from rigspec.sizing.state_room import StateRoom
from rigspec.sizing.throughput import Speed, decode
from rigspec.sizing.verdict import Verdict

CONTEXTS = (8192, 16384, 32768, 65536, 131072, 262144, 524288, 1048576)


@dataclass(frozen=True)
class FitRow:
    """One cell of the table: a tensor-parallel size and a context length."""

    tensor_parallel: int
    decode_context_parallel: int
    context: int
    verdict: Verdict
    refused: str
    """The shape rule the engine would refuse by; empty when it takes the shape."""
    doubted: str
    """The shape rule by which it may refuse; empty where nothing is in doubt."""
    states: StateRoom | None
    """Room for recurrent states where the engine insists on it and one request has room."""
    weights_gib: Amount
    available_gib: Amount
    needed_gib: Amount | None
    """Cache of what is asked: in llama.cpp what is set aside at start."""
    kv_tokens: Amount | None
    concurrency: float | None
    largest_context: int | None
    decode_tok_s: Amount | None
    bottleneck: str


def fit_table(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    *,
    count: int,
    contexts: Sequence[int] = CONTEXTS,
    asked: int | None = None,
    only: int | None = None,
    link: Link = PEER_PCIE,
) -> tuple[FitRow, ...]:
    """A row per tensor-parallel size up to `count` cards and per context up to the model's own;
    `asked` has one in any case, and of `only` a size there is no other."""
    limit = facts.max_positions or max(contexts)
    usual = [context for context in contexts if context <= limit] or [limit]
    wanted = sorted({*usual, asked}) if asked else usual
    return tuple(
        row
        for ranks in ((only,) if only else group_sizes(count))
        for row in _rows(facts, card, replace(settings, tensor_parallel=ranks), wanted, link)
    )


def group_sizes(count: int) -> tuple[int, ...]:
    """Powers of two up to `count`, and `count` itself."""
    powers = [1 << power for power in range(count.bit_length()) if 1 << power <= count]
    return tuple(sorted({*powers, count}))


def _rows(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    contexts: Sequence[int],
    link: Link,
) -> Iterator[FitRow]:
    for context in contexts:
        asked = replace(settings, context=context)
        found, _ = tightest(facts, (card,) * asked.tensor_parallel, asked)
        runs = not found.refused and found.boots is not Verdict.NO
        speed = _speed(facts, card, asked, context, link) if runs else None
        yield _row(found, asked, context, speed)


def _speed(
    facts: ModelFacts, card: Card, settings: EngineSettings, context: int, link: Link
) -> Speed | None:
    plain = decode(facts, card, settings, context=context // 2, link=link)
    return with_speculation(plain, facts, card, settings) if plain else None


def _row(
    found: MemoryEstimate, settings: EngineSettings, context: int, speed: Speed | None
) -> FitRow:
    refused, doubted = (
        next((refusal.message for refusal in found.refusals if refusal.surely is surely), "")
        for surely in (True, False)
    )
    return FitRow(
        tensor_parallel=settings.tensor_parallel,
        decode_context_parallel=settings.decode_context_parallel,
        context=context,
        verdict=Verdict.NO if refused else found.outlook,
        refused=refused,
        doubted="" if refused else doubted,
        states=None if found.verdict is Verdict.NO else found.states,
        weights_gib=found.weights,
        available_gib=found.available,
        needed_gib=found.needed,
        kv_tokens=found.kv_tokens,
        concurrency=found.concurrency,
        largest_context=found.largest_context,
        decode_tok_s=speed.tok_s if speed else None,
        bottleneck=speed.bottleneck.value if speed else "unknown",
    )
