"""The rows of an owner's own, as docs/fit.md shows them: they load, and nothing is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rigspec.catalog import boards, gpus
from rigspec.catalog.boards import all_boards, find_board
from rigspec.catalog.data import CatalogError
from rigspec.catalog.gpus import all_gpus, find_gpu
from rigspec.cli import main
from rigspec.rules.context import saved_context
from rigspec.rules.run import check
from rigspec.spec.load import load_text

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/fit.md").read_text(encoding="utf-8")

LOADED: dict[str, Callable[[Path], object]] = {"gpus": all_gpus, "boards": all_boards}
KEYS = {"gpus": gpus._KEYS, "boards": boards._KEYS}
MUST = {
    "gpus": {"name", "pci_class", "memory_mib", "compute_capability", "pcie", "power", "p2p"},
    "boards": {"name", "cpu", "sockets", "generation", "warm_reboot"},
}


def shown(table: str) -> str:
    """The file that the page shows for a table, and the sentence behind it."""
    return PAGE.partition(f"`catalog/{table}.yaml`:\n\n```yaml\n")[2]


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    folder = tmp_path / "catalog"
    folder.mkdir()
    for table in LOADED:
        (folder / f"{table}.yaml").write_text(shown(table).partition("```")[0])
    return folder


def test_the_rows_of_the_page_load_and_a_spec_may_name_them(catalog: Path) -> None:
    card, board = find_gpu("rtx-3070-16gb", catalog), find_board("example x570 pro", catalog)
    assert card is not None
    assert board is not None
    assert (card.memory_mib, card.pcie_gen, card.pcie_width) == (16384, 4, 16)
    assert card.sources["memory_bandwidth_gb_s"] == "vendor: data sheet"
    assert board.x16_slots == 1
    text = (ROOT / "rigs/starter.yaml").read_text().replace("sku: rtx-3090", f"sku: {card.sku}")
    loaded = load_text("mine.yaml", text.replace("power_limit_w: 290", "power_limit_w: 200"))
    assert loaded.rig is not None
    found = check(loaded.rig, saved_context(loaded.rig, catalog.parent / "rigs/mine.yaml"))
    assert not [finding for finding in found if finding.rule.startswith("gpus.")]


@pytest.mark.parametrize("table", LOADED)
def test_the_page_says_every_key_and_which_must_be_there(table: str, catalog: Path) -> None:
    page = shown(table).partition("\n## ")[0]
    assert not [key for key in KEYS[table] if key not in page]
    sentence = page.partition("```")[2].partition(" must be there")[0]
    assert {key for key in KEYS[table] if f"`{key}`" in sentence} == MUST[table]
    file = catalog / f"{table}.yaml"
    ((name, row),) = yaml.load(file.read_text(), yaml.CSafeLoader).items()  # noqa: TID251
    for key in set(row) - {"source"}:
        file.write_text(yaml.safe_dump({name: {k: v for k, v in row.items() if k != key}}))
        if key in MUST[table]:
            with pytest.raises(CatalogError, match=f"`{key}` "):
                LOADED[table](fresh(catalog, key))
        else:
            LOADED[table](fresh(catalog, key))


def fresh(catalog: Path, key: str) -> Path:
    """The folder under another name: tables are read once per folder."""
    folder = catalog.with_name(f"without-{key}")
    folder.mkdir()
    for file in catalog.glob("*.yaml"):
        (folder / file.name).write_text(file.read_text())
    return folder


def test_own_rows_are_found_from_inside_rigs(
    catalog: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rigs").mkdir()
    monkeypatch.chdir(tmp_path / "rigs")
    done = CliRunner().invoke(main, ["catalog", "gpus", "rtx-3070-16gb"])
    assert done.exit_code == 0, done.output
    assert "16384" in done.output
    done = CliRunner().invoke(main, ["fit", "Org/None", "--gpu", "rtx-3070-16gb"])
    assert "nothing is saved of `Org/None`" in done.output  # the card was found
