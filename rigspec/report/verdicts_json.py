"""Verdicts as data: a versioned format, additive within a version."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from rigspec.report.evidence import evidence_record, seconds
from rigspec.report.judged import Judged, check_and_subject
from rigspec.verify.verdict import Verdict

FORMAT, VERSION = "rigspec-verify", 1


def as_json(judged: Judged) -> str:
    """The whole run; field names and meanings stay for as long as `version` does."""
    return json.dumps(as_record(judged), indent=2, ensure_ascii=False) + "\n"


def as_record(judged: Judged) -> dict[str, Any]:
    """The same as plain data."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "rig": judged.plan.rig,
        "simulated": judged.simulated,
        "exit_code": judged.exit_code,
        "header": judged.header,
        "gpus": [asdict(card) for card in judged.cards],
        "counts": {outcome.value: count for outcome, count in judged.counts.items()},
        "checks": [_check(verdict, judged) for verdict in judged.verdicts],
    }


def _check(verdict: Verdict, judged: Judged) -> dict[str, Any]:
    check, subject = check_and_subject(verdict.id)
    return {
        "id": verdict.id,
        "check": check,
        "subject": subject,
        "title": verdict.title,
        "outcome": verdict.outcome.value,
        "expected": verdict.expected,
        "found": verdict.found,
        "reason": verdict.reason,
        "next_action": verdict.next_action,
        "method": verdict.method,
        "simulated": verdict.simulated,
        "spec_field": verdict.spec_field,
        "duration_s": seconds(verdict, judged),
        "evidence": evidence_record(verdict, judged),
    }
