"""Probes of the smoke test: what a service answers, asked on the rig itself.

Keys never stand in an argument list: the header is made from the root-only file, in a pipe.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Sequence

from rigspec.facts.base import Sections
from rigspec.facts.exposure import routes_text
from rigspec.observed.containers import load_json
from rigspec.observed.endpoint import (
    Completion,
    HttpAnswer,
    ServedModel,
    parse_completion,
    parse_http,
    parse_models,
    parse_stream,
)
from rigspec.observed.exposure import parse_container_image, parse_routes, parse_slot_context
from rigspec.observed.nvidia_smi_log import parse_smi_list
from rigspec.observed.probes import Probe
from rigspec.observed.record import Reading, Unknown, known
from rigspec.observed.sections import section, trouble
from rigspec.plan.asking import header_program, url_of
from rigspec.plan.sections import ServicePlan, SmokePlan
from rigspec.verify.completions import STOPPED_TOKENS
from rigspec.verify.observation import Answers

STREAM_TOKENS = STOPPED_TOKENS
"""Enough to see pieces arrive; the completion before it measures a whole answer."""

STOP_WORD = " "
"""A stop sequence that every language written with blanks meets after a word or two."""

_EXEC_LIMIT_S = 20
_ASLEEP = "##RIG-ABSENT unit"
"""Printed instead of an answer by a service that does not run, and need not."""
_FROZEN = "##RIG-ABSENT token"
"""Printed instead of an answer by a service that let the question before run out of time."""
_MARK = r"\n##RIG-HTTP %{http_code} %{time_total}\n"


def header_pipe(service: ServicePlan) -> str:
    """Shell text that prints the key's header line; empty where no key is planned."""
    if not service.secret_path:
        return ""
    program = shlex.quote(header_program(service.secret_line))
    return f"sed {program} {shlex.quote(service.secret_path)} | "


def ask(service: ServicePlan, path: str, limit_s: int, body: dict[str, object] | None) -> str:
    """One request with the key, status and seconds behind the body."""
    words = ["curl", "-sS", "-N", "-m", str(limit_s), "-w", _MARK]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "--data-binary", json.dumps(body)]
    pipe = header_pipe(service)
    if pipe:
        words += ["-H", "@-"]
    return (
        f"{pipe}{shlex.join([*words, url_of(service, path)])} 2>&1\n"
        "rig_code=$?; rig_end $rig_code curl\n"
    )


def smoke_probes(service: ServicePlan, smoke: SmokePlan, engine: str) -> Iterator[Probe]:
    """All questions to one service; one that is not running by plan is asked only if it runs."""
    probes = tuple(_questions(service, smoke, engine))
    if service.at_boot:
        yield from probes
        return
    first, *rest = probes
    asleep = f"systemctl -q is-active {service.unit} || {{ echo '{_ASLEEP}'; exit 0; }}\n"
    # one shell, so that its unit is asked for once
    yield Probe(first.name, asleep + first.text + "".join(_further(p.name, p.text) for p in rest))


def _further(name: str, text: str) -> str:
    """Shell text of a section of its own within another's shell."""
    return f"printf '\\n##RIG-END\\n##RIG {name}\\n'\n{text}"


def _questions(service: ServicePlan, smoke: SmokePlan, engine: str) -> Iterator[Probe]:
    guard = "rig_has curl || exit 0\n"
    yield Probe(f"models-{service.name}", guard + ask(service, "/v1/models", 30, None))
    yield Probe(f"completion-{service.name}", guard + _chats(service, smoke))
    if service.engine == "llama_cpp":
        yield Probe(f"props-{service.name}", guard + ask(service, "/props", 30, None))
    if service.secret_path:
        bare = shlex.join(["curl", "-sS", "-m", "30", "-w", _MARK, url_of(service)])
        yield Probe(f"nokey-{service.name}", f"{guard}{bare} 2>&1\nrig_end $? curl\n")
        routes = routes_text(service, url_of(service, ""), header_pipe(service))
        yield Probe(f"routes-{service.name}", guard + routes)
    container, image = shlex.quote(service.container), shlex.quote(service.image)
    limited = f"rig_try {_EXEC_LIMIT_S} {engine}"
    yield Probe(f"cards-{service.name}", f"{limited} exec {container} nvidia-smi -L\n")
    yield Probe(
        f"image-{service.name}",
        f"{limited} container inspect --format 'running {{{{.Image}}}}' {container}\n"
        f"{limited} image inspect --format 'planned {{{{.Id}}}}' {image}\n",
    )


def _chats(service: ServicePlan, smoke: SmokePlan) -> str:
    """A whole answer, a streamed one, one that must stop: sections of their own in one shell, so
    that a frozen engine is waited for once."""
    chat: dict[str, object] = {
        "model": service.served_names[0],
        "messages": [{"role": "user", "content": smoke.prompt}],
        "temperature": 0,
        "max_tokens": smoke.max_tokens,
    }
    streamed = chat | {"stream": True, "max_tokens": min(smoke.max_tokens, STREAM_TOKENS)}
    stopped = chat | {"stop": [STOP_WORD], "max_tokens": STOPPED_TOKENS}
    path, limit = "/v1/chat/completions", smoke.timeout_s
    text = ask(service, path, limit, chat)
    for name, body in (("stream", streamed), ("stop", stopped)):
        asked = f"if [ $rig_code -eq 28 ]; then echo '{_FROZEN}'; else\n"
        asked += ask(service, path, limit, body) + "fi\n"
        text += _further(f"{name}-{service.name}", asked)
    return text


def parse_answers(sections: Sections, service: ServicePlan) -> Answers | None:
    """What the service said; None when it was not asked because it does not run by plan."""
    models = parse_http(sections.get(f"models-{service.name}", ()))
    if any(line == _ASLEEP for line in sections.get(f"models-{service.name}", ())):
        return None
    completed = parse_http(sections.get(f"completion-{service.name}", ()))
    streamed = parse_http(sections.get(f"stream-{service.name}", ()))
    nokey = sections.get(f"nokey-{service.name}")
    return Answers(
        models=_models(models),
        without_key=parse_http(nokey) if nokey is not None else None,
        completion=_completion(completed),
        stream=_stream(streamed),
        stopped=_completion(parse_http(sections.get(f"stop-{service.name}", ()))),
        slot_context=_slot_context(sections.get(f"props-{service.name}")),
        routes=parse_routes(sections, f"routes-{service.name}"),
        image=parse_container_image(sections, f"image-{service.name}"),
        seconds=completed.seconds,
        cards=_cards(sections, service),
    )


def _models(answer: HttpAnswer) -> Reading[tuple[ServedModel, ...]]:
    return answer.status if isinstance(answer.status, Unknown) else parse_models(answer.body)


def _completion(answer: HttpAnswer) -> Reading[Completion]:
    return answer.status if isinstance(answer.status, Unknown) else parse_completion(answer.body)


def _stream(answer: HttpAnswer) -> Reading[Completion]:
    return answer.status if isinstance(answer.status, Unknown) else parse_stream(answer.body)


def _slot_context(lines: Sequence[str] | None) -> Reading[int] | None:
    if lines is None:
        return None
    answer = parse_http(lines)
    if isinstance(answer.status, Unknown):
        return answer.status
    value = load_json(answer.body)
    return value if isinstance(value, Unknown) else parse_slot_context(value)


def _cards(sections: Sections, service: ServicePlan) -> Reading[tuple[str, ...]]:
    name = f"cards-{service.name}"
    lines = section(sections, name)
    if isinstance(lines, Unknown):
        return lines
    problem = trouble(sections.get(name, ()))
    if problem is not None:
        said = next((line for line in lines if line.strip()), "")
        return Unknown(problem.reason, said)
    listed = parse_smi_list(lines)
    found = known(listed)
    return tuple(card.uuid for card in found) if found is not None else Unknown("no list of cards")
