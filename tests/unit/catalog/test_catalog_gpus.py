"""GPU look-up: every figure sourced, ids and aliases unambiguous, owner rows merged or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.catalog.data import CatalogError
from rigspec.catalog.gpus import (
    FIGURES,
    Gpu,
    all_gpus,
    find_gpu,
    gpus_with_pci_id,
    memory_fits,
    nearest_gpus,
    other_vendor,
    slug,
)

MARKS = ("measured: ", "vendor: ", "secondary: ", "derived: ", "general knowledge", "unknown: ")
OWN_CARD = """
rtx-9999:
  name: NVIDIA GeForce RTX 9999
  pci_ids: ["9999"]
  pci_class: "0300"
  memory_mib: 24000
  memory_bandwidth_gb_s: 500
  compute_capability: [8, 6]
  pcie: [4, 16]
  power: [100, 200, 250]
  p2p: "no"
  source: "measured: on my bench"
"""


@pytest.fixture
def own_catalog(tmp_path: Path) -> Path:
    (tmp_path / "gpus.yaml").write_text(OWN_CARD)
    return tmp_path


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.sku)
def test_every_figure_of_a_card_says_where_it_comes_from(gpu: Gpu) -> None:
    assert set(gpu.sources) == set(FIGURES)
    assert all(text.startswith(MARKS) for text in gpu.sources.values())


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.sku)
def test_a_figure_is_null_exactly_where_its_source_says_unknown(gpu: Gpu) -> None:
    for field, value in (
        ("memory_bandwidth_gb_s", gpu.memory_bandwidth_gb_s),
        ("bar1_mib", gpu.bar1_mib),
    ):
        assert (value is None) == gpu.sources[field].startswith("unknown"), field
    assert (gpu.p2p == "unknown") <= (not gpu.sources["p2p"].startswith("measured"))


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.sku)
def test_a_sku_is_the_name_nvidia_smi_prints_as_a_slug(gpu: Gpu) -> None:
    assert gpu.sku == slug(gpu.name)
    assert find_gpu(gpu.name) is gpu


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.sku)
def test_bar1_with_resizable_bar_is_the_next_power_of_two_above_the_memory(gpu: Gpu) -> None:
    if gpu.bar1_mib is None or gpu.bar1_mib == 256:  # 256: no Resizable BAR on that card
        return
    assert gpu.bar1_mib & (gpu.bar1_mib - 1) == 0
    assert gpu.bar1_mib / 2 < gpu.memory_mib * 1.07 <= gpu.bar1_mib * 1.07


def test_no_alias_stands_for_two_cards() -> None:
    spellings = [s for gpu in all_gpus() for s in {gpu.sku, *gpu.aliases}]
    assert len(spellings) == len(set(spellings))


def test_the_table_holds_what_captures_of_real_machines_show() -> None:
    """Read off the captures kept in tests/captures and the public ones named in the sources."""
    server = find_gpu("rtx-pro-6000-blackwell-server-edition")
    ada = find_gpu("rtx-6000-ada-generation")
    h200 = find_gpu("h200")
    assert server and ada and h200
    assert (server.pci_ids, server.memory_mib, server.bar1_mib) == (("2bb5",), 97887, 131072)
    assert (server.power_min_w, server.power_max_w) == (300, 600)
    assert (ada.memory_mib, ada.bar1_mib, ada.pci_class) == (49140, 65536, "0300")
    assert (h200.memory_mib, h200.power_min_w, h200.power_max_w) == (143771, 200, 700)


@pytest.mark.parametrize(
    ("spelling", "sku"),
    [
        ("3090", "rtx-3090"),
        ("RTX_3090", "rtx-3090"),
        ("NVIDIA GeForce RTX 5090", "rtx-5090"),
        ("rtx-pro-6000-workstation", "rtx-pro-6000-blackwell-workstation-edition"),
        ("p40", "tesla-p40"),
    ],
)
def test_find_gpu_takes_sku_alias_and_printed_name(spelling: str, sku: str) -> None:
    found = find_gpu(spelling)
    assert found is not None
    assert found.sku == sku


def test_find_gpu_knows_nothing_of_a_card_that_does_not_exist() -> None:
    assert find_gpu("rtx-3095") is None


def test_nearest_gpus_names_the_likely_card_first() -> None:
    assert nearest_gpus("rtx-3090-tii")[0] == "rtx-3090-ti"
    assert all("6000" in sku for sku in nearest_gpus("rtx pro 6000"))
    assert nearest_gpus("zzzzzz") == ()


def test_one_pci_id_can_stand_for_two_memory_sizes() -> None:
    assert {gpu.sku for gpu in gpus_with_pci_id("0x2BB3")} == {
        "rtx-pro-5000-blackwell",
        "rtx-pro-5000-72gb-blackwell",
    }


def test_a_card_of_another_vendor_is_known_but_no_gpu_of_ours() -> None:
    assert find_gpu("mi300x") is None
    assert other_vendor("AMD Instinct MI300X") == "AMD Instinct MI300X"
    assert other_vendor("rtx-3090") is None


@pytest.mark.parametrize(
    ("sku", "architecture", "module"),
    [
        ("tesla-p40", "pascal", "unsupported"),
        ("tesla-v100-pcie-32gb", "volta", "unsupported"),
        ("rtx-2080-ti", "turing", "supported"),
        ("rtx-3090", "ampere", "supported"),
        ("rtx-4090", "ada", "supported"),
        ("h200", "hopper", "supported"),
        ("gh200-480gb", "hopper", "required"),
        ("b300", "blackwell", "required"),
        ("rtx-5090", "blackwell", "required"),
    ],
)
def test_architecture_decides_which_kernel_modules_fit(
    sku: str, architecture: str, module: str
) -> None:
    gpu = find_gpu(sku)
    assert gpu is not None
    assert (gpu.architecture, gpu.open_module) == (architecture, module)


def test_fp8_begins_with_ada_and_fp4_with_blackwell() -> None:
    formats = {gpu.architecture: gpu.formats for gpu in all_gpus()}
    assert {name for name, have in formats.items() if "fp8" in have} == {
        "ada",
        "hopper",
        "blackwell",
    }
    assert {name for name, have in formats.items() if "nvfp4" in have} == {"blackwell"}


def test_memory_with_ecc_on_still_fits_the_card() -> None:
    card = find_gpu("rtx-a6000")
    assert card is not None
    assert memory_fits(card, 46068)
    assert not memory_fits(card, 24564)


def test_an_owners_card_is_added_and_ours_stay(own_catalog: Path) -> None:
    found = find_gpu("rtx-9999", own_catalog)
    assert found is not None
    assert found.sources["memory_mib"] == "measured: on my bench"
    assert found.sources["bar1_mib"] == "measured: on my bench"
    assert find_gpu("3090", own_catalog) is not None
    assert find_gpu("rtx-9999") is None


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('source: "measured: on my bench"', "", "`memory_mib` has no source"),
        ("memory_mib: 24000", "memory_mib: 24 GB", "`memory_mib` must be a number"),
        ("memory_mib: 24000", "memory_mb: 24000", "unknown key `memory_mb`"),
        ('["9999"]', "[9999]", "`pci_ids` holds 9999, which is not text"),
        ("[100, 200, 250]", "[300, 200, 250]", "is out of order: lowest, default, highest"),
        ("[100, 200, 250]", "200", "`power` must be [lowest, default, highest]"),
        ("[8, 6]", "8.6", "`compute_capability` must be two whole numbers"),
        ('p2p: "no"', "p2p: maybe", "is none of yes, no, unknown"),
        ("memory_mib: 24000", "memory_mib: 1\n  memory_mib: 2", "`memory_mib` is written twice"),
        ("rtx-9999:", "rtx-9999: [", "is not YAML"),
    ],
)
def test_an_owners_bad_row_is_refused_with_file_and_row(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    (tmp_path / "gpus.yaml").write_text(OWN_CARD.replace(old, new))
    with pytest.raises(CatalogError) as refused:
        all_gpus(tmp_path)
    assert says in refused.value.message
    assert str(tmp_path / "gpus.yaml") in refused.value.message


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        ('  pci_class: "0300"\n', "", 'for example `pci_class: "0300"`, as `rtx-2080-ti` has it'),
        ("pcie: [4, 16]", "pcie: 4", "for example `pcie: [3, 16]`, as `rtx-2080-ti`"),
        ("[8, 6]", "8.6", "for example `compute_capability: [7, 5]`"),
        ("rtx-9999:\n", "- sku: rtx-9999\n", "begin with the row's id and a colon"),
    ],
)
def test_a_bad_row_s_hint_leads_to_a_right_one(
    tmp_path: Path, old: str, new: str, hint: str
) -> None:
    assert old in OWN_CARD
    (tmp_path / "gpus.yaml").write_text(OWN_CARD.replace(old, new))
    with pytest.raises(CatalogError) as refused:
        all_gpus(tmp_path)
    assert refused.value.hint is not None
    assert hint in refused.value.hint
    assert "docs/fit.md shows a whole " in refused.value.hint


def test_an_owners_file_of_comments_only_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "gpus.yaml").write_text("# later\n")
    assert all_gpus(tmp_path) == all_gpus()


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("GeForce RTX 3090 Founders Edition", "rtx-3090"),
        ("EVGA RTX 3090 FTW3 Ultra 24GB", "rtx-3090"),
        ("MSI RTX 3090 Ti Suprim X", "rtx-3090-ti"),
    ],
)
def test_card_is_recognised_within_a_makers_name(written: str, meant: str) -> None:
    assert nearest_gpus(written)[0] == meant
