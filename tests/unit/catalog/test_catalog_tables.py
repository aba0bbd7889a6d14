"""Switches, boards, circuits, kernel parameters, engines, and the printable catalog."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rigspec.catalog import data, show
from rigspec.catalog.boards import FIGURES as BOARD_FIGURES
from rigspec.catalog.boards import all_boards, find_board
from rigspec.catalog.circuits import all_circuits, circuits_like
from rigspec.catalog.data import CatalogError, load_table
from rigspec.catalog.engine_support import support
from rigspec.catalog.engines import ENGINES, engine, flag_for
from rigspec.catalog.flag_table import load_flags
from rigspec.catalog.kernel_params import (
    find_folk,
    find_option,
    find_parameter,
    kernel_of,
    known,
    nearest_options,
    nearest_parameters,
)
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.switches import FIGURES as SWITCH_FIGURES
from rigspec.catalog.switches import all_switches, find_switch, switches_with_pci_id

MARKS = ("measured: ", "vendor: ", "secondary: ", "derived: ", "general knowledge", "unknown: ")


def test_every_switch_and_board_figure_says_where_it_comes_from() -> None:
    for switch in all_switches():
        assert set(switch.sources) == set(SWITCH_FIGURES)
        assert all(text.startswith(MARKS) for text in switch.sources.values()), switch.model
    for board in all_boards():
        assert set(board.sources) == set(BOARD_FIGURES)
        assert all(text.startswith(MARKS) for text in board.sources.values()), board.model


def test_a_switch_figure_is_null_exactly_where_its_source_says_unknown() -> None:
    for switch in all_switches():
        for figure in ("lanes", "unidirectional_gb_s", "bidirectional_gb_s", "latency_us"):
            is_null = getattr(switch, figure) is None
            assert is_null == switch.sources[figure].startswith("unknown"), (switch.model, figure)


def test_every_row_of_the_other_tables_names_a_source() -> None:
    for table in ("circuits", "containers", "drivers", "kernel"):
        for row in load_table(table).values():
            assert row.text("source").startswith(MARKS), row.id


@pytest.mark.parametrize(
    ("generation", "theory_gb_s"), [(4, 31.5), (5, 63.0)]
)  # x16, PCI Express base specification
def test_measured_switch_bandwidth_stays_below_link_arithmetic(
    generation: int, theory_gb_s: float
) -> None:
    for switch in all_switches():
        if switch.generation == generation and switch.unidirectional_gb_s:
            assert 0.75 * theory_gb_s < switch.unidirectional_gb_s < theory_gb_s
            assert switch.bidirectional_gb_s is not None
            assert switch.bidirectional_gb_s < 2 * theory_gb_s


def test_generic_switch_takes_the_generation_of_the_spec() -> None:
    found = find_switch("generic", 4)
    assert found is not None
    assert found.model == "generic-gen4"
    assert find_switch("PM40100") is find_switch("c-payne-pm40100")
    assert find_switch("none-such") is None


def test_switch_is_found_by_the_id_its_bridges_show() -> None:
    assert [s.model for s in switches_with_pci_id("1000:C030")] == ["broadcom-pex890xx"]


def test_board_is_found_by_alias_and_unknown_boards_are_none() -> None:
    board = find_board("ASRock ROMED8-2T")
    assert board is not None
    assert (board.model, board.generation) == ("romed8-2t", 4)
    assert find_board("home-made") is None


@pytest.mark.parametrize(
    ("kernel", "model"),
    [
        ("Supermicro Super Server/H12SSL-i, BIOS 2.5 09/08/2022", "h12ssl-i"),
        ("Supermicro Super Server/H12SSL-NT, BIOS 2.0 02/22/2021", "h12ssl-i"),
        ("ASUS System Product Name/Pro WS WRX80E-SAGE SE WIFI, BIOS 0211 11/27/2020",
         "wrx80e-sage"),
        ("ASUS System Product Name/ProArt X870E-CREATOR WIFI, BIOS 1805 12/11/2025",
         "proart-x870e-creator"),
        ("To Be Filled By O.E.M. TRX50 WS/TRX50 WS, BIOS 7.08 01/16/2024", "trx50-ws"),
    ],
)  # fmt: skip
def test_board_is_found_by_its_name_in_a_kernel_log(kernel: str, model: str) -> None:
    """`DMI:` or `Hardware name:` lines of public logs: maker, product, a slash, the board."""
    board = find_board(kernel.partition("/")[2].partition(", BIOS")[0])
    assert board is not None
    assert board.model == model


@pytest.mark.parametrize(
    ("dmi", "model"),
    [
        ("MEG X570 UNIFY (MS-7C35)", "meg-x570-unify"),
        ("X570 AORUS MASTER", "x570-aorus-master"),
        ("PRIME TRX40-PRO S", "prime-trx40-pro"),
        ("MZ33-AR1-000", "mz33-ar1"),
        ("X99-F8D PLUS", "x99-f8d"),
        ("H12DSG-O-CPU", "as-4124gs-tnr"),
        ("0NK5PH", "precision-7910"),
        ("2129", "z840"),
        ("1046", "thinkstation-p620"),
    ],
)
def test_board_is_found_by_its_dmi_name(dmi: str, model: str) -> None:
    board = find_board(dmi)
    assert board is not None
    assert board.model == model


def test_a_board_figure_is_missing_exactly_where_its_source_says_unknown() -> None:
    for board in all_boards():
        unknown = {name for name, text in board.sources.items() if text.startswith("unknown")}
        assert (board.x16_slots is None) == ("slots" in unknown), board.model
        assert (not board.bios) == ("bios" in unknown), board.model
        assert (board.warm_reboot == "unknown") == ("warm_reboot" in unknown), board.model


def test_no_two_boards_answer_to_one_name() -> None:
    names = [name for board in all_boards() for name in (board.model, *board.aliases)]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize(
    ("volts", "amps", "watts"),
    [(120, 15, 1440), (120, 20, 1920), (240, 30, 5760), (230, 13, 2990)],
)
def test_circuit_gives_the_continuous_watts_of_its_rule(
    volts: int, amps: float, watts: float
) -> None:
    assert {circuit.continuous_w for circuit in circuits_like(volts, amps)} == {watts}


def test_domestic_european_socket_gives_less_than_its_breaker() -> None:
    watts = {c.name: c.continuous_w for c in circuits_like(230, 16)}
    assert watts == {"eu-230v-16a-socket": 2300, "eu-230v-16a-fixed": 3680}


def test_no_circuit_gives_more_for_hours_than_its_breaker() -> None:
    assert all(0 < circuit.continuous_factor <= 1 for circuit in all_circuits())


@pytest.mark.parametrize(
    "argument",
    [
        "pci=noacs",
        "pci=realloc=off,noacs",
        "amd_iommu=on",
        "amd_iommu=pt",
        "pcie_acs_override=downstream,multifunction",
        "pcie_aspm=off",
    ],
)
def test_folklore_is_recognised_and_says_what_to_write(argument: str) -> None:
    folk = find_folk(argument)
    assert folk is not None
    assert folk.why
    assert folk.instead


@pytest.mark.parametrize(
    "argument", ["iommu=pt", "pcie_aspm=force", "pci=realloc=off", "amd_iommu=force_enable"]
)
def test_real_arguments_are_no_folklore(argument: str) -> None:
    assert find_folk(argument) is None
    assert known(argument)


@pytest.mark.parametrize("argument", ["iommu=offf", "pci=noacs", "no_such_word", "amd_iommu=on"])
def test_words_the_kernel_does_not_take_are_unknown(argument: str) -> None:
    assert not known(argument)


def test_acs_arguments_are_told_apart_inside_pci() -> None:
    found = find_parameter("pci=config_acs=x0x00xx@0000:00:01.0")
    assert found is not None
    assert (found.name, found.since) == ("pci=config_acs", "6.11")
    assert nearest_parameters("pcie_asmp.policy")[0] == "pcie_aspm.policy"


@pytest.mark.parametrize(
    ("os", "config_acs", "disable_acs_redir"),
    [
        ("debian-12", "no", "yes"),
        ("debian-13", "yes", "yes"),
        ("ubuntu-22.04", "no", "yes"),
        ("ubuntu-24.04", "some", "yes"),
    ],
)
def test_kernel_of_a_system_knows_what_its_age_allows(
    os: str, config_acs: str, disable_acs_redir: str
) -> None:
    """6.1, 6.12, 5.15 or 6.8, 6.8 or 6.14; config_acs since 6.11, disable_acs_redir since 4.19."""
    kernel = kernel_of(os)
    assert kernel.knows("pci=config_acs") == config_acs
    assert kernel.knows("pci=disable_acs_redir") == disable_acs_redir
    assert kernel.knows("no_such_word") == "no"


def test_module_options_are_found_with_dash_or_underscore() -> None:
    assert find_option("nvidia-uvm", "uvm_disable_hmm") is not None
    assert find_option("nvidia_uvm", "disable_hmm") is None
    assert nearest_options("nvidia_uvm", "disable_hmm")[0] == "nvidia_uvm.uvm_disable_hmm"


@pytest.mark.parametrize("name", ENGINES)
def test_every_flag_of_the_engine_table_is_one_its_parser_takes(name: str) -> None:
    table = load_flags(name)
    flags = [flag for flag in engine(name).flags.values() if flag]
    assert not [flag for flag in flags if flag not in table.by_name]
    assert engine(name).flag_version == table.version


def test_all_engines_answer_to_the_same_spec_keys() -> None:
    assert len({tuple(engine(name).flags) for name in ENGINES}) == 1
    assert flag_for("llama_cpp", "tensor_parallel_size") is None


@pytest.mark.parametrize("name", ENGINES)
def test_no_engine_takes_its_key_on_the_command_line(name: str) -> None:
    found = engine(name)
    assert (found.api_key_variable is None) == (found.api_key_how == "config_file")


@pytest.mark.parametrize(
    ("name", "image", "cuda", "driver"),
    [
        ("vllm", "vllm/vllm-openai:v0.24.0@sha256:00", "13.0", "580.65.06"),
        ("llama_cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda13-b11434", "13.0", "580.65.06"),
        ("llama_cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda", "12.8", "525.60.13"),
        ("vllm", "voipmonitor/vllm@sha256:00", None, None),
    ],
)
def test_driver_floor_follows_the_image_tag_where_it_tells(
    name: str, image: str, cuda: str | None, driver: str | None
) -> None:
    assert engine(name).cuda_of_image(image) == cuda
    floor = engine(name).driver_floor(image)
    assert (floor.minimum if floor else None) == driver


def test_stated_cuda_release_wins_over_the_tag() -> None:
    floor = engine("vllm").driver_floor("vllm/vllm-openai:v0.24.0", "12.8")
    assert floor is not None
    assert floor.cuda == "12.8"


@pytest.mark.parametrize("table", show.TABLES)
def test_shown_tables_have_one_line_each_and_entries_show_every_field(table: str) -> None:
    lines = show.list_table(table)
    assert lines
    first = str(next(iter(lines[0].values())))
    entry = show.list_entry(table, first)
    assert {"field", "value", "source"} == set(entry[0])
    assert any(line["source"] for line in entry)
    assert show.list_entry(table, "none-such") == []


def test_an_owners_switch_is_shown_with_ours(tmp_path: Path) -> None:
    (tmp_path / "switches.yaml").write_text(
        'mine:\n  name: my switch\n  generation: 4\n  acs: "no"\n  source: "measured: by me"\n'
    )
    assert show.list_entry("switches", "mine", tmp_path)
    assert find_switch("mine") is None
    (tmp_path / "boards.yaml").write_text("mine:\n  name: my board\n")
    with pytest.raises(CatalogError, match="row `mine`"):
        find_board("mine", tmp_path)


@pytest.mark.parametrize("name", ENGINES)
def test_what_an_engine_refuses_says_where_it_was_read(name: str) -> None:
    taken = support(name)
    if taken is None:
        assert name == "llama_cpp"
        return
    rows = (*taken.cards, *taken.attention, *taken.formats, taken.arguments)
    assert all(row.source.startswith(("measured: ", "reported: ", "derived: ")) for row in rows)
    assert taken.cards[0].versions.every  # any release has a row
    known = {scheme.value for scheme in Scheme}
    assert all(row.schemes <= known for row in taken.formats)
    flag, _ = load_flags(name).by_name["--kv-cache-dtype"]
    listed = {*flag.choices, *flag.also_accepts, *flag.suggested}
    assert all(row.types <= listed for row in taken.attention)


def test_all_tables_load_within_two_tenths_of_a_second() -> None:
    """Measured 35 ms on two quiet cores; best of five, since other work shares the machine."""
    names = (
        "gpus", "switches", "boards", "circuits", "drivers", "containers", "engines", "kernel",
        "engine_support",
    )  # fmt: skip
    seconds = []
    for _ in range(5):
        data._load_table.cache_clear()
        start = time.process_time()
        for name in names:
            load_table(name)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.2
