"""Model facts against published checkpoints: header totals, layer kinds, quantization records."""

from __future__ import annotations

import json
import struct
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_headers import sizes_of_folder, sizes_of_headers, sizes_of_index
from rigspec.catalog.model_keys import Keys, language_keys
from rigspec.catalog.model_names import normalise
from rigspec.catalog.model_parts import Attention, Delta, Latent, Mamba
from rigspec.catalog.model_quant import Scheme, quantization_of
from rigspec.catalog.model_sizes import size_table
from rigspec.catalog.models import (
    UnusableModel,
    file_stem,
    load_model_facts,
    saved_file,
    saved_models,
)

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "benchmarks" / "data" / "model-configs"


def published(name: str) -> ModelFacts:
    facts = load_model_facts(name, [CONFIGS])
    assert facts is not None
    return facts


def mixers(name: str) -> Counter[str]:
    return Counter(
        "window"
        if isinstance(layer.mixer, Attention) and layer.mixer.window
        else type(layer.mixer).__name__
        for layer in published(name).layers
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("Qwen/Qwen3-8B", {"Attention": 36}),
        ("Qwen/Qwen3.5-27B", {"Delta": 48, "Attention": 16}),
        ("Qwen/Qwen3-Next-80B-A3B-Instruct", {"Delta": 36, "Attention": 12}),
        ("google/gemma-2-27b-it", {"window": 23, "Attention": 23}),
        ("google/gemma-3-4b-it", {"window": 29, "Attention": 5}),
        ("openai/gpt-oss-120b", {"window": 18, "Attention": 18}),
        ("deepseek-ai/DeepSeek-R1", {"Latent": 61}),
        ("nvidia/Nemotron-H-56B-Base-8K", {"Mamba": 54, "NoneType": 54, "Attention": 10}),
        ("zai-org/GLM-5.3-Flash", {"Delta": 34, "Latent": 11}),
        ("XiaomiMiMo/MiMo-V2-Flash", {"window": 39, "Attention": 9}),
        ("meta-llama/Llama-4-Scout-17B-16E-Instruct", {"window": 36, "Attention": 12}),
    ],
)
def test_layer_kinds_follow_the_family(name: str, expected: dict[str, int]) -> None:
    assert mixers(name) == expected


def test_head_counts_per_kind_when_window_layers_have_their_own() -> None:
    window = next(
        layer.mixer
        for layer in published("XiaomiMiMo/MiMo-V2-Flash").layers
        if isinstance(layer.mixer, Attention) and layer.mixer.window
    )
    assert (window.kv_heads, window.head_dim, window.v_dim, window.window) == (8, 192, 128, 128)


def test_experts_start_after_the_dense_layers() -> None:
    facts = published("deepseek-ai/DeepSeek-R1")
    dense = [layer.mlp.width for layer in facts.layers if layer.mlp]
    experts = [layer.experts for layer in facts.layers if layer.experts]
    assert dense == [18432] * 3
    assert len(experts) == 58
    assert experts[0] is not None
    assert (experts[0].count, experts[0].active, experts[0].shared_width) == (256, 8, 2048)


def test_latent_record_is_576_wide_for_deepseek() -> None:
    mixer = published("deepseek-ai/DeepSeek-V3.2").layers[0].mixer
    assert isinstance(mixer, Latent)
    assert (mixer.record_width, mixer.index_heads, mixer.index_topk) == (576, 64, 2048)


def test_only_full_indexers_are_counted_when_the_config_lists_them() -> None:
    layers = published("nvidia/GLM-5.2-NVFP4").layers
    owners = [
        layer for layer in layers if isinstance(layer.mixer, Latent) and layer.mixer.index_dim
    ]
    assert 0 < len(owners) < len(layers)


def test_mamba_and_latent_width_experts_in_nemotron() -> None:
    layers = published("nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-FP8").layers
    mamba = next(layer.mixer for layer in layers if isinstance(layer.mixer, Mamba))
    experts = next(layer.experts for layer in layers if layer.experts)
    assert (mamba.inner, mamba.state, mamba.kernel) == (8192, 128, 4)
    assert (experts.latent, experts.gated, experts.active) == (1024, False, 22)


def test_searched_architecture_keeps_its_empty_layers() -> None:
    facts = published("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    assert len(facts.layers) == 80
    assert sum(layer.mixer is None for layer in facts.layers) == 31


def test_delta_net_dimensions() -> None:
    mixer = published("Qwen/Qwen3.8-27B").layers[0].mixer
    assert mixer == Delta(key_heads=16, value_heads=48, key_dim=128, value_dim=128, kernel=4)


@pytest.mark.parametrize("name", ["novel9", "qwen9", "qwen3x", "llama_next", "Qwen3", "text"])
def test_unknown_architecture_is_said(name: str) -> None:
    config = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text()) | {"model_type": name}
    facts = facts_of_config("x", config)
    assert facts is not None
    assert facts.is_novel
    assert f"the architecture `{name}` is not known to rigspec" in facts.doubts


def test_every_published_architecture_is_known() -> None:
    read = (load_model_facts(file) for _, file in saved_models([CONFIGS, ROOT / "rigs/models"]))
    facts = [found for found in read if found is not None]
    assert len(facts) > 100
    assert not [f.model_type for f in facts if any("architecture `" in d for d in f.doubts)]


@pytest.mark.parametrize("missing", ["hidden_size", "vocab_size", "num_hidden_layers"])
def test_no_facts_without_the_dimensions(missing: str) -> None:
    config = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    assert facts_of_config("x", config | {missing: None}) is None


@pytest.mark.parametrize("junk", [None, "", "many", [], {}, True, -1, float("nan"), 1e30])
def test_a_broken_value_is_read_over_or_refused_by_its_key(junk: Any) -> None:
    config = json.loads((CONFIGS / "Qwen__Qwen3.5-35B-A3B.json").read_text())
    for key in config["text_config"]:
        broken = config | {"text_config": config["text_config"] | {key: junk}}
        try:
            facts_of_config("x", broken)
        except UnusableModel as refused:
            assert str(refused).startswith(f"`{key}` is ")


def test_text_numbers_and_nested_sections_are_read() -> None:
    keys = language_keys({"text_config": {"hidden_size": "4096"}, "vocab_size": 7})
    assert (keys.whole("hidden_size"), keys.whole("vocab_size")) == (4096, 7)


def test_a_layer_count_beyond_reason_is_refused() -> None:
    config = {"hidden_size": 8, "vocab_size": 8, "n_layer": 10**9}
    with pytest.raises(UnusableModel, match="`n_layer` is 1,000,000,000, no model is beyond"):
        facts_of_config("x", config)


@pytest.mark.parametrize(
    ("name", "scheme", "kv_fp8"),
    [
        ("Qwen/Qwen3-8B", Scheme.PLAIN, False),
        ("Qwen/Qwen3-8B-AWQ", Scheme.INT4_ZERO, False),
        ("JunHowie/Qwen3-8B-GPTQ-Int4", Scheme.INT4_ZERO, False),
        ("Qwen/Qwen3-32B-FP8", Scheme.FP8_BLOCK, False),
        ("Qwen/Qwen3-32B-FP8-Static-PerTensor", Scheme.FP8, True),
        ("nvidia/GLM-5.1-NVFP4", Scheme.NVFP4, True),
        ("openai/gpt-oss-20b", Scheme.MXFP4, False),
        ("moonshotai/Kimi-K2.5", Scheme.INT4, False),
        ("nvidia/Llama-3.1-70B-Instruct-FP8", Scheme.FP8, True),
        ("deepseek-ai/DeepSeek-V4-Flash", Scheme.MXFP4, False),
    ],
)
def test_quantization_comes_from_the_record(name: str, scheme: Scheme, kv_fp8: bool) -> None:
    quantization = published(name).quantization
    assert (quantization.scheme, quantization.kv_fp8) == (scheme, kv_fp8)


def test_bytes_per_element_follow_the_formats() -> None:
    awq = published("Qwen/Qwen3-8B-AWQ").quantization
    assert awq.bytes_per_element(Scheme.INT4_ZERO, 2) == pytest.approx(0.51953, abs=1e-5)
    assert awq.bytes_per_element(Scheme.NVFP4, 2) == 0.5625
    assert awq.bytes_per_element(Scheme.MXFP4, 2) == 0.53125


def test_ignored_modules_keep_the_model_dtype() -> None:
    kimi = published("moonshotai/Kimi-K2.5").quantization
    assert kimi.scheme_of("layers.3.self_attn.o_proj", plain_by_habit=False) is Scheme.PLAIN
    assert kimi.scheme_of("layers.0.mlp.gate_proj", plain_by_habit=False) is Scheme.PLAIN
    routed = kimi.scheme_of("layers.3.mlp.experts.0.gate_proj", plain_by_habit=False, expert=True)
    assert routed is Scheme.INT4


def test_mixed_checkpoint_takes_each_matrix_from_its_table() -> None:
    mixed = published("nvidia/Qwen3.6-27B-NVFP4").quantization
    name = "layers.0.mlp.up_proj"
    assert mixed.scheme_of(name, plain_by_habit=False) is Scheme.NVFP4
    assert mixed.scheme_of("layers.0.linear_attn.out_proj", plain_by_habit=False) is Scheme.FP8
    assert mixed.scheme_of("layers.0.linear_attn.conv1d", plain_by_habit=False) is Scheme.PLAIN


def test_module_names_of_families_are_one() -> None:
    assert normalise("model.language_model.layers.4.mlp.gate") == "layers.4.mlp.gate"
    assert normalise("model.layers.4.block_sparse_moe.gate") == "layers.4.mlp.gate"


def test_a_broken_quantization_record_is_no_quantization() -> None:
    keys = Keys(({"quantization_config": {"ignore": ["re:(", None]}},))
    assert quantization_of(keys, None).scheme is Scheme.PLAIN


def shard(**tensors: tuple[int, int]) -> bytes:
    """A safetensors file whose tensors are zeros."""
    entries = {n: {"dtype": "BF16", "data_offsets": list(o)} for n, o in tensors.items()}
    text = json.dumps({"__metadata__": {"format": "pt"}, **entries}).encode()
    return struct.pack("<Q", len(text)) + text + bytes(max(o[1] for o in tensors.values()))


def test_header_sizes_are_differences_of_offsets(tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(shard(**{"model.a": (0, 64), "mtp.fc": (64, 80)}))
    assert sizes_of_folder(tmp_path) == ExactSizes(80, "headers of 1 file", 16)
    assert sizes_of_headers([{"__metadata__": {}}], "h") is None


def test_folder_of_a_checkpoint_gives_exact_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    (tmp_path / "a.safetensors").write_bytes(shard(x=(0, 1000)))
    (tmp_path / "consolidated.safetensors").write_bytes(shard(x=(0, 1000)))
    facts = load_model_facts(tmp_path)
    assert facts is not None
    assert facts.sizes is not None
    assert facts.sizes.total_bytes == 1000


def test_parts_that_name_their_number_and_are_not_all_there_are_no_checkpoint(
    tmp_path: Path,
) -> None:
    for number in (1, 2, 3):
        (tmp_path / f"model-0000{number}-of-00003.safetensors").write_bytes(shard(x=(0, 10)))
    found = sizes_of_folder(tmp_path)
    assert found is not None
    assert found.total_bytes == 30
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(UnusableModel, match=r"but not `model-00002-of-00003\.safetensors`"):
        sizes_of_folder(tmp_path)


@pytest.mark.parametrize("entry", [5, {}, {"dtype": "BF16"}, None, []])
def test_a_header_s_entry_that_names_no_bytes_is_no_tensor(tmp_path: Path, entry: object) -> None:
    text = json.dumps({"model.a": entry}).encode()
    (tmp_path / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
    with pytest.raises(UnusableModel, match=r"`model\.a` of a header states no `data_offsets`"):
        sizes_of_folder(tmp_path)


def test_index_states_a_total() -> None:
    assert sizes_of_index({"metadata": {"total_size": 5}}, "i") == ExactSizes(5, "i")
    assert sizes_of_index({"metadata": {}}, "i") is None


def test_saved_file_brings_back_facts_revision_and_sizes(tmp_path: Path) -> None:
    config = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    text = saved_file("Qwen/Qwen3-8B", config, ExactSizes(16381470720, "headers"), revision="b968")
    (tmp_path / f"{file_stem('Qwen/Qwen3-8B')}.json").write_text(text)
    facts = load_model_facts("Qwen/Qwen3-8B@b968", [tmp_path])
    assert facts is not None
    assert (facts.name, facts.revision) == ("Qwen/Qwen3-8B", "b968")
    assert facts.sizes == ExactSizes(16381470720, "headers")


def test_saved_models_are_listed_once_and_without_quantization_records(tmp_path: Path) -> None:
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        folder.mkdir()
        (folder / "org__model.json").write_text("{}")
    (theirs / "org__other.json").write_text("{}")
    (theirs / "org__other.hf_quant_config.json").write_text("{}")
    names = saved_models([mine, theirs])
    assert names == (
        ("org/model", mine / "org__model.json"),
        ("org/other", theirs / "org__other.json"),
    )


def test_model_that_is_not_saved_is_none(tmp_path: Path) -> None:
    assert load_model_facts("nobody/nothing", [tmp_path]) is None


def test_gguf_file_gives_dimensions_and_bytes(tmp_path: Path) -> None:
    gguf = pytest.importorskip("gguf")
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "tiny.gguf"
    writer = gguf.GGUFWriter(str(path), "qwen3")
    writer.add_block_count(2)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(128)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_key_length(16)
    writer.add_context_length(4096)
    writer.add_vocab_size(100)
    writer.add_tensor("token_embd.weight", numpy.zeros((100, 64), dtype=numpy.float16))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    facts = load_model_facts(path)
    assert facts is not None
    assert facts.sizes is not None
    assert (facts.hidden, facts.vocab, len(facts.layers)) == (64, 100, 2)
    assert (facts.heads, facts.kv_heads, facts.tied) == (4, 2, True)
    assert facts.sizes.total_bytes == 100 * 64 * 2


def test_size_table_finds_a_repository_inside_a_description() -> None:
    rows = {"club3090": {"rows": [{"model": "Lorbus/Qwen-int4", "size_gb": 17.5}, {"model": None}]}}
    table = size_table(rows)
    found = table.find("Qwen3.6-27B INT4 (Lorbus/Qwen-int4, as shipped)")
    assert found is not None
    assert found[1].total_bytes == 17_500_000_000
    assert table.find("Lorbus/Qwen-int4-mtp") is None
    assert size_table(None).find("x") is None
