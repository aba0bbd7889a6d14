"""What the keys of a compressed cache may say (DeepSeek-V4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.models import UnusableModel

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
PUBLISHED = sorted(
    file.stem for file in CONFIGS.glob("*DeepSeek-V4*.json") if "hf_q" not in file.stem
)


def config(name: str = "deepseek-ai__DeepSeek-V4-Flash") -> dict[str, Any]:
    found: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_ones_are_read_whole(name: str) -> None:
    found = facts_of_config("m", config(name))
    assert found is not None
    assert found.lacks == "nothing"
    assert not any("without" in doubt for doubt in found.doubts)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"compress_ratios": "4"}, '`compress_ratios` is `"4"`, an engine reads a list there'),
        ({"compress_ratios": {}}, "`compress_ratios` is `{}`, an engine reads a list there"),
        ({"compress_ratios": [0, "4"]}, '`compress_ratios` holds `"4"` for layer 1'),
        ({"compress_ratios": [0, None]}, "`compress_ratios` holds `null` for layer 1"),
        ({"compress_ratios": [-4]}, "`compress_ratios` holds `-4` for layer 0"),
        ({"compress_ratios": [1 << 40]}, "`compress_ratios` holds `1099511627776` for layer 0"),
        ({"compress_ratios": [True]}, "`compress_ratios` holds `true` for layer 0"),
        ({"indexer_types": "full"}, '`indexer_types` is `"full"`, an engine reads a list there'),
        ({"kv_source_layer_ids": 4}, "`kv_source_layer_ids` is `4`, an engine reads a list"),
        ({"hc_mult": "4"}, "`hc_mult` is the text `4`, which is no number to an engine"),
        ({"hc_mult": -4}, "`hc_mult` is -4, a size is never negative"),
        ({"hc_count": 10**9}, "`hc_count` is 1,000,000,000, no model is beyond 4,096"),
        ({"o_groups": 0.5}, "`o_groups` is 0.5, which is no whole number"),
        ({"o_groups": 10**9}, "`o_groups` is 1,000,000,000, no model is beyond 16,384"),
        ({"index_kpool": -1}, "`index_kpool` is -1, a size is never negative"),
        ({"indexer_compress_ratio": "4"}, "`indexer_compress_ratio` is the text `4`"),
        ({"num_kv_shared_layers": -2}, "`num_kv_shared_layers` is -2, a size is never negative"),
        ({"conv_L_cache": "3"}, "`conv_L_cache` is the text `3`"),
        ({"conv_dim": -1}, "`conv_dim` is -1, a size is never negative"),
    ],
)
def test_what_no_engine_could_read_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UnusableModel) as refusal:
        facts_of_config("m", config() | changed)
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize("ratios", [[], None])
def test_without_ratios_its_cache_is_not_known(ratios: object) -> None:
    found = facts_of_config("m", config() | {"compress_ratios": ratios})
    assert found is not None
    assert found.lacks == "dense"
    assert "the dimensions of a full layer are not stated" in " ".join(found.doubts)


@pytest.mark.parametrize("name", ["o_groups", "sliding_window", "index_n_heads", "index_head_dim"])
def test_a_size_it_does_not_state_is_a_doubt(name: str) -> None:
    found = facts_of_config("m", config() | {name: None})
    assert found is not None
    assert f"compressed attention without `{name}`" in found.doubts
