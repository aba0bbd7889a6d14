"""The machine-readable reports: each outcome lands where readers of the format expect it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from verdicts_bench import UUIDS, the_look, the_plan

from rigspec.report.judged import Judged, check_and_subject
from rigspec.report.redact import redactor
from rigspec.report.verdicts import as_table, folded
from rigspec.report.verdicts_json import as_json as verdicts_json
from rigspec.report.verdicts_json import as_record
from rigspec.report.verdicts_junit import as_junit
from rigspec.report.verdicts_markdown import as_markdown
from rigspec.report.verdicts_prometheus import as_prometheus
from rigspec.verify.verdict import Outcome, Verdict

PASSED = Verdict("host.arch", "architecture", Outcome.PASS, "x86_64", "x86_64", method="uname -m")
FAILED = Verdict(
    "pcie.width.main.2", "main.2: link width", Outcome.FAIL, "x16", "x8", "half the lanes",
    "reseat the card", "LnkSta", simulated=True,
)  # fmt: skip
WARNED = Verdict("power.limit.main.0", "main.0: power limit", Outcome.WARN, reason='odd "\\ thing')
LOST = Verdict(
    "units.rigspec-glm.service", "unit glm", Outcome.UNKNOWN, reason="a\x07<b>&", found="one\ntwo"
)
SKIPPED = Verdict("pcie.aspm", "ASPM on GPU paths", Outcome.NOT_APPLICABLE, reason="kept as it is")
ALL = (PASSED, FAILED, WARNED, LOST, SKIPPED)


def judged(*verdicts: Verdict, at: str = "2026-11-24T21:00:00+00:00") -> Judged:
    return Judged(the_plan(), the_look(), verdicts, at)


@pytest.mark.parametrize(
    ("verdict_id", "parts"),
    [
        ("power.limit.main.0", ("power.limit", "main.0")),
        ("host.arch", ("host.arch", "")),
        ("units.rigspec-glm.service", ("units", "rigspec-glm.service")),
        (
            "kernel.module.nvidia_uvm.uvm_disable_hmm",
            ("kernel.module", "nvidia_uvm.uvm_disable_hmm"),
        ),
    ],
)
def test_an_id_is_a_check_and_its_subject(verdict_id: str, parts: tuple[str, str]) -> None:
    assert check_and_subject(verdict_id) == parts


def test_terminal_says_the_worst_first_and_folds_what_passed() -> None:
    said = folded(ALL)
    assert said.index("FAIL: main.2") < said.index("UNKNOWN: unit glm") < said.index("warn: main.0")
    assert "pcie   1 fail, 1 n/a" in said
    assert "architecture" not in said
    assert said.endswith("5 checks on a simulated rig: 1 pass, 1 fail, 1 warn, 1 n/a, 1 unknown")
    assert "\x1b" not in said


def test_terminal_with_all_still_shows_every_row() -> None:
    said = as_table(ALL)
    assert all(verdict.title in said for verdict in ALL)


def test_json_has_a_version_every_check_and_the_exit_code() -> None:
    record = json.loads(verdicts_json(judged(*ALL)))
    assert (record["format"], record["version"], record["exit_code"]) == ("rigspec-verify", 1, 1)
    assert [check["id"] for check in record["checks"]] == [verdict.id for verdict in ALL]
    assert record["counts"] == {
        "pass": 1, "fail": 1, "warn": 1, "not-applicable": 1, "unknown": 1,
    }  # fmt: skip
    assert record["header"]["driver"] == "595.71.05"
    assert record["gpus"][2] == {"member": "main.2", "uuid": UUIDS[2], "slot": "0000:05:00.0"}


@pytest.mark.parametrize(
    ("verdicts", "code"), [((PASSED, WARNED, SKIPPED), 0), ((PASSED, LOST), 3), ((LOST, FAILED), 1)]
)
def test_exit_code_in_the_data_is_that_of_the_run(verdicts: tuple[Verdict, ...], code: int) -> None:
    assert as_record(judged(*verdicts))["exit_code"] == code


def test_junit_fail_is_failure_unknown_is_error_not_applicable_is_skipped() -> None:
    root = ET.fromstring(as_junit(judged(*ALL)))  # noqa: S314 - our own text
    children = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert children == {
        PASSED.id: ["system-out"],
        FAILED.id: ["failure"],
        WARNED.id: ["system-out"],
        LOST.id: ["error"],
        SKIPPED.id: ["skipped"],
    }
    sums = {key: root.get(key) for key in ("tests", "failures", "errors", "skipped")}
    assert sums == {"tests": "5", "failures": "1", "errors": "1", "skipped": "1"}
    pcie = next(suite for suite in root if suite.get("name") == "pcie")
    assert (pcie.get("tests"), pcie.get("failures"), pcie.get("skipped")) == ("2", "1", "1")


def test_junit_holds_no_character_that_xml_forbids() -> None:
    root = ET.fromstring(as_junit(judged(LOST)))  # noqa: S314
    error = root.find(".//error")
    assert error is not None
    assert error.get("message") == "a\ufffd<b>&"


SAMPLE = re.compile(r'([a-zA-Z_:][\w:]*)\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\["\\n])*",?)*)\} (-?\d+)')
"""A line with labels, after the text exposition format's grammar."""


def samples(text: str) -> dict[tuple[str, str], int]:
    """Parsed strictly: every sample follows HELP and TYPE of its family, and occurs once."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], int] = {}
    family = ""
    for line in text.splitlines():
        if line.startswith("# HELP "):
            assert line.split()[2] != family
            family = line.split()[2]
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {family} gauge"
        else:
            parts = SAMPLE.fullmatch(line)
            assert parts, line
            assert parts[1] == family
            assert (parts[1], parts[2]) not in found
            found[parts[1], parts[2]] = int(parts[3])
    return found


def test_prometheus_unknown_is_not_green_and_not_applicable_has_no_sample() -> None:
    found = samples(as_prometheus(judged(*ALL)))
    checks = {labels: value for (name, labels), value in found.items() if name == "rigspec_check"}
    assert checks == {
        'rig="home",check="host.arch",subject=""': 1,
        'rig="home",check="pcie.width",subject="main.2"': 0,
        'rig="home",check="power.limit",subject="main.0"': 1,
        'rig="home",check="units",subject="rigspec-glm.service"': 0,
    }
    outcomes = [labels for (name, labels), v in found.items() if "check_outcome" in name and v]
    assert 'rig="home",check="pcie.aspm",subject="",outcome="not-applicable"' in outcomes
    assert len(outcomes) == len(ALL)
    assert found["rigspec_verify_exit_code", 'rig="home"'] == 1
    # `date -u -d 2026-11-24T21:00:00 +%s`
    assert found["rigspec_verify_timestamp_seconds", 'rig="home"'] == 1795554000


def test_prometheus_labels_are_escaped() -> None:
    odd = replace(PASSED, id='units.a"b\\c\nd')
    names = [labels for _, labels in samples(as_prometheus(judged(odd)))]
    assert 'rig="home",check="units",subject="a\\"b\\\\c\\nd"' in names


def test_markdown_has_findings_first_and_says_what_is_simulated() -> None:
    said = as_markdown(judged(*ALL), str)
    assert said.index("### FAIL: main.2: link width (simulated)") < said.index("## All checks")
    assert "<summary>pcie: 0 of 2 pass</summary>" in said
    assert "<b>" not in said


def test_markdown_of_redacted_rows_holds_nothing_planted() -> None:
    hide = redactor(["gpubox.example.org"])
    leak = replace(
        FAILED,
        found=f"{UUIDS[0]} at 192.168.1.9",
        reason="HF_TOKEN=hf_AbCdEfGhIjKlMnOp in /home/alice/.env",
        next_action="ssh alice@gpubox.example.org",
        method="serial 1324523034567",
    )
    run = judged(leak)
    said = as_markdown(replace(run, verdicts=tuple(map(hide.verdict, run.verdicts))), hide)
    boot = run.header["boot"]
    for planted in (UUIDS[0], "192.168.1.9", "hf_", "alice", "gpubox", "1324523034567", boot):
        assert planted not in said
    assert "main.2: link width" in said
