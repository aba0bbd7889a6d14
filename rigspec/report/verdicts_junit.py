"""Verdicts as JUnit XML: one case per check, for whatever draws test results."""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree as ET

from rigspec.report.evidence import seconds
from rigspec.report.judged import Judged, sections
from rigspec.verify.verdict import Outcome, Verdict

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 (section 2.2, Char) cannot hold, not even escaped."""


def as_junit(judged: Judged) -> str:
    """fail is a failure, unknown an error, not-applicable skipped; a warning passes and talks."""
    root = ET.Element("testsuites", name=f"rigspec verify {judged.plan.rig}")
    _count(root, judged.verdicts)
    for name, verdicts in sections(judged.verdicts).items():
        suite = ET.SubElement(root, "testsuite", name=name)
        _count(suite, verdicts)
        if judged.observed_at:
            suite.set("timestamp", judged.observed_at)
        properties = ET.SubElement(suite, "properties")
        for key, value in judged.header.items():
            ET.SubElement(properties, "property", name=key, value=_legal(value))
        for card in judged.cards:
            where = f"{card.uuid} at {card.slot}"
            ET.SubElement(properties, "property", name=f"gpu {card.member}", value=_legal(where))
        for verdict in verdicts:
            _case(suite, name, verdict, judged)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _count(element: ET.Element, verdicts: Iterable[Verdict]) -> None:
    outcomes = [verdict.outcome for verdict in verdicts]
    element.set("tests", str(len(outcomes)))
    element.set("failures", str(outcomes.count(Outcome.FAIL)))
    element.set("errors", str(outcomes.count(Outcome.UNKNOWN)))
    element.set("skipped", str(outcomes.count(Outcome.NOT_APPLICABLE)))
    element.set("time", "0")


def _case(suite: ET.Element, section: str, verdict: Verdict, judged: Judged) -> None:
    case = ET.SubElement(
        suite,
        "testcase",
        classname=f"{judged.plan.rig}.{section}",
        name=_legal(verdict.id),
        time=f"{seconds(verdict, judged) or 0:g}",
    )
    said = _legal(_said(verdict))
    reason = _legal(verdict.reason or verdict.found)
    if verdict.outcome is Outcome.FAIL:
        ET.SubElement(case, "failure", message=reason, type="not-as-planned").text = said
    elif verdict.outcome is Outcome.UNKNOWN:
        ET.SubElement(case, "error", message=reason, type="could-not-measure").text = said
    elif verdict.outcome is Outcome.NOT_APPLICABLE:
        ET.SubElement(case, "skipped", message=reason)
    else:
        warned = "warning: " if verdict.outcome is Outcome.WARN else ""
        ET.SubElement(case, "system-out").text = warned + said


def _said(verdict: Verdict) -> str:
    parts = {
        "title": verdict.title + (" (simulated)" if verdict.simulated else ""),
        "expected": verdict.expected,
        "found": verdict.found,
        "why": verdict.reason,
        "do": verdict.next_action,
        "asked by": verdict.spec_field,
        "read from": verdict.method,
    }
    return "\n".join(f"{label}: {text}" for label, text in parts.items() if text)


def _legal(text: str) -> str:
    return _NOT_XML.sub("\ufffd", text)
