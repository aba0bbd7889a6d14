"""A file among the owner's rows that nothing reads is named by the verbs that take no spec."""

from __future__ import annotations

from pathlib import Path

import pytest
from asked import fit, rigspec

CARD = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192")


@pytest.mark.parametrize(
    ("name", "cure"),
    [("gpus.yml", "rename it to `gpus.yaml`"), ("mine.yaml", "move it out of the folder")],
)
def test_it_is_named_beside_the_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, cure: str
) -> None:
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / name).write_text("my-card: {}\n")
    monkeypatch.chdir(tmp_path)
    said = f"warning: nothing reads catalog/{name}: the tables here are "
    for answer in (fit(*CARD), rigspec("catalog", "gpus")):
        assert said in answer.stderr
        assert f"hint: {cure}" in answer.stderr
        assert said not in answer.stdout
        assert answer.exit_code == 0


def test_tables_and_folders_without_any_are_not(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "warning" not in rigspec("catalog", "gpus").stderr
    (tmp_path / "catalog").mkdir()
    (tmp_path / "catalog" / "gpus.yaml").write_text("")
    (tmp_path / "catalog" / "README.md").write_text("rows of our own")
    for answer in (fit(*CARD), rigspec("catalog", "gpus")):
        assert "warning: nothing reads" not in answer.stderr
