"""The machine-readable reports: each outcome lands where readers of the format expect it."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from jsonschema import Draft202012Validator
from page_bench import SAMPLES, planted, sample
from prometheus_client.parser import text_string_to_metric_families
from rich.cells import cell_len
from verdicts_bench import ROOT, UUIDS, the_look, the_plan

from rigspec.plan.rig import digest
from rigspec.report.judged import Judged, check_and_subject, judge
from rigspec.report.redact import redactor
from rigspec.report.verdicts import as_table, folded
from rigspec.report.verdicts_json import as_json as verdicts_json
from rigspec.report.verdicts_json import as_record
from rigspec.report.verdicts_junit import as_junit
from rigspec.report.verdicts_markdown import as_markdown
from rigspec.report.verdicts_prometheus import as_prometheus
from rigspec.verify.observation_file import SavedObservation
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


def test_rows_measured_beside_the_look_are_judged_with_it() -> None:
    saved = SavedObservation("home", digest(the_plan()), "2026-11-24T21:00:00+00:00", the_look(),
                             "ab" * 32)  # fmt: skip
    run = judge(the_plan(), saved, more=(FAILED,))
    assert run.verdicts[-1] == FAILED
    assert run.exit_code == 1
    assert run.header["probe"] == "ab" * 32


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


def test_terminal_lines_fit_into_80_columns() -> None:
    verdicts = sample("faulty").verdicts
    for said in (folded(verdicts), as_table(verdicts)):
        assert max(cell_len(line) for line in said.splitlines()) <= 80


def test_terminal_never_breaks_a_word_that_someone_may_copy() -> None:
    path = "/sys/bus/pci/devices/" + "0000:00:01.0/" * 8
    said = folded([replace(FAILED, next_action=f"look at: {path}")])
    assert path in said


@pytest.mark.parametrize("colour", [False, True])
def test_a_host_cannot_steer_the_terminal(colour: bool) -> None:
    evil = "a\x1b[2Jb\x9bc\u202ed\re\x07"
    said = (FAILED, WARNED, LOST, SKIPPED, PASSED)
    rows = [replace(v, title=evil, expected=evil, found=evil, reason=evil, method=evil,
                    next_action=evil, id=f"host.{evil}") for v in said]  # fmt: skip
    ours = {f"\x1b[{code}m" for code in ("31;1", "33", "35;1", "32", "0")}
    for text in (folded(rows, colour=colour), as_table(rows, colour=colour)):
        for code in ours if colour else ():
            text = text.replace(code, "")
        assert not set(text) & set("\x1b\x9b\u202e\r\x07")


def test_colour_only_repeats_what_the_words_say() -> None:
    plain, painted = folded(ALL), folded(ALL, colour=True)
    assert "\x1b[31;1mFAIL\x1b[0m" in painted
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == plain


def test_terminal_says_once_what_ails_several_cards_alike() -> None:
    same = [replace(FAILED, id=f"pcie.width.main.{n}", title=f"main.{n}: link width",
                    found="x8" if n != 3 else "x4") for n in range(4)]  # fmt: skip
    said = folded(same)
    assert said.count("FAIL:") == 1
    assert "the same:  main.1, main.2, main.3 (x4)" in said
    assert "4 fail" in said


def test_all_that_nobody_could_read_for_one_reason_is_one_finding() -> None:
    no_driver = "it could not reach the driver"
    rows = [
        replace(LOST, id="gpus.temperature", title="GPU temperatures", next_action="",
                reason=no_driver, found=no_driver),
        replace(LOST, id="power.limit.main.0", title="main.0: power limit", next_action="reboot",
                reason=no_driver, found=no_driver),
        replace(LOST, id="host.os", title="operating system", reason="cut off", found=""),
    ]  # fmt: skip
    said = folded(rows)
    assert said.count("UNKNOWN:") == 2
    first = said[: said.index("operating system")]
    assert "the same:  main.0: power limit" in first
    assert "do:        reboot" in first  # from the row that knows it
    assert first.count(no_driver) == 1
    assert "3 unknown" in said


def test_json_has_a_version_every_check_and_the_exit_code() -> None:
    record = json.loads(verdicts_json(judged(*ALL)))
    assert (record["format"], record["version"], record["exit_code"]) == ("rigspec-verify", 1, 1)
    assert [check["id"] for check in record["checks"]] == [verdict.id for verdict in ALL]
    assert record["counts"] == {
        "pass": 1, "fail": 1, "warn": 1, "not-applicable": 1, "unknown": 1,
    }  # fmt: skip
    assert record["header"]["driver"] == "595.71.05"
    assert record["header"]["vbios"] == "98.02.55.00.03"
    assert record["gpus"][2] == {
        "member": "main.2", "slot": "0000:05:00.0", "uuid": UUIDS[2],
        "name": "NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "vbios": "98.02.55.00.03",
    }  # fmt: skip


VALIDATOR = Draft202012Validator(
    json.loads((ROOT / "rigspec/report/verify.schema.json").read_text(encoding="utf-8"))
)


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("name", SAMPLES)
def test_json_is_what_its_schema_says(name: str) -> None:
    record = json.loads(verdicts_json(sample(name)))
    assert [problem.message for problem in VALIDATOR.iter_errors(record)] == []
    # no field that the schema does not describe
    described = VALIDATOR.schema["properties"]
    assert set(record) == set(described)
    for part in ("checks", "gpus"):
        for item in record[part]:
            assert set(item) == set(described[part]["items"]["properties"])


@pytest.mark.parametrize(
    ("field", "value"),
    [("version", 2), ("exit_code", 2), ("simulated", "no"), ("gpus", [{"member": "main.0"}])],
)
def test_the_schema_refuses_another_format(field: str, value: object) -> None:
    record = json.loads(verdicts_json(judged(*ALL))) | {field: value}
    assert not VALIDATOR.is_valid(record)


def test_the_schema_wants_a_reason_for_what_is_unknown() -> None:
    record = json.loads(verdicts_json(judged(*ALL)))
    record["checks"][3]["reason"] = ""
    assert not VALIDATOR.is_valid(record)


def test_a_row_carries_its_evidence_and_what_was_timed() -> None:
    record = json.loads(verdicts_json(sample("home")))
    checks = {check["id"]: check for check in record["checks"]}
    assert checks["power.limit.main.0"]["evidence"]["enforced.power.limit"] == "350.00"
    assert checks["power.limit.main.0"]["duration_s"] is None
    assert checks["service.completion.glm"]["duration_s"] == 1.2
    case = ET.fromstring(as_junit(sample("home"))).find(".//*[@name='service.completion.glm']")  # noqa: S314
    assert case is not None
    assert case.get("time") == "1.2"


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
    properties = {p.get("name"): p.get("value") for p in root.iter("property")}
    assert properties["gpu main.2"] == f"{UUIDS[2]} at 0000:05:00.0"
    assert {"spec", "plan", "rigspec", "boot", "kernel", "driver", "vbios", "simulated"} <= set(
        properties
    )
    pcie = next(suite for suite in root if suite.get("name") == "pcie")
    assert (pcie.get("tests"), pcie.get("failures"), pcie.get("skipped")) == ("2", "1", "1")


def test_junit_holds_no_character_that_xml_forbids() -> None:
    root = ET.fromstring(as_junit(judged(LOST)))  # noqa: S314
    error = root.find(".//error")
    assert error is not None
    assert error.get("message") == "a\ufffd<b>&"


Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """As Prometheus' own Python client reads it; every family is a gauge with a help text."""
    found: Samples = {}
    families = list(text_string_to_metric_families(text))
    assert len({family.name for family in families}) == len(families)
    for family in families:
        assert (family.type, bool(family.documentation)) == ("gauge", True)
        for one in family.samples:
            key = (one.name, frozenset(one.labels.items()))
            assert key not in found
            found[key] = one.value
    # the parser is lenient about what the text format wants at its end
    assert text.endswith("\n")
    return found


def of(found: Samples, name: str) -> dict[frozenset[tuple[str, str]], float]:
    return {labels: value for (metric, labels), value in found.items() if metric == name}


def labels(**pairs: str) -> frozenset[tuple[str, str]]:
    return frozenset({"rig": "home", **pairs}.items())


def test_prometheus_unknown_is_not_green_and_not_applicable_has_no_sample() -> None:
    found = samples(as_prometheus(judged(*ALL)))
    assert of(found, "rigspec_check") == {
        labels(check="host.arch", subject=""): 1,
        labels(check="pcie.width", subject="main.2"): 0,
        labels(check="power.limit", subject="main.0"): 1,
        labels(check="units", subject="rigspec-glm.service"): 0,
    }
    outcomes = [key for key, value in of(found, "rigspec_check_outcome").items() if value]
    assert labels(check="pcie.aspm", subject="", outcome="not-applicable") in outcomes
    assert len(outcomes) == len(ALL)
    assert found["rigspec_verify_exit_code", labels()] == 1
    # `date -u -d 2026-11-24T21:00:00 +%s`
    assert found["rigspec_verify_timestamp_seconds", labels()] == 1795554000


def test_prometheus_names_cards_kernel_and_driver() -> None:
    found = samples(as_prometheus(judged(*ALL)))
    (info,) = (dict(key) for key in of(found, "rigspec_verify_info"))
    assert (info["driver"], info["kernel"]) == ("595.71.05", "6.12.48+deb13-amd64")
    cards = [dict(key) for key in of(found, "rigspec_gpu_info")]
    assert {card["member"]: card["uuid"] for card in cards}["main.2"] == UUIDS[2]


@pytest.mark.parametrize("name", SAMPLES)
def test_prometheus_can_be_read_for_every_rig(name: str) -> None:
    found = samples(as_prometheus(sample(name)))
    assert ("rigspec_gpu_info" in {metric for metric, _ in found}) == (name != "blank")


def test_prometheus_labels_are_escaped() -> None:
    odd = replace(PASSED, id='units.a"b\\c\nd')
    found = of(samples(as_prometheus(judged(odd))), "rigspec_check")
    assert list(found) == [labels(check="units", subject='a"b\\c\nd')]


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
    for secret in (UUIDS[0], "192.168.1.9", "hf_", "alice", "gpubox", "1324523034567", boot):
        assert secret not in said
    assert "main.2: link width" in said


def test_markdown_names_the_cards_and_the_pairs() -> None:
    run, hide = sample("faulty"), redactor()
    said = as_markdown(replace(run, verdicts=tuple(map(hide.verdict, run.verdicts))), hide)
    assert "- main.2: [uuid" in said or "- main.2: \\[uuid" in said
    assert UUIDS[2] not in said
    assert "| main.0 | | 11.8 VIA HOST | 13.2 WRONG DATA | not run |" in re.sub(" +", " ", said)
    assert "- HANG: the copy did not end" in said


def test_markdown_of_a_host_that_says_odd_things_stays_text() -> None:
    evil = "<b>x</b> ![i](http://x) ~~no~~ `a` ``` | @you #1\nsecond **line**"
    said = as_markdown(planted(evil), str)
    outside = re.sub(r"(`{3,})text.*?\1\n", "", said, flags=re.DOTALL)
    assert "<b>" not in outside
    assert "![i]" not in outside
    assert "**line**" not in outside
    assert "@you" not in outside
    tables = [line for line in said.splitlines() if line.startswith("| FAIL")]
    assert tables
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in tables} == {5}


def test_a_fence_of_the_host_does_not_end_ours() -> None:
    said = as_markdown(judged(replace(FAILED, found="a\n```\n# not a title\n````\nb")), str)
    assert "`````text" in said
