"""How a model is spread: sizes against the number, the equality and the heads."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import joined_by_nvlink, ticked
from rigspec.rules.sizable import sized_once
from rigspec.sizing.flags import CONTEXT_FLAGS, Flags, attention_context, copies_attention
from rigspec.spec.rig import Rig, members
from rigspec.spec.services import Service

MOST_PEERS = 9
"""CUDA gives a process 8 peers per GPU: more than 9 cards cannot all reach each other."""

MOST_COPIES = 16
"""What `data_parallel_size` takes at most."""


def _spread(rig: Rig) -> Iterator[tuple[str, Service]]:
    """Services whose engine splits by ranks (llama.cpp has other words)."""
    return ((n, s) for n, s in rig.services.items() if s.engine != "llama_cpp")


def _cards(rig: Rig, service: Service) -> tuple[str, ...]:
    return tuple(dict.fromkeys(members(rig.gpus, service.gpus)))


def world_size(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """TP × PP × DP is the number of cards."""
    for name, service in _spread(rig):
        if any(not members(rig.gpus, (ref,)) for ref in service.gpus):
            continue  # a name that means no card has a rule of its own
        tp, pp, dp = (
            service.tensor_parallel_size,
            service.pipeline_parallel_size,
            service.data_parallel_size,
        )
        if copies_attention(service):
            dp = 1
        cards = len(_cards(rig, service))
        if tp * pp * dp == cards or not cards or "--nnodes" in service.extra_args:
            continue
        terms = [f"TP {tp}"] + [f"{k} {v}" for k, v in (("PP", pp), ("DP", dp)) if v > 1]
        sizes = f"{' × '.join(terms)} = {tp * pp * dp}" if len(terms) > 1 else terms[0]
        key = "tensor_parallel_size" if "tensor_parallel_size" in service.model_fields_set else ""
        yield error(
            "parallel.world-size",
            ("services", name, key or "gpus"),
            f"{sizes}, but `{name}` has {cards} GPU{'s' if cards > 1 else ''}",
            why="a rank without a card cannot start"
            if tp * pp * dp > cards
            else "cards without a rank stay idle",
            hint=_sizes_hint(rig, facts, name, pp * dp),
        )


def _sizes_hint(rig: Rig, facts: CheckContext, name: str, others: int) -> str:
    """The DP size that uses every card where the spec has copies, else the TP size if the model
    takes it, else copies all the same, or fewer cards."""
    service = rig.services[name]
    cards = _cards(rig, service)
    copies = _copies(service, len(cards)) if _takes_own(rig, facts, name) else 0
    by_copies = f"`data_parallel_size: {copies}` uses all of them"
    size, rest = divmod(len(cards), others)
    if copies and (rest or service.data_parallel_size > 1):
        return by_copies
    if rest:
        return "choose sizes whose product is the number of cards"
    if _takes(rig, facts, name, size):
        return f"`tensor_parallel_size: {size}` uses all of them"
    if copies:
        return by_copies
    taken = next((n for n in range(size - 1, 0, -1) if _takes(rig, facts, name, n)), 1)
    used = ", ".join(cards[: taken * others])
    return (
        f"the model does not take TP {size}: use {taken * others} of the cards, "
        f"`gpus: [{used}]` with `tensor_parallel_size: {taken}`"
    )


def _copies(service: Service, cards: int) -> int:
    """How many copies of TP × PP ranks fill the cards; 0 where none do, or copies add no ranks."""
    copies, rest = divmod(cards, service.tensor_parallel_size * service.pipeline_parallel_size)
    return 0 if rest or copies > MOST_COPIES or copies_attention(service) else copies


def _takes_own(rig: Rig, facts: CheckContext, name: str) -> bool:
    return _takes(rig, facts, name, rig.services[name].tensor_parallel_size)


def _takes(rig: Rig, facts: CheckContext, name: str, size: int) -> bool:
    """Whether the model takes a TP size; a model without facts is not held against it."""
    from dataclasses import replace

    from rigspec.sizing.accepted import refusals  # as in `memory`: imported on use

    sized = sized_once(rig, name, facts) if facts.models else None
    if sized is None:
        return True
    one, many = (
        {
            r.rule
            for r in refusals(sized.facts, replace(sized.settings, tensor_parallel=n), sized.card)
        }
        for n in (1, size)
    )
    return many <= one  # what one rank is refused too has another cause


def equal_cards(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The cards of one tensor parallel group are equal."""
    for name, service in _spread(rig):
        if service.tensor_parallel_size == 1:
            continue
        cards = _cards(rig, service)
        skus = {m.partition(".")[0]: facts.gpu(rig, m) for m in cards}
        kinds = {card.sku: card for card in skus.values() if card is not None}
        if len(kinds) < 2:
            continue
        smallest = min(kinds.values(), key=lambda card: card.memory_mib)
        yield warning(
            "parallel.equal-cards",
            ("services", name, "gpus"),
            f"one tensor parallel group over {ticked(tuple(kinds))}",
            why="every rank holds the same share and waits for the slowest: memory counts as "
            f"{len(cards)} × {smallest.memory_mib} MiB, and cards of different generations get no "
            "peer access",
            hint="serve two models, one per kind of card, or use pipeline parallel",
        )


def unequal_caps(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """One tensor parallel group runs under one cap."""
    for name, service in _spread(rig):
        groups = {m.partition(".")[0] for m in _cards(rig, service)}
        caps = {rig.gpus[g].power_limit_w for g in groups}
        skus = {rig.gpus[g].sku for g in groups}
        if service.tensor_parallel_size > 1 and len(caps) > 1 and len(skus) == 1:
            shown = " and ".join(sorted(f"{c} W" if c else "no cap" for c in caps))
            yield warning(
                "parallel.unequal-caps",
                ("services", name, "gpus"),
                f"cards of one tensor parallel group run under {shown}",
                why="the group is as fast as its slowest card; the others' watts are wasted",
                hint="give all of them the same `power_limit_w`",
            )


def _attention_ranks(service: Service) -> int:
    """Parts that attention is cut into; copies that do not divide have a rule of their own."""
    tp, copies = service.tensor_parallel_size, service.data_parallel_size
    copies = copies if copies_attention(service) else 1
    shared = copies * attention_context(service)
    return tp // shared if tp % shared == 0 else tp


def heads_divide(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """TP divides the model's attention heads, where they are known."""
    for name, service in _spread(rig):
        model = facts.models.get(service.model)
        tp = _attention_ranks(service)
        if model is None or not model.heads or model.heads % tp == 0:
            continue
        most = max(1, len(_cards(rig, service)))
        fitting = [n for n in range(1, most + 1) if model.heads % n == 0]
        yield error(
            "parallel.heads-divide",
            ("services", name, "tensor_parallel_size"),
            f"TP {tp} does not divide the {model.heads} attention heads of `{service.model}`",
            why="each rank takes a whole number of heads; the engine refuses to start",
            hint=f"sizes that divide {model.heads}: {', '.join(map(str, fitting))}",
        )


def kv_heads_divide(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """TP and the key/value heads divide each other."""
    for name, service in _spread(rig):
        model = facts.models.get(service.model)
        tp = _attention_ranks(service)
        if model is None or not model.kv_heads or not model.heads or model.heads % tp:
            continue
        if model.kv_heads % tp and tp % model.kv_heads:
            most = max(1, len(_cards(rig, service)))
            heads, kv = model.heads, model.kv_heads
            fitting = [n for n in range(1, most + 1) if heads % n == 0 and not (kv % n and n % kv)]
            yield error(
                "parallel.kv-heads-divide",
                ("services", name, "tensor_parallel_size"),
                f"TP {tp} and the {model.kv_heads} key/value heads of `{service.model}` do not "
                "divide each other",
                why="key/value heads are split or copied whole; the engine refuses anything else",
                hint=f"sizes that do: {', '.join(map(str, fitting))}",
            )


def context_parallel_divides(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Decode context parallel reuses the TP ranks."""
    for name, service in _spread(rig):
        tp, dcp = service.tensor_parallel_size, service.decode_context_parallel_size
        if tp % dcp:
            yield error(
                "parallel.context-parallel-divides",
                ("services", name, "decode_context_parallel_size"),
                f"DCP {dcp} does not divide TP {tp}",
                why="decode context parallel groups the tensor parallel ranks; it adds none",
                hint=f"sizes that divide {tp}: "
                + ", ".join(str(n) for n in range(1, tp + 1) if tp % n == 0),
            )


def attention_copies_divide(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """SGLang's copies of attention share the TP ranks evenly."""
    for name, service in rig.services.items():
        tp, dp = service.tensor_parallel_size, service.data_parallel_size
        if copies_attention(service) and tp % dp:
            yield error(
                "parallel.attention-copies-divide",
                ("services", name, "data_parallel_size"),
                f"DP {dp} does not divide TP {tp}",
                why="with `--enable-dp-attention` the copies of attention lie within the tensor "
                "parallel ranks; SGLang refuses to start",
                hint=f"sizes that divide {tp}: "
                + ", ".join(str(n) for n in range(1, tp + 1) if tp % n == 0),
            )


def attention_contexts_divide(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """SGLang's ranks of one context share the TP ranks, or those of a copy of attention, evenly."""
    for name, service in rig.services.items():
        args = service.extra_args
        asked = Flags(args).whole(*CONTEXT_FLAGS)
        copies = service.data_parallel_size if copies_attention(service) else 1
        ranks = max(1, service.tensor_parallel_size // copies)
        if service.engine == "sglang" and asked is not None and (asked < 1 or ranks % asked):
            at = next(i for i, word in enumerate(args) if Flags((word,)).given(*CONTEXT_FLAGS))
            yield error(
                "parallel.attention-contexts-divide",
                ("services", name, "extra_args", at),
                f"`{args[at].partition('=')[0]} {asked}` does not divide the {ranks} ranks that "
                "hold one attention",
                why="those ranks are dealt out to heads and to parts of a context; SGLang refuses "
                "to start",
                hint=f"sizes that divide {ranks}: "
                + ", ".join(str(n) for n in range(1, ranks + 1) if ranks % n == 0),
            )


def experts_missing(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Expert parallel needs experts."""
    for name, service in _spread(rig):
        model = facts.models.get(service.model)
        if service.expert_parallel and model is not None and not model.has_experts:
            yield error(
                "parallel.experts-missing",
                ("services", name, "expert_parallel"),
                f"`{service.model}` has no experts to spread",
                hint="delete `expert_parallel`",
            )


def too_many_peers(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """CUDA's limit of peers."""
    for name, service in _spread(rig):
        ranks = service.tensor_parallel_size
        if rig.pcie.peer_to_peer and ranks >= MOST_PEERS + 1:
            yield warning(
                "parallel.too-many-peers",
                ("services", name, "tensor_parallel_size"),
                f"TP {ranks} with peer copies: CUDA gives each GPU 8 peers in one process",
                why="the pairs beyond go through host memory, or the engine stops",
                hint="TP 8 with `pipeline_parallel_size: 2` stays within it",
            )


def all_reduce_without_peers(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Two cards without peer access, and the engine's own all-reduce left on."""
    for name, service in _spread(rig):
        if service.tensor_parallel_size != 2 or rig.pcie.peer_to_peer:
            continue
        if not service.disable_custom_all_reduce and not joined_by_nvlink(rig, facts, service):
            yield warning(
                "parallel.all-reduce-without-peers",
                ("services", name, "tensor_parallel_size"),
                "TP 2 without peer copies, and the engine's own all-reduce is left on",
                why="SGLang crashes then; vLLM believes a driver that promises peer access, and "
                "talks nonsense if the promise is wrong",
                hint="add `disable_custom_all_reduce: true`",
            )
