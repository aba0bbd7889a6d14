"""Services: a real completion, streamed too, under the served name, behind its key."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from rigspec.observed.endpoint import Completion
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.verify.exposure import verify_exposure
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.units import displaced, is_active
from rigspec.verify.verdict import Check, Verdict, listed

STOPPED_TOKENS = 16
"""What the question with a stop sequence may cost at most."""
NO_ANSWER, NO_TOKEN = "no answer in time", "`token` is absent"
"""Reasons in an unknown answer: curl's time ran out; not asked, for it ran out before."""
_NO_CHAT = ("does not support chat", "chat completions api", "not found", "not support")


def verify_services(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about services."""
    away = displaced(plan.services, partial(is_active, seen))
    for service in plan.services:
        if service.mounts:
            yield mounted(service, seen)
        check = Check(f"service.answers.{service.name}", f"{service.name} answers", "curl")
        if service.unit in away:
            yield check.not_applicable(f"{away[service.unit]} runs in its place")
        elif _is_down(service, seen):
            yield check.not_applicable(f"{service.unit} does not run: see its own row")
        elif service.name in seen.answers:
            yield from verify_service(service, seen.answers[service.name], seen)
        elif not service.at_boot:
            yield check.not_applicable("not running by plan")
        else:
            yield check.unknown("it was not asked")


def mounted(plan: ServicePlan, seen: Observation) -> Verdict:
    """What the spec mounts into it is on the host: a server that runs only fails when restarted."""
    check = Check(
        f"service.mounts.{plan.name}",
        f"{plan.name}: mounted files",
        "test -e",
        listed(plan.mounts),
        f"services.{plan.name}.mounts",
    )
    there = seen.upkeep.mounted
    if isinstance(there, Unknown):
        return check.unknown(there)
    if unread := [path for path in plan.mounts if path not in there]:
        return check.unknown(f"not asked for: {listed(unread)}")
    if gone := [path for path in plan.mounts if not there[path]]:
        return check.failed(
            f"absent: {listed(gone)}",
            "rigspec does not copy it, and the service refuses to start without it",
            "put it there again, or take it out of the spec",
        )
    return check.passed("there")


def _is_down(plan: ServicePlan, seen: Observation) -> bool:
    """Whether its unit, which is red for it, is known to be down, and nobody else answers there."""
    said = seen.answers.get(plan.name)
    unit = None if isinstance(seen.units, Unknown) else seen.units.get(plan.unit)
    down = unit is not None and unit.exists and not unit.active
    return plan.at_boot and down and said is not None and isinstance(said.models, Unknown)


def verify_service(plan: ServicePlan, said: Answers, seen: Observation) -> Iterator[Verdict]:
    """The rows of one running service."""
    yield served_name(plan, said)
    yield completion(plan, said)
    yield stream(plan, said)
    yield stop(plan, said)
    yield context(plan, said, simulated=seen.simulated)
    yield key_required(plan, said)
    yield from verify_exposure(plan, said, seen)
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


def _frozen(said: Answers) -> str:
    if isinstance(said.models, Unknown):
        return "no token came within the time limit, and the list of models does not answer either"
    return (
        "the port is open and lists its models, but no token came within the time limit: the "
        "engine is frozen"
    )


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
        if answer.reason == NO_ANSWER:
            return check.failed("no token", _frozen(said), _look(plan))
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


def _unanswered(check: Check, plan: ServicePlan, answer: Unknown) -> Verdict:
    """A question after the first: not asked of an engine that is frozen already."""
    if _no_chat(answer):
        return check.not_applicable(f"the model does not chat: {answer.reason}")
    if answer.reason == NO_TOKEN:
        return check.not_applicable("not asked: the completion before it got no token in time")
    return check.failed(answer.line[:120], _silence(answer), _look(plan))


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
        return _unanswered(check, plan, answer)
    found = f"{answer.pieces} pieces"
    if not answer.pieces:
        return check.failed(found, "no piece with text came", _look(plan))
    if isinstance(answer.finish_reason, Unknown) or not answer.complete:
        return check.failed(found, "the stream broke off", _look(plan))
    return check.passed(f"{found}, ended by {answer.finish_reason}")


def stop(plan: ServicePlan, said: Answers) -> Verdict:
    """A stop sequence ends the answer before it, and a token limit holds: agents rely on both."""
    check = Check(
        f"service.stop.{plan.name}",
        f"{plan.name}: stop",
        "POST /v1/chat/completions, stop at a blank, few tokens",
        f"ends before a blank or after {STOPPED_TOKENS} tokens",
    )
    answer = said.stopped
    if isinstance(answer, Unknown):
        return _unanswered(check, plan, answer)
    tokens, why = known(answer.completion_tokens), known(answer.finish_reason)
    found = f"{tokens if tokens is not None else '?'} tokens, ended by {why or '?'}"
    if " " in answer.text.strip() or " " in answer.reasoning.strip():
        text = (answer.reasoning or answer.text).strip()[:40]
        return check.failed(
            f"{found}: {text!r}", "the stop sequence is ignored", f"look at: image of {plan.name}"
        )
    if tokens is not None and tokens > STOPPED_TOKENS:
        return check.failed(found, "`max_tokens` is ignored", f"look at: image of {plan.name}")
    if why not in {"stop", "length"}:
        return check.failed(found, "it does not say why it ended", _look(plan))
    return check.passed(found)


def context(plan: ServicePlan, said: Answers, *, simulated: bool) -> Verdict:
    """The context the server claims is the planned one: clients cut their requests by it."""
    llama = plan.engine == "llama_cpp"
    check = Check(
        f"service.context.{plan.name}",
        f"{plan.name}: context length",
        "GET /props" if llama else "GET /v1/models",
        f"{plan.context_length} tokens" if plan.context_length else "",
    )
    if plan.context_length is None:
        return check.not_applicable("`context_length` names no number")
    if simulated:
        return check.not_applicable("the simulated engine has a context of its own")
    claimed = said.slot_context if llama else _claimed(plan, said)
    if claimed is None or isinstance(claimed, Unknown):
        return check.unknown(claimed or "it was not asked")
    # llama.cpp rounds a slot up to whole blocks of 256 tokens
    if plan.context_length <= claimed < plan.context_length + (256 if llama else 1):
        return check.passed(f"{claimed} tokens")
    return check.failed(
        f"{claimed} tokens", "it was started with another context length", f"restart {plan.unit}"
    )


def _claimed(plan: ServicePlan, said: Answers) -> Reading[int]:
    if isinstance(said.models, Unknown):
        return said.models
    mine = [model for model in said.models if model.id in plan.served_names]
    return mine[0].max_model_len if mine else Unknown("no served name of the plan is listed")


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
