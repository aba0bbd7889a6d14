"""Shares that services take of one card at the same time, and shares to which they may be lowered.

The arithmetic modules are imported on use: a spec without saved facts must not wait for them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import floor

from rigspec.rules.context import CheckContext
from rigspec.rules.sizable import off_cards, sized_once
from rigspec.spec.rig import Rig
from rigspec.spec.together import sharers

VLLM_FRACTION = 0.92
"""vLLM's own `--gpu-memory-utilization` since 0.24; 0.9 before."""


STEP = 0.01
"""In which shares are written."""
MOST = 0.99
"""The largest share that a spec takes."""
OTHERWISE = "use other cards, or let one run `instead_of` the other"
SMALLER = "use other cards or a smaller checkpoint, or let one run `instead_of` the other"


def lower_shares(rig: Rig, names: tuple[str, ...], member: str, facts: CheckContext) -> str:
    """The ways out of shares that are too much in sum: what to write in each service that has the
    field, where each then holds a full request; else no shares, as none of them would do."""
    asked = {name: _fraction(rig, name, member, facts) for name in names}
    shared = (card for card, users in sharers(rig).items() if set(names) <= set(users))
    contexts = max(contexts_share(rig, names, card, facts) for card in shared)
    judged = [n for n in names if _is_known(rig, n, facts) and _may_fit(rig, n, facts)]
    needed = {name: _least(rig, name, asked[name], facts) for name in judged}
    raised = {name: max(share, needed.get(name, 0.0)) for name, share in asked.items()}
    cut = _cut(rig, raised, needed, contexts)
    shares = {name: share for name, share in cut.items() if share != asked[name]}
    sure = any(least > STEP for least in needed.values())
    if not shares:
        return f"no shares hold a full request of each: {SMALLER}" if sure else OTHERWISE
    changed, alone = _with_shares(rig, shares), replace(facts, sized={})  # the kept are of the spec
    if not all(_fits(changed, name, alone) for name in judged):
        return SMALLER
    word = "set" if any(share > asked[name] for name, share in shares.items()) else "lower"
    return f"{word} `gpu_memory_fraction` {_said(shares)}, {OTHERWISE}"


def _said(shares: Mapping[str, float]) -> str:
    return " and ".join(f"of `{name}` to {share:g}" for name, share in shares.items())


def _cut(
    rig: Rig, asked: Mapping[str, float], least: Mapping[str, float], contexts: float
) -> dict[str, float]:
    """The shares to write, each kept as near to what it was as the others are; empty where they
    would have to go below the least. llama.cpp has no share to write."""
    told = [name for name in asked if rig.services[name].engine != "llama_cpp" and asked[name]]
    shares = dict(asked) | {name: floor(asked[name] / STEP + 1e-6) * STEP for name in told}
    while round(sum(_taken(rig, shares)), 4) + contexts > 1:
        free = [name for name in told if shares[name] - STEP >= least.get(name, STEP) - 1e-6]
        if not free:
            return {}
        most = max(free, key=lambda name: shares[name] / asked[name])
        shares[most] = round(shares[most] - STEP, 2)
    return {name: shares[name] for name in told}


def _is_known(rig: Rig, name: str, facts: CheckContext) -> bool:
    return bool(facts.models) and sized_once(rig, name, facts) is not None


def _may_fit(rig: Rig, name: str, facts: CheckContext) -> bool:
    """Whether its share decides: what SGLang and llama.cpp lack now, no share of theirs brings."""
    return rig.services[name].engine == "vllm" or _fits(rig, name, facts)


def _least(rig: Rig, name: str, asked: float, facts: CheckContext) -> float:
    """The smallest share at which vLLM holds a full request, 1 where none is enough; SGLang's hangs
    on the others'."""
    if rig.services[name].engine != "vllm":
        return STEP

    def holds(steps: int) -> bool:
        return _fits(_with_shares(rig, {name: steps * STEP}), name, replace(facts, sized={}))

    low, high = 0, floor(asked / STEP + 1e-6)
    if not _fits(rig, name, facts):
        low, high = high, floor(MOST / STEP + 1e-6)
        if not holds(high):
            return 1.0
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    return high * STEP


def _with_shares(rig: Rig, shares: Mapping[str, float]) -> Rig:
    services = {
        name: service.model_copy(update={"gpu_memory_fraction": shares[name]})
        if name in shares
        else service
        for name, service in rig.services.items()
    }
    return rig.model_copy(update={"services": services})


def _fits(rig: Rig, name: str, facts: CheckContext) -> bool:
    """Whether it is known to hold a full request, at the expected figures."""
    sized = sized_once(rig, name, facts) if facts.models else None
    if sized is None:
        return False
    from rigspec.sizing.remedy import fits

    return fits(sized.memory)


def judged_apart(rig: Rig, names: tuple[str, ...], facts: CheckContext) -> bool:
    """Whether all are SGLang's and of known models: each takes a share of what the others leave, so
    that none takes what is not there, and `memory.fits` says whether what it takes is enough."""
    if any(rig.services[name].engine != "sglang" for name in names):
        return False
    return all(facts.models and sized_once(rig, name, facts) for name in names)


def contexts_share(rig: Rig, names: tuple[str, ...], member: str, facts: CheckContext) -> float:
    """The share that the contexts of these processes take of a card at least; 0 where no vLLM is
    among them, which alone asks for its share before it takes anything."""
    card = facts.gpu(rig, member)
    if card is None or all(rig.services[name].engine != "vllm" for name in names):
        return 0.0
    from rigspec.sizing.cards import visible_gib
    from rigspec.sizing.from_spec import settings_of
    from rigspec.sizing.vllm import context_overhead

    taken = sum(context_overhead(settings_of(rig, name)).low for name in names)
    return taken / visible_gib(card.memory_mib).value


def portions(rig: Rig, names: tuple[str, ...], member: str, facts: CheckContext) -> list[float]:
    """What each takes of a card at most: SGLang its share of what the ones before leave, which is
    most while the others have not started."""
    return _taken(rig, {name: _fraction(rig, name, member, facts) for name in names})


def _taken(rig: Rig, shares: Mapping[str, float]) -> list[float]:
    mixed = any(rig.services[name].engine != "sglang" for name in shares)
    left, found = 1.0, []
    for name, share in shares.items():
        of_rest = mixed and rig.services[name].engine == "sglang"
        found.append(round(share * left, 4) if of_rest else share)
        left -= found[-1] if of_rest else 0.0
    return found


def _fraction(rig: Rig, name: str, member: str, facts: CheckContext) -> float:
    """The share an engine takes; 0 where it is not known."""
    service = rig.services[name]
    if service.gpu_memory_fraction is not None:
        return service.gpu_memory_fraction
    if service.engine == "llama_cpp":
        return _least_share(rig, name, member, facts)
    return VLLM_FRACTION if service.engine == "vllm" else 0.0


def _least_share(rig: Rig, name: str, member: str, facts: CheckContext) -> float:
    """What llama.cpp's weights and the cache of a set context take at least of a card, where it is
    the first to start."""
    card = facts.gpu(rig, member)
    known = facts.models and card is not None and not off_cards(rig, name, facts)
    if not known or rig.services[name].context_length is None:
        return 0.0
    from rigspec.sizing.from_spec import catalog_of
    from rigspec.sizing.neighbours import of_llama_cpp

    found = of_llama_cpp(rig, name, member, facts.models, catalog_of(facts.catalog))
    if found is None or found.needed is None:
        return 0.0
    *terms, _ = found.terms
    taken = sum(term.amount.low for term in terms) + found.needed.low
    return round(taken / found.asked.card.total.high, 2)
