"""A hint leads to a value that is taken, and one slip is one finding."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.finding import Finding
from rigspec.spec.load import load, load_text

FINE = Path(__file__).resolve().parents[2] / "errors" / "base-is-fine.yaml"


def changed(old: str, new: str) -> tuple[Finding, ...]:
    text = FINE.read_text(encoding="utf-8")
    assert old in text
    return load_text("rig.yaml", text.replace(old, new, 1)).findings


PSU = "      watts: 1600\n"


@pytest.mark.parametrize(
    ("old", "new"),
    [(PSU, PSU + "      efficiency: 90\n"), ("      gpus: [main]", "      gpus: main")],
)
def test_list_whose_item_is_wrong_is_not_called_empty(old: str, new: str) -> None:
    (only,) = changed(old, new)
    assert only.path[:3] == ("power", "psus", 0)


def test_list_without_items_is_still_called_empty() -> None:
    text = FINE.read_text(encoding="utf-8")
    start, end = text.index("  psus:\n"), text.index("driver:")
    (only,) = changed(text[start:end], "  psus: []\n\n")
    assert only.rule == "shape.empty"


TP = "    tensor_parallel_size: 2\n"


@pytest.mark.parametrize(
    ("old", "line", "hinted"),
    [
        (TP, "    gpu_memory_fraction: 92%\n", "`0.92`"),
        (TP, "    gpu_memory_fraction: 92\n", "`0.92`"),
        (PSU, "      efficiency: 90\n", "`0.9`"),
        (PSU, "      efficiency: 90%\n", "`0.9`"),
    ],
)
def test_percentages_become_shares_where_a_share_belongs(old: str, line: str, hinted: str) -> None:
    (only,) = changed(old, old + line)
    assert hinted in only.hint


def test_percentage_of_something_else_stays_a_number() -> None:
    (only,) = changed("power_limit_w: 280", "power_limit_w: 92%")
    assert "`92`" in only.hint


@pytest.mark.parametrize("share", ["0", "150", "1.5"])
def test_no_share_is_offered_that_would_be_refused(share: str) -> None:
    (only,) = changed(TP, TP + f"    gpu_memory_fraction: {share}\n")
    assert only.hint == ""


def test_secret_for_a_variable_name_is_answered_with_the_right_variable() -> None:
    (only,) = (
        f
        for f in changed("listen: {port: 8000}", "api_key_env: sk-abc123def456ghi789")
        if f.path[-1] == "api_key_env"
    )
    assert "RIG_API_KEY" in only.hint


@pytest.mark.parametrize("lanes", [3, 6, 24])
def test_link_widths_that_no_link_has_are_refused(lanes: int) -> None:
    (only,) = changed("pcie:\n", f"pcie:\n  width: {lanes}\n")
    assert "1, 2, 4, 8, 12, 16, 32" in only.message


@pytest.mark.parametrize("lanes", [1, 2, 4, 8, 12, 16, 32])
def test_link_widths_that_exist_are_taken(lanes: int) -> None:
    assert not changed("pcie:\n", f"pcie:\n  width: {lanes}\n")


def test_whole_driver_version_as_branch_is_split() -> None:
    (only,) = changed("branch: 580", "branch: 580.95.05")
    assert "`branch: 580`" in only.hint
    assert "`version: 580.95.05`" in only.hint


@pytest.mark.parametrize(
    ("old", "new", "hinted"),
    [
        ("watts: 1600", "watts: 1.6kW", "`1600`"),
        ("watts: 1600", "watts: 1.6k", "`1600`"),
        ("generation: 4\n", "generation: 4\n  width: x8\n", "`8`"),
        ("generation: 4\n", "generation: 4\n  width: 8x\n", "`8`"),
        ("cpu: amd", "cpu: threadripper", "`amd`"),
        ("iommu: pt\n", "iommu: pt\n  arguments: [quiet splash]\n", "`quiet`, `splash`"),
        (TP, TP + '    mounts: ["/srv/t:/t"]\n', "`/path/on/host: /path/in/container`"),
        (TP, "    split_mode: tensor_parallel\n", "`tensor`"),
    ],
)
def test_what_owners_write_leads_to_what_is_taken(old: str, new: str, hinted: str) -> None:
    (only,) = changed(old, new)
    assert hinted in only.hint


SKU, MODEL = "sku: rtx-a6000", "    model: chat"


@pytest.mark.parametrize(
    ("old", "new", "hint"),
    [
        (TP, TP + "    gpu_memory_fraction: 0,92\n", "decimals follow a point: `0.92`"),
        (TP, TP + "    gpu_memory_fraction: 92,5\n", "a share of 1, not percent: `0.925`"),
        ("watts: 1600", "watts: 1,600", "write it without separators: `1600`"),
        ("watts: 1600", "watts: 0.29", "in whole watts: `290`"),
        ("power_limit_w: 280", "power_limit_w: 279.5", "in whole watts: `280`"),
        (TP, TP + "    context_length: 3.2e4\n", "write the number out: `32000`"),
        (TP, TP + "    context_length: max\n", "`auto` is the longest"),
        ("generation: 4", "generation: Gen4", "write `4`"),
        ("generation: 4", "generation: PCIe 4.0", "write `4`"),
        ("port: 8000", "port: 8000/tcp", "write `8000`"),
        (SKU, "sku:", "what goes there: catalog name of the card, for example `rtx-3090`"),
        ("iommu: pt", "iommu:", ""),
        (TP, TP + "    environment: {A: }\n", 'write `""` if an empty text is meant'),
        (TP, TP + "    mounts: {/a: }\n", ""),
        ("iommu: pt", "iommu: pt\n  module_options: {nvidia: {A: }}", 'write `""` if an empty'),
        (MODEL, "    model: Qwen/Qwen3-32B-FP8", "one of the names below `models`: `chat`"),
        (MODEL, "    model: Qwen/Qwen3.6-27B-FP8", "its name below `models` goes here: `chat`"),
        ("name: desk", "name: My Rig", "for example `my-rig`"),
        (
            "name: desk",
            "name: " + "Long Name " * 9,
            "for example `long-name-long-name-long-name-lo`",
        ),
        ("name: desk", "name: ÄÖ", "for example `main`"),
        ("  chat:\n    hub", "  My_Chat:\n    hub", "for example `my-chat`"),
    ],
)
def test_a_hint_can_be_followed(old: str, new: str, hint: str) -> None:
    found = changed(old, new)[0]
    assert found.hint.startswith(hint) if hint else not found.hint.startswith("write `")


def test_a_service_without_models_is_told_to_describe_one() -> None:
    text = FINE.read_text(encoding="utf-8").replace(MODEL, "    model: Qwen/Qwen3-32B-FP8")
    start, end = text.index("models:\n"), text.index("services:")
    (found,) = load_text("rig.yaml", text[:start] + text[end:]).findings
    assert found.hint.startswith("describe it below `models` first")


def test_a_spec_whose_name_is_misspelt_is_named(tmp_path: Path) -> None:
    (tmp_path / "home.yaml").touch()
    (found,) = load(str(tmp_path / "hom.yaml")).findings
    assert found.hint == f"did you mean {tmp_path / 'home.yaml'}?"
    (found,) = load(str(tmp_path / "workstation.yaml")).findings
    assert found.hint == "give the path of a rig spec"
