"""Services: a real completion, streamed too, under the served name, behind its key."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rigspec.observed.endpoint import Completion
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.units import displaced, is_active
from rigspec.verify.verdict import Check, Verdict, listed

_NO_CHAT = ("does not support chat", "chat completions api", "not found", "not support")


def verify_services(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about services."""
    away = displaced(plan.services, partial(is_active, seen))
    for service in plan.services:
        check = Check(f"service.answers.{service.name}", f"{service.name} answers", "curl")
        if service.unit in away:
            yield check.not_applicable(f"{away[service.unit]} runs in its place")
        elif service.name in seen.answers:
            yield from verify_service(service, seen.answers[service.name], seen)
        elif not service.at_boot:
            yield check.not_applicable("not running by plan")
        else:
            yield check.unknown("it was not asked")


def verify_service(plan: ServicePlan, said: Answers, seen: Observation) -> Iterator[Verdict]:
    """The rows of one running service."""
    yield served_name(plan, said)
    yield completion(plan, said)
    yield stream(plan, said)
    yield key_required(plan, said)
    yield container_cards(plan, said, seen)


def served_name(plan: ServicePlan, said: Answers) -> Verdict:
    """/v1/models lists every served name."""
    check = Check(
        f"service.models.{plan.name}",
        f"{plan.name}: served names",
        "GET /v1/models",
        listed(plan.served_names),
    )
    if isinstance(said.models, Unknown):
        return check.failed(said.models.line, _silence(said.models), _look(plan))
    found = [model.id for model in said.models]
    missing = [name for name in plan.served_names if name not in found]
    if not missing:
        return check.passed(listed(found))
    return check.failed(
        listed(found), f"it does not serve {listed(missing)}", f"restart {plan.unit}"
    )


def _silence(why: Unknown) -> str:
    return f"no usable answer: {why.reason}"


def _look(plan: ServicePlan) -> str:
    return f"look at: systemctl status {plan.unit}; journalctl -b -u {plan.unit}"


def _no_chat(answer: Reading[Completion]) -> bool:
    """Whether the engine says that this model does not chat (speech, embeddings)."""
    if not isinstance(answer, Unknown):
        return False
    return any(word in answer.reason.lower() for word in _NO_CHAT)


def completion(plan: ServicePlan, said: Answers) -> Verdict:
    """A completion with tokens: a listed model can still be dead."""
    check = Check(
        f"service.completion.{plan.name}",
        f"{plan.name}: completion",
        "POST /v1/chat/completions",
        "tokens and a finish reason",
    )
    answer = said.completion
    if isinstance(answer, Unknown):
        if _no_chat(answer):
            return check.not_applicable(f"the model does not chat: {answer.reason}")
        return check.failed(answer.line[:120], _silence(answer), _look(plan))
    text = (answer.text or answer.reasoning).strip()
    if not text:
        return check.failed("an empty answer", "no token came", _look(plan))
    tokens, seconds = known(answer.completion_tokens), known(said.seconds)
    found = f"{tokens or '?'} tokens in {seconds:.1f} s" if seconds else f"{tokens or '?'} tokens"
    if _is_noise(text):
        return check.failed(
            f"{found}: {text[:40]!r}",
            "one token over and over: wrong peer-to-peer data, or a broken KV cache type",
            "try NCCL_P2P_DISABLE=1 in `environment`, or another `kv_cache_dtype`",
        )
    if isinstance(answer.finish_reason, Unknown):
        return check.failed(found, "it has no finish reason", _look(plan))
    return check.passed(f"{found}, ended by {answer.finish_reason}")


def _is_noise(text: str) -> bool:
    """A long answer of one character or one word says that the numbers are wrong."""
    words = text.split()
    return len(text) >= 16 and (len(set(text)) == 1 or (len(words) >= 12 and len(set(words)) == 1))


def stream(plan: ServicePlan, said: Answers) -> Verdict:
    """Streaming: at least one piece, a finish reason, and the closing mark."""
    check = Check(
        f"service.stream.{plan.name}",
        f"{plan.name}: streaming",
        "POST /v1/chat/completions, stream",
        "pieces and [DONE]",
    )
    answer = said.stream
    if isinstance(answer, Unknown):
        if _no_chat(answer):
            return check.not_applicable(f"the model does not chat: {answer.reason}")
        return check.failed(answer.line[:120], _silence(answer), _look(plan))
    found = f"{answer.pieces} pieces"
    if not answer.pieces:
        return check.failed(found, "no piece with text came", _look(plan))
    if isinstance(answer.finish_reason, Unknown) or not answer.complete:
        return check.failed(found, "the stream broke off", _look(plan))
    return check.passed(f"{found}, ended by {answer.finish_reason}")


def key_required(plan: ServicePlan, said: Answers) -> Verdict:
    """Without the key, nothing."""
    check = Check(
        f"service.key.{plan.name}",
        f"{plan.name}: key required",
        "GET /v1/models without key",
        "401",
    )
    if not plan.secret_path:
        return check.not_applicable(f"no key is planned; it listens on {plan.listen_address}")
    if said.without_key is None:
        return check.unknown("it was not asked")
    status = said.without_key.status
    if isinstance(status, Unknown):
        return check.unknown(status)
    if status in {401, 403}:
        return check.passed(str(status))
    return check.failed(
        str(status),
        "anybody who reaches the port is served",
        f"look at: {plan.secret_path}; restart {plan.unit}",
    )


def container_cards(plan: ServicePlan, said: Answers, seen: Observation) -> Verdict:
    """The running container sees its cards, also after systemd was reloaded."""
    wanted = [card.uuid for member in plan.gpus if (card := seen.bound.get(member))]
    check = Check(
        f"service.cards.{plan.name}",
        f"{plan.name}: cards in its container",
        "nvidia-smi -L in the container",
        f"{len(plan.gpus)} cards",
    )
    if isinstance(said.cards, Unknown):
        return check.unknown(said.cards)
    if len(wanted) < len(plan.gpus):
        return check.unknown("not every member is bound")
    missing = [uuid for uuid in wanted if uuid not in said.cards]
    more = [uuid for uuid in said.cards if uuid not in wanted]
    if not missing and not more:
        return check.passed(f"{len(wanted)} cards")
    if missing:
        return check.failed(
            f"{len(said.cards)} cards, without {listed(missing)}",
            "the container has lost its devices, or was given others",
            f"systemctl restart {plan.unit}",
        )
    return check.failed(f"also {listed(more)}", "it sees cards that are not its own", _look(plan))
