"""The rows of an owner's own, as docs/fit.md shows them: they load, and nothing is left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from rigspec.catalog import boards, circuits, gpus, switches
from rigspec.catalog.boards import all_boards, find_board
from rigspec.catalog.circuits import all_circuits
from rigspec.catalog.data import CatalogError
from rigspec.catalog.data_file import read
from rigspec.catalog.gpus import all_gpus, find_gpu
from rigspec.catalog.switches import all_switches
from rigspec.cli import main
from rigspec.rules.context import saved_context
from rigspec.rules.run import check
from rigspec.spec.load import load_text

ROOT = Path(__file__).resolve().parents[3]
PAGE = (ROOT / "docs/fit.md").read_text(encoding="utf-8")

LOADED: dict[str, Callable[[Path], object]] = {
    "gpus": all_gpus, "boards": all_boards, "switches": all_switches, "circuits": all_circuits,
}  # fmt: skip
KEYS = {
    "gpus": gpus._KEYS, "boards": boards._KEYS, "switches": switches._KEYS,
    "circuits": circuits._KEYS,
}  # fmt: skip
MUST = {
    "gpus": {"name", "pci_class", "memory_mib", "compute_capability", "pcie", "power", "p2p"},
    "boards": {"name", "cpu", "sockets", "generation", "warm_reboot"},
    "switches": {"name", "generation", "acs"},
    "circuits": {"volts", "amps", "continuous_amps", "region", "source"},
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


@pytest.mark.parametrize(
    ("table", "key", "value", "said"),
    [
        ("gpus", "memory_mib", -5, "no memory of a card in MiB: 512 to 1,048,576 is sensible"),
        ("gpus", "memory_mib", 16384000000, "no memory of a card"),
        ("gpus", "memory_bandwidth_gb_s", -448, "no memory bandwidth in GB/s"),
        ("gpus", "memory_bandwidth_gb_s", float("nan"), "no memory bandwidth in GB/s"),
        ("gpus", "pcie", [44, 17], "no PCIe generation: 0 to 6 is sensible"),
        ("gpus", "pcie", [4, 17], "17 lanes, which no card has"),
        ("gpus", "compute_capability", [99, 6], "no major compute capability: 3 to 19"),
        ("gpus", "compute_capability", [8, 66], "no minor compute capability: 0 to 9"),
        ("gpus", "power", [-100, 220, 240], "no limit of a card in watts"),
        ("gpus", "bar1_mib", -1, "no size of BAR1"),
        ("boards", "sockets", 0, "no number of CPU sockets: 1 to 8"),
        ("gpus", "pcie", [7, 16], "no PCIe generation: 0 to 6 is sensible"),
        ("gpus", "memory_mib", "1e30", "no memory of a card in MiB: 512 to 1,048,576 is sensible"),
        ("boards", "generation", 7, "no PCIe generation: 1 to 6"),
        ("boards", "generation", 40, "no PCIe generation: 1 to 6"),
        ("boards", "x16_slots", -1, "no number of slots"),
        ("switches", "lanes", -100, "no number of a switch's lanes"),
        ("switches", "unidirectional_gb_s", -1, "no speed between two cards"),
        ("switches", "bidirectional_gb_s", 1e9, "no speed between two cards"),
        ("switches", "latency_us", -0.4, "no latency"),
        ("circuits", "volts", 12, "no voltage of a circuit: 100 to 480"),
        ("circuits", "amps", -30, "no current of this circuit in amperes: 1 to 200"),
        ("circuits", "continuous_amps", 40, "no current of this circuit in amperes: 1 to 30"),
    ],
)
def test_a_figure_that_nothing_has_is_refused_with_place_row_and_key(
    table: str, key: str, value: object, said: str, catalog: Path
) -> None:
    refused = refusal(catalog, table, key, value)
    assert said in refused.message
    assert f"for example `{key}: " in refused.hint


def refusal(catalog: Path, table: str, key: str, value: object) -> CatalogError:
    """What is said of the page's row with another value, after its place was looked at."""
    file = catalog / f"{table}.yaml"
    ((name, row),) = yaml.load(file.read_text(), yaml.CSafeLoader).items()  # noqa: TID251
    file.write_text(yaml.safe_dump({name: row | {key: value}}))
    with pytest.raises(CatalogError) as refused:
        LOADED[table](catalog)
    place, _, rest = refused.value.message.partition(": ")
    line, column = place.removeprefix(f"{file}:").split(":")
    assert file.read_text().splitlines()[int(line) - 1][int(column) - 1 :].startswith(f"{key}:")
    assert rest.startswith(f"row `{name}`: `{key}")
    return refused.value


@pytest.mark.parametrize(
    ("table", "key", "value", "said", "hint"),
    [
        ("gpus", "power", [200, 100, 300], "out of order: lowest, default, highest",
         "`power: [100, 200, 300]`"),
        ("gpus", "power", [100, 500, 240], "out of order", "`power: [100, 240, 500]`"),
        ("gpus", "power", [300, 200, None], "`power: [300, 200, null]` is out of order", "example"),
        ("gpus", "power", [100, 220], "must be [lowest, default, highest]", "write null"),
        ("gpus", "memory_mib", "16384", "must be a number, not '16384'", "without quotes"),
        ("gpus", "memory_mib", "1e400", "must be a number, not '1e400'", "example `memory_mib: "),
        ("gpus", "memory_mib", "1e4", "must be a number, not '1e4'", "in digits: 10000"),
        ("gpus", "memory_mib", "16 GiB", "must be a number, not '16 GiB'", "without unit"),
        ("gpus", "name", "", "is empty", "for example `name: "),
        ("gpus", "pci_ids", ["zz"], "`zz`, which is no PCI id", "four hexadecimal digits"),
        ("gpus", "pci_ids", ["10de:2484"], "which is no PCI id", "four hexadecimal digits"),
        ("switches", "pci_ids", ["4000"], "which is no PCI id", "vendor:device"),
        ("gpus", "nvlink", "fast", "says neither `bridge` nor `switch`", "null for none"),
        ("gpus", "aliases", ["rtx-3090"], "names `rtx-3090` already", "it then replaces ours"),
        ("gpus", "aliases", ["3090"], "names `rtx-3090` already", "leave it out"),
        ("boards", "aliases", ["romed8-2t"], "names `romed8-2t` already", "leave it out"),
        ("boards", "cpu", "arm", "is none of amd, intel", ""),
        ("gpus", "p2p", False, "one of yes, no, unknown, not False", 'write "no"'),
        ("switches", "acs", True, "one of yes, no, unknown, not True", 'write "yes"'),
        ("boards", "warm_reboot", True, "is one of works, fails, unknown, not True", ""),
        ("gpus", "nvlink", True, "says neither `bridge` nor `switch`", "null for none"),
        ("gpus", "name", True, "must be text, not True", "for example `name: "),
        ("gpus", "name", 3090, "must be text, not 3090", "in quotes"),
        ("gpus", "memory_mib", "16GB", "must be a number", "without unit: `16384`"),
        ("gpus", "memory_mib", "24576 MiB", "must be a number", "without unit: `24576`"),
        ("gpus", "memory_mib", "16 W", "must be a number", "write it without unit"),
        ("gpus", "memory_mib", "4MB", "must be a number", "write it without unit"),
        ("gpus", "memory_bandwidth_gb_s", "1.79 TB/s", "must be a number", "unit: `1790`"),
        ("circuits", "volts", "230V", "must be a number", "without unit: `230`"),
    ],
)  # fmt: skip
def test_a_value_that_cannot_be_used_is_refused_with_its_reason(
    table: str, key: str, value: object, said: str, hint: str, catalog: Path
) -> None:
    refused = refusal(catalog, table, key, value)
    assert said in refused.message
    assert hint in refused.hint


def test_two_own_rows_may_not_share_an_alias(catalog: Path) -> None:
    file = catalog / "gpus.yaml"
    text = file.read_text()
    file.write_text(text + text.replace("rtx-3070-16gb:", "rtx-3070-32gb:"))
    with pytest.raises(CatalogError, match="`3070-16gb`, which names"):
        all_gpus(catalog)


def test_an_own_row_that_replaces_one_of_ours_keeps_its_names(catalog: Path) -> None:
    file = catalog / "gpus.yaml"
    text = file.read_text().replace("rtx-3070-16gb:", "rtx-3090:").replace("3070-16gb", "3090")
    file.write_text(text)
    found = find_gpu("3090", catalog)
    assert found is not None
    assert found.memory_mib == 16384


def test_ids_of_devices_are_found_in_either_case(catalog: Path) -> None:
    file = catalog / "gpus.yaml"
    file.write_text(file.read_text().replace('"2484"', '"2B8F"'))
    found = find_gpu("rtx-3070-16gb", catalog)
    assert found is not None
    assert found.pci_ids == ("2b8f",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a:\n  name: [\n", ":3:1: this is not YAML: "),
        ("a:\n  source: 2026-13-45\n", "this is not YAML: month must be in 1..12"),
        ("\x00", "this is not YAML: control characters are not allowed"),
        (
            "a:\n  name: x\n  lanes: 4\n  name: y\n",
            ":4:3: `name` is written twice, first in line 2",
        ),
        ("a: &a\n  name: x\nb:\n  <<: *a\n  <<: *a\n", ":5:3: `<<` is written twice"),
        ("a:\n  1: x\n  0x1: y\n", ":3:3: `1` is written twice"),
        # base 60 of YAML 1.1: more digits than a float holds
        (f"a:\n  lanes: 1{':00' * 200}.0\n", "this is not YAML: int too large to convert"),
        ("a:\n  ? [1]\n  : x\n", ":2:5: this is not YAML: found unhashable key"),
        ("a:\n  1: x\n", ":1:1: row `a`: unknown key `1`"),
        ("a:\n  ~: x\n", ":1:1: row `a`: unknown key `None`"),
        ("ok: {}\nx:\n", ":2:1: row `x` must be a mapping under a text id"),
        ("7: {}\n", ":1:1: row `7` must be a mapping under a text id"),
    ],
)
def test_a_file_that_is_no_table_is_named_at_its_place(text: str, said: str, catalog: Path) -> None:
    (catalog / "gpus.yaml").write_text(text)
    with pytest.raises(CatalogError) as refused:
        all_gpus(catalog)
    assert refused.value.message.startswith(f"{catalog / 'gpus.yaml'}:")
    assert said in refused.value.message
    assert refused.value.hint
    assert "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("data", "said", "hint"),
    [
        (b"a:\n\tname: x\n", ":2:1: a tab stands where YAML takes only spaces", "by spaces"),
        (b"a:\n  name: \tb: c\n", ":2:9: a tab stands", "by spaces"),
        (b"a:\n  name: M\xfcller\n", ":2:10: byte 0xfc is not UTF-8", "save the file as UTF-8"),
        ("ä: [".encode(), "this is not YAML", "shows a whole file"),
    ],
)
def test_tabs_and_other_encodings_are_said(
    data: bytes, said: str, hint: str, catalog: Path
) -> None:
    (catalog / "gpus.yaml").write_bytes(data)
    with pytest.raises(CatalogError) as refused:
        all_gpus(catalog)
    assert said in refused.value.message
    assert hint in refused.value.hint


def test_a_row_may_be_another_with_values_of_its_own(tmp_path: Path) -> None:
    file = tmp_path / "gpus.yaml"
    file.write_text(
        "a: &a\n  name: x\n  lanes: 4\nb: &b\n  <<: *a\n  name: y\nc: {<<: *b, lanes: 8}\n"
    )
    rows = {"a": {"name": "x", "lanes": 4}, "b": {"name": "y", "lanes": 4}}
    assert read(file) == rows | {"c": {"name": "y", "lanes": 8}}


@pytest.mark.parametrize("steers", ["\\e[31m", "\\u202e"])
def test_a_name_that_would_steer_the_terminal_is_refused(steers: str, catalog: Path) -> None:
    file = catalog / "gpus.yaml"
    file.write_text(file.read_text().replace("name: ", f'name: "{steers}" #', 1))
    with pytest.raises(CatalogError, match="holds a character that steers the terminal"):
        all_gpus(catalog)
