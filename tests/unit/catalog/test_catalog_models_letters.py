"""Letters of a downloaded file that no terminal should get, and those that are no letters."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_files import object_of
from rigspec.catalog.models import ModelFacts, UnusableModel, facts_of_config, load_model_facts
from rigspec.letters import as_name, one_line

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
QWEN: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
HALF = "\ud800"
STEERING = "q\x1b[31mw\x9b\n\u202een"
HARMLESS = "q�[31mw���en"


def facts(**changed: object) -> ModelFacts:
    found = facts_of_config("m", QWEN | changed)
    assert found is not None
    return found


def test_a_name_may_be_as_long_as_the_longest_of_a_repository() -> None:
    # 96 letters and a little; what is cut says so, and is no longer than what is not
    assert as_name("n" * 100) == "n" * 100
    assert as_name("n" * 101) == "n" * 99 + "…"


def test_no_letter_steers_a_terminal_or_is_half_of_a_pair() -> None:
    # the four that isolate a direction of writing, and the five older ones
    for letter in (*map(chr, range(0x2066, 0x206A)), *map(chr, range(0x202A, 0x202F)), HALF):
        assert one_line(f"a{letter}b") == "a\ufffdb"


@pytest.mark.parametrize(
    ("changed", "place"),
    [
        ({"model_type": f"ll{HALF}ama"}, "model_type"),
        ({"architectures": ["A", HALF]}, "architectures[1]"),
        ({"quantization_config": {"quant_method": HALF}}, "quantization_config.quant_method"),
        ({"notes": {"a": [{f"b{HALF}": 1}]}}, r"notes.a[0].b\ud800"),
        ({"hidden_size": HALF}, "hidden_size"),
    ],
)
def test_half_a_pair_of_utf_16_is_refused_at_its_key(
    changed: dict[str, Any], place: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN | changed))
    with pytest.raises(UnusableModel) as refused:
        load_model_facts(tmp_path)
    said = rf"config.json holds `\ud800` in `{place}`: half of a pair of UTF-16, which is no"
    assert str(refused.value).startswith(said)


def header(tensor: str) -> bytes:
    text = json.dumps({tensor: {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}).encode()
    return struct.pack("<Q", len(text)) + text + b"\0"


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("hf_quant_config.json", b'{"quantization": {"quant_algo": "\\uDFff"}}',
         r"hf_quant_config.json holds `\udfff` in `quantization.quant_algo`"),
        ("model.safetensors.index.json", b'{"weight_map": {"\\ud83e": "a.safetensors"}}',
         r"model.safetensors.index.json holds `\ud83e` in `weight_map.\ud83e`"),
        ("a.safetensors", header(HALF), r"the header of a.safetensors holds `\ud800` in `\ud800`"),
    ],
)  # fmt: skip
def test_so_it_is_in_every_file_of_a_checkpoint(
    file: str, content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(QWEN))
    (tmp_path / file).write_bytes(content)
    with pytest.raises(UnusableModel) as refused:
        load_model_facts(tmp_path)
    assert str(refused.value).startswith(said)


@pytest.mark.parametrize("written", [r"\ud83e\udd99", r"\\ud800", "🦙", r"\ufffd"])
def test_a_whole_pair_and_an_escaped_backslash_are_letters(written: str) -> None:
    data = f'{{"a": "{written}"}}'.encode()
    assert object_of(data, "x") == json.loads(data)


def test_half_a_pair_is_found_however_deep_it_lies() -> None:
    depth = 900  # what the reader of JSON still takes
    data = b'{"a":' * depth + b'"\\ud800"' + b"}" * depth
    with pytest.raises(UnusableModel, match=r"holds `.ud800` in `a\.a\.a\..*…`: half"):
        object_of(data, "x")


@pytest.mark.parametrize(
    "changed",
    [
        {"model_type": STEERING},
        {"torch_dtype": STEERING},
        {"quantization_config": {"quant_method": STEERING}},
    ],
)
def test_what_could_steer_a_terminal_is_replaced_in_a_doubt(changed: dict[str, Any]) -> None:
    found = facts(**changed)
    assert f"`{HARMLESS}`" in " ".join(found.doubts)
    assert found.model_type in ("qwen3", HARMLESS)
    assert found.quantization.label in ("", HARMLESS)


def test_what_could_steer_a_terminal_is_replaced_in_a_refusal() -> None:
    with pytest.raises(UnusableModel, match="the text `q�"):
        facts(hidden_size=STEERING)


def test_a_class_of_thousands_of_letters_is_cut() -> None:
    (doubt,) = facts(model_type="z" * 5000).doubts
    assert "zzz…` is not known" in doubt
    assert len(doubt) < 200


def test_names_of_a_saved_file_are_printable(tmp_path: Path) -> None:
    pin = {"name": STEERING, "revision": STEERING, "source": STEERING, "total_bytes": 16 << 30}
    (tmp_path / "a__b.json").write_text(json.dumps(QWEN | {"_rigspec": pin}))
    found = load_model_facts("a/b", [tmp_path])
    assert found is not None
    assert found.sizes is not None
    assert {found.name, found.revision, found.sizes.source} == {HARMLESS}
