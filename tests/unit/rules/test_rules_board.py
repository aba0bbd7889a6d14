"""Boards of the owner's own catalog, and a catalog that cannot be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.rules.run import check_file

ROOT = Path(__file__).resolve().parents[3]
BOARD = """\
weekend-board:
  name: Weekend Board
  cpu: amd
  sockets: 1
  generation: 5
  x16_slots: 4
  warm_reboot: "fails"
  source: "measured: lost GPU 3 at two of five warm reboots"
"""


@pytest.fixture
def spec(tmp_path: Path) -> Path:
    (tmp_path / "rigs").mkdir()
    (tmp_path / "catalog").mkdir()
    text = (ROOT / "tests" / "errors" / "base-is-fine.yaml").read_text()
    file = tmp_path / "rigs" / "own.yaml"
    file.write_text(text.replace("gpus:\n  main", "board:\n  model: weekend-board\ngpus:\n  main"))
    return file


def test_board_that_loses_gpus_at_warm_reboot_is_warned_about(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "catalog" / "boards.yaml").write_text(BOARD)
    found = check_file(str(spec)).findings
    assert [(f.rule, f.path) for f in found] == [("board.warm-reboot-fails", ("board", "model"))]


def test_consent_to_cold_boots_ends_the_warning(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "catalog" / "boards.yaml").write_text(BOARD)
    spec.write_text(
        spec.read_text().replace("weekend-board\n", "weekend-board\n  cold_boot_only: yes\n")
    )
    assert [f.rule for f in check_file(str(spec)).findings] == ["board.cold-boot-only"]


def test_unusable_catalog_of_the_owner_is_a_finding(spec: Path, tmp_path: Path) -> None:
    (tmp_path / "catalog" / "boards.yaml").write_text("weekend-board: 5\n")
    found = check_file(str(spec)).findings
    assert [f.rule for f in found] == ["catalog.unusable"]
    assert "boards.yaml" in found[0].message
    assert found[0].why


def test_consumer_board_is_known_and_its_slots_are_held_to(spec: Path) -> None:
    spec.write_text(spec.read_text().replace("weekend-board", "ProArt X570-CREATOR WIFI"))
    (found,) = check_file(str(spec)).findings
    assert (found.rule, found.path) == ("board.more-wide-links-than-slots", ("pcie", "width"))
    spec.write_text(spec.read_text().replace("  direct:", "  width: 8\n  direct:"))
    assert check_file(str(spec)).findings == ()
    text = spec.read_text()
    assert text.count("generation: 4") == 1
    spec.write_text(text.replace("generation: 4", "generation: 5"))
    assert "board.slower-than-links" in {f.rule for f in check_file(str(spec)).findings}


CIRCUIT = """us-30:
  volts: 120
  amps: 30
  continuous_amps: 36
  region: US
  source: a slip
"""
SWITCH = """mine:
  name: Mine
  generation: 4
  acs: no
  source: a slip
"""


@pytest.mark.parametrize(
    ("table", "row", "place"),
    [("circuits", CIRCUIT, ":4:3: row `us-30`"), ("switches", SWITCH, ":4:3: row `mine`")],
)
def test_rows_that_the_spec_does_not_name_are_read_too(
    spec: Path, tmp_path: Path, table: str, row: str, place: str
) -> None:
    (tmp_path / "catalog" / f"{table}.yaml").write_text(row)
    (found,) = check_file(str(spec)).findings
    assert found.rule == "catalog.unusable"
    assert f"{table}.yaml{place}" in found.message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("boards.yml", "rename it to `boards.yaml`"),
        ("GPUS.yaml", "rename it to `gpus.yaml`"),
        ("gpu.yaml", "rename it to `gpus.yaml`"),
        ("engines.yaml", "move it out of the folder"),
    ],
)
def test_a_file_that_is_no_table_is_said_to_be_passed_over(
    spec: Path, tmp_path: Path, name: str, hint: str
) -> None:
    (tmp_path / "catalog" / "boards.yaml").write_text(BOARD.replace("fails", "works"))
    (tmp_path / "catalog" / name).write_text(BOARD)
    (tmp_path / "catalog" / "README.md").write_text("rows of our own")
    (found,) = check_file(str(spec)).findings
    assert (found.rule, found.severity, found.hint) == ("catalog.passed-over", "warning", hint)
    assert name in found.message
