"""What `linear_attn_config` and the factor of a rotary table may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_config import facts_of_config
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import UnusableModel

CONFIGS = Path(__file__).parents[3] / "benchmarks" / "data" / "model-configs"
GLM = "zai-org__GLM-5.3-Flash"  # counts its layers from 0
KIMI = "moonshotai__Kimi-K3"  # counts its layers from 1
PUBLISHED = (GLM, KIMI)


def facts(name: str, /, **changed: object) -> ModelFacts:
    """Facts of a published config with keys of its `linear_attn_config` changed."""
    config: dict[str, Any] = json.loads((CONFIGS / f"{name}.json").read_text())
    config.get("text_config", config)["linear_attn_config"].update(changed)
    found = facts_of_config("m", config)
    assert found is not None
    return found


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_lists_raise_no_doubt(name: str) -> None:
    assert not any("linear_attn_config" in doubt for doubt in facts(name).doubts)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("at", [-1, 94, 4.5, True, "4", [4], None])
def test_a_layer_that_is_not_there_is_a_doubt(name: str, at: object) -> None:
    said = f"`linear_attn_config` names layer {json.dumps(at)} of "
    assert any(said in doubt for doubt in facts(name, full_attn_layers=[4, at]).doubts)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"full_attn_layers": 4}, "`full_attn_layers` is `4`, an engine reads a list there"),
        ({"kda_layers": "all"}, '`kda_layers` is `"all"`, an engine reads a list there'),
        ({"num_heads": "64"}, "`linear_attn_config.num_heads` is the text `64`"),
        ({"num_heads": -64}, "`linear_attn_config.num_heads` is -64, a size is never negative"),
        ({"head_dim": 10**9}, "`linear_attn_config.head_dim` is 1,000,000,000, no model is"),
        ({"head_dim": 0.5}, "`linear_attn_config.head_dim` is 0.5, which is no whole number"),
        ({"short_conv_kernel_size": -4}, "`linear_attn_config.short_conv_kernel_size` is -4"),
    ],
)
def test_what_no_engine_could_read_is_refused(changed: dict[str, object], said: str) -> None:
    with pytest.raises(UnusableModel) as refusal:
        facts(GLM, **changed)
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize("listed", [None, []])
def test_linear_layers_that_nothing_names_are_a_doubt(listed: object) -> None:
    said = "`linear_attn_config` does not say which layers are linear"
    assert said in facts(KIMI, full_attn_layers=listed, kda_layers=listed).doubts
    assert said not in facts(GLM, full_attn_layers=listed).doubts  # its `layer_types` do


def test_lists_that_are_no_object_are_refused() -> None:
    config: dict[str, Any] = json.loads((CONFIGS / f"{GLM}.json").read_text())
    with pytest.raises(UnusableModel, match=r"`linear_attn_config` is `\[4\]`, an engine reads an"):
        facts_of_config("m", config | {"linear_attn_config": [4]})


@pytest.mark.parametrize("factor", [[2.0], {}])
def test_a_factor_is_one_number(factor: object) -> None:
    config: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    with pytest.raises(UnusableModel, match=r"`rope_scaling.factor` is .*, an engine reads"):
        facts_of_config("m", config | {"rope_scaling": {"rope_type": "linear", "factor": factor}})


@pytest.mark.parametrize("section", ["rope_scaling", "rope_parameters"])
@pytest.mark.parametrize(("factor", "said"), [(0, "0"), (0.0, "0"), (-2, "-2"), (-0.5, "-0.5")])
def test_positions_are_not_divided_by_nothing(section: str, factor: float, said: str) -> None:
    config: dict[str, Any] = json.loads((CONFIGS / "Qwen__Qwen3-8B.json").read_text())
    expected = f"`{section}.factor` is {said}, an engine divides positions by it"
    with pytest.raises(UnusableModel) as refusal:
        facts_of_config("m", config | {section: {"rope_type": "linear", "factor": factor}})
    assert str(refusal.value) == expected
    assert facts_of_config("m", config | {section: {"rope_type": "linear", "factor": 0.5}})


def test_opt_keeps_one_table_for_both_ends() -> None:
    # three boots print 0.239 GiB for 125M, with a second table it would be 0.31
    config: dict[str, Any] = json.loads((CONFIGS / "facebook__opt-125m.json").read_text())
    found = facts_of_config("m", config)
    assert found is not None
    assert found.tied
