"""The probe deploy keeps what the host said, for whoever named a file."""

from __future__ import annotations

from pathlib import Path

import pytest
from fakehost import FakeHost, run

from rigspec.discover.probe import OUT_VARIABLE
from rigspec.facts.probe import ProbeText
from rigspec.operations.probe import host_probed


def test_probe_keeps_the_text_for_its_owner_only_and_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "probe.txt"
    monkeypatch.setenv(OUT_VARIABLE, str(file))
    assert run(host_probed, FakeHost({ProbeText: ("##RIG host", "rig_uid=0", "##RIG-END")})) == []
    assert file.read_text() == "##RIG host\nrig_uid=0\n##RIG-END\n"
    assert file.stat().st_mode & 0o077 == 0


def test_host_that_says_nothing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(OUT_VARIABLE, str(tmp_path / "probe.txt"))
    (said,) = run(host_probed, FakeHost({ProbeText: None}))
    assert said.startswith("REFUSED: the host's state could not be read")
    assert not (tmp_path / "probe.txt").exists()
