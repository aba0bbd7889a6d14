"""What a model server answers: models, completions, streams, metrics; any engine, any error."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from rigspec.frozen import dataclass
from rigspec.observed.containers import load_json
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import ABSENT, EXIT, trouble
from rigspec.observed.text import clean_lines, ends_open

HTTP_MARK = "##RIG-HTTP "

_CURL_EXITS = {"6": "host name unknown", "7": "connection refused", "28": "no answer in time"}
"""Exit codes of curl(1) that say something about the server."""


@dataclass(frozen=True)
class HttpAnswer(Record):
    """One answer as our probe prints it: status, seconds, body."""

    status: Reading[int]
    seconds: Reading[float]
    body: tuple[str, ...]


def parse_http(lines: Iterable[str]) -> HttpAnswer:
    """A section of an `http_*` probe: the body, then `##RIG-HTTP status seconds`."""
    said = clean_lines(lines)
    body = tuple(line for line in said if not line.startswith("##RIG"))
    mark = next((line for line in said if line.startswith(HTTP_MARK)), None)
    words = mark.split() if mark else []
    if len(words) == 3 and words[1].isdecimal() and words[1] != "000":
        return HttpAnswer(int(words[1]), _seconds(words[2]), body)
    return HttpAnswer(_no_answer(said), Unknown("no answer"), body)


def _seconds(word: str) -> Reading[float]:
    try:
        return float(word)
    except ValueError:
        return Unknown("not a number", word)


def _no_answer(said: list[str]) -> Unknown:
    words = [line for line in said if line.strip() and not line.startswith("##RIG")]
    for line in said:
        if line.startswith(EXIT):
            code = line[len(EXIT) :].split()[0]
            reason = _CURL_EXITS.get(code, f"curl ended with {code}")
            return Unknown(reason, words[-1] if words else "")
        if line.startswith(ABSENT):
            return trouble([line]) or Unknown("absent", line)
    return Unknown("no answer was printed")


@dataclass(frozen=True)
class ServedModel(Record):
    """One entry of `/v1/models`."""

    id: str
    max_model_len: Reading[int]
    """Tokens; vLLM and SGLang say it, llama.cpp as `meta.n_ctx`."""


def _error(value: Any) -> Unknown | None:
    """The message of an error answer, in the three shapes engines use."""
    if not isinstance(value, dict):
        return Unknown("answer is no JSON object", str(value)[:120])
    error = value.get("error") or value.get("detail")
    if error is None and value.get("object") == "error":
        error = value
    if error is None:
        return None
    message = error.get("message") if isinstance(error, dict) else error
    return Unknown(str(message), json.dumps(value)[:300])


def parse_models(text: str | Iterable[str]) -> Reading[tuple[ServedModel, ...]]:
    """`GET /v1/models`."""
    value = load_json(text)
    if isinstance(value, Unknown):
        return value
    if problem := _error(value):
        return problem
    entries = value.get("data")
    if not isinstance(entries, list):
        return Unknown("answer has no `data`")
    return tuple(
        ServedModel(str(entry.get("id", "")), _length(entry))
        for entry in entries
        if isinstance(entry, dict)
    )


def _length(entry: Mapping[str, Any]) -> Reading[int]:
    """What is served; `meta.n_ctx_train` is what the model was trained for."""
    meta = entry.get("meta")
    for holder, key in ((entry, "max_model_len"), (meta, "n_ctx")):
        value = holder.get(key) if isinstance(holder, dict) else None
        if isinstance(value, int):
            return value
    return Unknown("the engine does not say its context length")


@dataclass(frozen=True)
class Completion(Record):
    """One completion, from an answer in one piece or from a stream."""

    text: str
    reasoning: str
    finish_reason: Reading[str]
    prompt_tokens: Reading[int]
    completion_tokens: Reading[int]
    tool_calls: tuple[str, ...]
    """Names of the functions called."""
    pieces: int
    """Chunks with content; 1 for an answer in one piece."""
    complete: bool
    """False for a stream that ended without `[DONE]`."""


def parse_completion(text: str | Iterable[str]) -> Reading[Completion]:
    """`/v1/chat/completions` or `/v1/completions`, not streamed."""
    value = load_json(text)
    if isinstance(value, Unknown):
        return value
    if problem := _error(value):
        return problem
    choice = _choice(value)
    if choice is None:
        return Unknown("answer has no `choices`", json.dumps(value)[:200])
    words, reasoning, calls = _content(choice.get("message") or choice)
    return Completion(
        words,
        reasoning,
        _text(choice.get("finish_reason"), "no finish reason"),
        *_usage(value),
        tool_calls=calls,
        pieces=1,
        complete=True,
    )


def _choice(value: Any) -> dict[str, Any] | None:
    choices = value.get("choices") if isinstance(value, dict) else None
    first = choices[0] if isinstance(choices, list) and choices else None
    return first if isinstance(first, dict) else None


def _content(message: Mapping[str, Any]) -> tuple[str, str, tuple[str, ...]]:
    words = message.get("content") or message.get("text") or ""
    reasoning = message.get("reasoning_content") or message.get("reasoning") or ""
    calls = message.get("tool_calls") or ()
    functions = (c.get("function") for c in calls if isinstance(c, dict))
    names = tuple(str(f["name"]) for f in functions if isinstance(f, dict) and f.get("name"))
    return str(words), str(reasoning), names


def _text(value: Any, otherwise: str) -> Reading[str]:
    return value if isinstance(value, str) and value else Unknown(otherwise)


def _usage(value: Mapping[str, Any]) -> tuple[Reading[int], Reading[int]]:
    usage = value.get("usage")
    numbers = usage if isinstance(usage, dict) else {}
    none = Unknown("no usage in the answer")
    prompt, completion = numbers.get("prompt_tokens"), numbers.get("completion_tokens")
    return (
        prompt if isinstance(prompt, int) else none,
        completion if isinstance(completion, int) else none,
    )


def parse_stream(text: str | Iterable[str]) -> Reading[Completion]:
    """Server-sent events of a streamed completion; a cut stream keeps what came."""
    events, done, problem = _events(text)
    words, reasoning, pieces = "", "", 0
    calls: tuple[str, ...] = ()
    finish: Reading[str] = Unknown("the stream ended without a finish reason")
    usage: tuple[Reading[int], Reading[int]] = (Unknown("no usage"), Unknown("no usage"))
    for event in events:
        choice = _choice(event)
        if isinstance(event.get("usage"), dict):
            usage = _usage(event)
        if choice is None:
            continue
        piece, thought, called = _content(choice.get("delta") or choice)
        words, reasoning, calls = words + piece, reasoning + thought, calls + called
        pieces += bool(piece or thought or called)
        if isinstance(choice.get("finish_reason"), str):
            finish = choice["finish_reason"]
    if problem and not pieces:
        return problem
    if not events:
        return Unknown("no event in the stream")
    return Completion(words, reasoning, finish, *usage, calls, pieces, done)


def _events(text: str | Iterable[str]) -> tuple[list[dict[str, Any]], bool, Unknown | None]:
    found, done, problem = [], False, None
    lines = clean_lines(text)
    for line in lines:
        field, _, data = line.partition(":")
        if field == "data" and data.strip() == "[DONE]":
            done = True
        elif field in {"data", "error"}:
            value = load_json(data)
            if isinstance(value, Unknown):
                continue  # a line cut in its middle
            problem = problem or _error(value)
            found += [value] if isinstance(value, dict) else []
    if not found and any(line.lstrip().startswith("{") for line in lines):
        value = load_json(lines)
        problem = value if isinstance(value, Unknown) else _error(value)
    return found, done, problem


@dataclass(frozen=True)
class Sample(Record):
    """One sample of a Prometheus text."""

    name: str
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class Metrics(Record):
    """All samples of `/metrics`."""

    samples: tuple[Sample, ...]

    def total(self, *names: str) -> Reading[float]:
        """Sum over all labels of the first metric that is there (older names after newer).

        Ranks of one tensor-parallel group all count the same requests: SGLang can print each.
        """
        for name in names:
            wanted, values = (
                {name, name.replace(":", "_")},
                dict[tuple[tuple[str, str], ...], float](),
            )
            for sample in self.samples:
                if sample.name.removeprefix("ray_") in wanted:  # vLLM below Ray Serve
                    labels = tuple(sorted(i for i in sample.labels.items() if i[0] != "tp_rank"))
                    values[labels] = max(sample.value, values.get(labels, sample.value))
            if values:
                return sum(values.values())
        return Unknown(f"no metric `{names[0]}`")


_SAMPLE = re.compile(
    r"^([a-zA-Z_:][\w:]*)(?:\{((?:[^\"}]|\"(?:[^\"\\]|\\.)*\")*)\})?"
    r"\s+(\S+)(?:\s+[\d.]+)?(?:\s+# .*)?$"
)
"""Name, labels, value, time; OpenMetrics puts an exemplar behind `#`."""
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def parse_metrics(text: str | Iterable[str]) -> Reading[Metrics]:
    """The Prometheus text format; NaN samples are left out."""
    samples = []
    lines = bare_lines(text)
    for line in lines[:-1] if ends_open(text) else lines:  # the last value may be half of one
        match = _SAMPLE.match(line.rstrip())
        if match is None or line.startswith("#"):
            continue
        value = _seconds(match.group(3))
        if isinstance(value, float) and value == value:
            labels = dict(_LABEL.findall(match.group(2) or ""))
            samples.append(Sample(match.group(1), labels, value))
    return Metrics(tuple(samples)) if samples else Unknown("no metric in the answer")
