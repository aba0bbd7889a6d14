"""The pace of a server against the rig's own accepted baseline, never against other machines'."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from statistics import median, stdev

from rigspec.frozen import dataclass
from rigspec.observed.pace import PaceRun
from rigspec.observed.record import Reading, Unknown, plain
from rigspec.verify.from_json import WrongShape, read_as
from rigspec.verify.verdict import Check, Verdict

FORMAT, VERSION = "rigspec-pace", 1
LEAST_STARTS = 2
"""One start tells no spread."""
TIGHTEST = 0.10
"""Share of the median: identical starts of one image differ by 4 to 6 %."""
WIDEST = 0.40
"""A baseline whose three spreads reach so far would pass half the speed."""
HICCUP_S = 0.1
"""A first token may be late by this much for reasons of the host, whatever the baseline."""


@dataclass(frozen=True)
class Baseline:
    """Medians over starts of each start's median; spreads are standard deviations."""

    starts: int
    tokens_per_s: float
    tokens_per_s_spread: float
    ttft_s: float
    ttft_s_spread: float

    @property
    def floor(self) -> float:
        """Tokens per second below which a server is slow."""
        return min(
            self.tokens_per_s - 3 * self.tokens_per_s_spread, self.tokens_per_s * (1 - TIGHTEST)
        )

    @property
    def latest_first_token_s(self) -> float:
        """Seconds after which a first token is late."""
        return max(
            self.ttft_s + 3 * self.ttft_s_spread,
            self.ttft_s * (1 + TIGHTEST),
            self.ttft_s + HICCUP_S,
        )


@dataclass(frozen=True)
class Measured:
    """Runs by start by service, as they were measured for one rig and plan (UTC, ISO 8601)."""

    rig: str
    plan_digest: str
    measured_at: str
    services: Mapping[str, tuple[Reading[tuple[PaceRun, ...]], ...]]


def measured_to_json(measured: Measured) -> str:
    """The text of the file."""
    head = {"format": FORMAT, "version": VERSION}
    return json.dumps(head | plain(measured), indent=1) + "\n"


def measured_from_json(text: str) -> Measured:
    """The file read back; WrongShape says what is not as it must be."""
    try:
        data = json.loads(text)
    except ValueError as problem:
        raise WrongShape(f"no JSON: {problem}", hint="measure again") from problem
    if not isinstance(data, dict) or (data.get("format"), data.get("version")) != (FORMAT, VERSION):
        raise WrongShape("no measured pace of this version", hint="measure again")
    found = read_as(Measured, {k: v for k, v in data.items() if k not in {"format", "version"}})
    assert isinstance(found, Measured)  # noqa: S101 - for the type checker
    return found


def speed_of(runs: Iterable[PaceRun]) -> tuple[float, float]:
    """Median tokens per second and median seconds to the first token of one start's runs."""
    runs = tuple(runs)
    return median(run.tokens_per_s for run in runs), median(run.ttft_s for run in runs)


def baseline_of(starts: Iterable[Reading[tuple[PaceRun, ...]]]) -> Baseline | Unknown:
    """The baseline out of several starts; unknown when one failed or they differ too much."""
    speeds = []
    for runs in starts:
        if isinstance(runs, Unknown):
            return runs
        speeds.append(speed_of(runs))
    if len(speeds) < LEAST_STARTS:
        return Unknown(f"{len(speeds)} start tells no spread")
    rates, firsts = [rate for rate, _ in speeds], [first for _, first in speeds]
    found = Baseline(
        len(speeds),
        round(median(rates), 2),
        round(stdev(rates), 3),
        round(median(firsts), 4),
        round(stdev(firsts), 4),
    )
    if found.floor < found.tokens_per_s * (1 - WIDEST):
        said = ", ".join(f"{rate:.1f}" for rate in rates)
        return Unknown(f"the starts differ too much ({said} tok/s): is something else running?")
    return found


def verify_pace(
    measured: Mapping[str, Reading[tuple[PaceRun, ...]]], baselines: Mapping[str, Baseline]
) -> Iterator[Verdict]:
    """Two rows per service that was measured."""
    for name, runs in measured.items():
        yield rate(name, runs, baselines.get(name))
        yield first_token(name, runs, baselines.get(name))


_NO_BASELINE = "no accepted baseline yet: `rigspec baseline SPEC` measures one"
_SLOW = (
    "look at: nvidia-smi -q -d PERFORMANCE,TEMPERATURE,POWER; `rigspec drift SPEC`; "
    "after a wanted change: `rigspec baseline SPEC`"
)


def rate(name: str, runs: Reading[tuple[PaceRun, ...]], baseline: Baseline | None) -> Verdict:
    """Tokens per second: at least the baseline's floor."""
    expected = "" if baseline is None else f"at least {baseline.floor:.1f} tok/s"
    check = Check(f"service.pace.{name}", f"{name}: tokens per second", "streams", expected)
    if isinstance(runs, Unknown):
        return check.unknown(runs)
    found = f"{speed_of(runs)[0]:.1f} tok/s"
    if baseline is None:
        return check.not_applicable(_NO_BASELINE, found)
    if speed_of(runs)[0] >= baseline.floor:
        return check.passed(found)
    share = 1 - speed_of(runs)[0] / baseline.tokens_per_s
    return check.failed(
        found, f"{share:.0%} slower than the accepted {baseline.tokens_per_s:.1f} tok/s", _SLOW
    )


def first_token(
    name: str, runs: Reading[tuple[PaceRun, ...]], baseline: Baseline | None
) -> Verdict:
    """Seconds to the first token: at most the baseline's limit."""
    expected = "" if baseline is None else f"within {baseline.latest_first_token_s:.2f} s"
    check = Check(f"service.ttft.{name}", f"{name}: time to first token", "streams", expected)
    if isinstance(runs, Unknown):
        return check.unknown(runs)
    found = f"{speed_of(runs)[1]:.2f} s"
    if baseline is None:
        return check.not_applicable(_NO_BASELINE, found)
    if speed_of(runs)[1] <= baseline.latest_first_token_s:
        return check.passed(found)
    return check.failed(found, f"the accepted one is {baseline.ttft_s:.2f} s", _SLOW)
