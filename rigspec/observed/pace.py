"""How fast a server answers: time to the first token and tokens per second, run by run."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.endpoint import parse_stream
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section

_TIME = re.compile(r"^at (start|first|end) (\d{16,20})$")
_NS = 1_000_000_000


@dataclass(frozen=True)
class PaceRun(Record):
    """One streamed completion."""

    ttft_s: float
    """Seconds from the request to the first piece with text."""
    tokens: int
    seconds: float
    """From the first piece to the end of the stream."""

    @property
    def tokens_per_s(self) -> float:
        """Decoding speed: the first token's time belongs to the prompt."""
        return (self.tokens - 1) / self.seconds


def parse_pace(sections: Mapping[str, Sequence[str]], name: str) -> Reading[tuple[PaceRun, ...]]:
    """The section of one service: `run`, times in ns, and the stream's last events, per run."""
    lines = section(sections, name)
    if isinstance(lines, Unknown):
        return lines
    blocks: list[list[str]] = []
    for line in lines:
        if line == "run":
            blocks.append([])
        elif blocks:
            blocks[-1].append(line)
    runs = [_run(block) for block in blocks]
    bad = next((run for run in runs if isinstance(run, Unknown)), None)
    if bad is not None or not runs:
        return bad or Unknown("no run was printed", next(iter(lines), ""))
    return tuple(run for run in runs if isinstance(run, PaceRun))


def _run(block: Sequence[str]) -> PaceRun | Unknown:
    times = {m.group(1): int(m.group(2)) for line in block if (m := _TIME.match(line))}
    said = next((line for line in block if line.strip() and not _TIME.match(line)), "")
    if "first" not in times:
        return Unknown("no piece with text came", said[:200])
    stream = parse_stream(block)
    if isinstance(stream, Unknown) or not stream.complete:
        reason = stream.reason if isinstance(stream, Unknown) else "the stream broke off"
        return Unknown(reason, said[:200])
    if isinstance(stream.completion_tokens, Unknown):
        return Unknown("the stream does not count its tokens", said[:200])
    seconds = (times.get("end", 0) - times["first"]) / _NS
    if seconds <= 0 or stream.completion_tokens < 2:
        return Unknown(f"{stream.completion_tokens} tokens in {seconds:.3f} s tell no speed", said)
    ttft = (times["first"] - times.get("start", 0)) / _NS
    return PaceRun(round(ttft, 4), stream.completion_tokens, round(seconds, 4))
