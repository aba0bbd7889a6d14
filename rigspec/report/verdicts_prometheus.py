"""Verdicts as a text file for the node exporter's textfile collector.

Format: Prometheus text exposition format 0.0.4. Metric and label names are kept.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict
from datetime import datetime

from rigspec.report.judged import Judged, check_and_subject
from rigspec.verify.verdict import Outcome

Labels = dict[str, str]

_HELD = {Outcome.PASS: 1, Outcome.WARN: 1, Outcome.FAIL: 0, Outcome.UNKNOWN: 0}
"""Unknown is not green; what does not apply has no sample."""


def as_prometheus(judged: Judged) -> str:
    """Write it to NAME.prom beside, then rename: the collector may read at any moment."""
    return "".join(f"{line}\n" for line in _lines(judged))


def _lines(judged: Judged) -> Iterator[str]:
    rig = {"rig": judged.plan.rig}
    rows = [(v, rig | _labels(v.id)) for v in judged.verdicts]
    yield from _family(
        "rigspec_check",
        "1: the check passed (or warned), 0: it failed or could not be measured.",
        [(labels, _HELD[v.outcome]) for v, labels in rows if v.outcome in _HELD],
    )
    yield from _family(
        "rigspec_check_outcome",
        "1 for the outcome of the check, 0 for the others.",
        [(la | {"outcome": o.value}, int(v.outcome is o)) for v, la in rows for o in Outcome],
    )
    yield from _family(
        "rigspec_checks",
        "Number of checks by outcome.",
        [(rig | {"outcome": outcome.value}, n) for outcome, n in judged.counts.items()],
    )
    yield from _family(
        "rigspec_verify_exit_code",
        "0 as planned, 1 not as planned, 3 could not measure.",
        [(rig, judged.exit_code)],
    )
    yield from _family(
        "rigspec_simulated",
        "1: a virtual rig, whose GPUs, driver and engine are stand-ins.",
        [(rig, int(judged.simulated))],
    )
    yield from _family("rigspec_verify_info", "What was verified.", [(_info(judged), 1)])
    yield from _family(
        "rigspec_gpu_info",
        "Which card is which member of the spec, and where it sits.",
        [(rig | asdict(card), 1) for card in judged.cards],
    )
    if judged.observed_at:
        at = int(datetime.fromisoformat(judged.observed_at).timestamp())
        yield from _family(
            "rigspec_verify_timestamp_seconds", "When the rig was looked at.", [(rig, at)]
        )


def _info(judged: Judged) -> Labels:
    names = {"rig": "rig", "rigspec": "version", "spec": "spec_digest", "plan": "plan_digest"}
    names |= {"boot": "boot_id", "kernel": "kernel", "driver": "driver"}
    return {label: judged.header.get(name, "") for name, label in names.items()}


def _labels(verdict_id: str) -> Labels:
    check, subject = check_and_subject(verdict_id)
    return {"check": check, "subject": subject}


def _family(name: str, help_text: str, samples: Iterable[tuple[Labels, int]]) -> Iterator[str]:
    samples = list(samples)
    if not samples:
        return
    yield f"# HELP {name} {help_text}"
    yield f"# TYPE {name} gauge"
    for labels, value in samples:
        inner = ",".join(f'{key}="{_escaped(text)}"' for key, text in labels.items())
        yield f"{name}{{{inner}}} {value}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
