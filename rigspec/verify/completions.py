"""Completions: tokens come, streamed too, and end where they are told to."""

from __future__ import annotations

from rigspec.observed.endpoint import Completion
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import ServicePlan
from rigspec.verify.advice import look_at, restart
from rigspec.verify.observation import Answers
from rigspec.verify.verdict import Check, Verdict

STOPPED_TOKENS = 16
"""What the question with a stop sequence may cost at most."""
NO_ANSWER, NO_TOKEN = "no answer in time", "`token` is absent"
"""Reasons in an unknown answer: curl's time ran out; not asked, for it ran out before."""
_NO_CHAT = ("does not support chat", "chat completions api", "not found", "not support")


def silence(why: Unknown) -> str:
    """The reason of a row whose question got nothing that can be used."""
    return f"no usable answer: {why.reason}"


def _frozen(said: Answers) -> str:
    if isinstance(said.models, Unknown):
        return "no token came within the time limit, and the list of models does not answer either"
    return (
        "the port is open and lists its models, but no token came within the time limit: the "
        "engine is frozen"
    )


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
            return check.failed("no token", _frozen(said), restart(plan.unit))
        return check.failed(answer.line[:120], silence(answer), look_at(plan.unit))
    text = (answer.text or answer.reasoning).strip()
    if not text:
        return check.failed("an empty answer", "no token came", look_at(plan.unit))
    tokens, seconds = known(answer.completion_tokens), known(said.seconds)
    found = f"{tokens or '?'} tokens in {seconds:.1f} s" if seconds else f"{tokens or '?'} tokens"
    if _is_noise(text):
        return check.failed(
            f"{found}: {text[:40]!r}",
            "one token over and over: wrong peer-to-peer data, or a broken KV cache type",
            "try NCCL_P2P_DISABLE=1 in `environment`, or another `kv_cache_dtype`",
        )
    if isinstance(answer.finish_reason, Unknown):
        return check.failed(found, "it has no finish reason", look_at(plan.unit))
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
    return check.failed(answer.line[:120], silence(answer), look_at(plan.unit))


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
        return check.failed(found, "no piece with text came", look_at(plan.unit))
    if isinstance(answer.finish_reason, Unknown) or not answer.complete:
        return check.failed(found, "the stream broke off", look_at(plan.unit))
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
        return check.failed(found, "it does not say why it ended", look_at(plan.unit))
    return check.passed(found)
