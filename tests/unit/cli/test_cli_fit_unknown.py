"""`rigspec fit` of models of which something is not stated, or not known to the release."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asked import fit

pytestmark = pytest.mark.usefixtures("in_the_repository")
CONFIGS = Path(__file__).resolve().parents[3] / "benchmarks/data/model-configs"


def test_a_cache_of_unknown_size_is_too_close_to_call(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(
        (CONFIGS / "deepseek-ai__DeepSeek-V4-Flash.json").read_bytes()
    )
    words = (str(tmp_path), "--gpu", "h200", "--count", "4", "--engine", "sglang")
    rows = [line.split("  ") for line in fit(*words).output.splitlines() if " 4  8,192" in line]
    assert ["?" in map(str.strip, row) for row in rows] == [True]  # not 0 requests at once
    done = fit(*words, "--context", "65536")
    assert done.exit_code == 0
    assert "TP 4: too close to call" in done.output
    assert "no single change" not in done.output  # none is needed
    assert "what would fit" not in done.output
    assert fit(*words, "--context", "65536", "--count", "1").output.count("  what may fit:") == 1


def test_a_release_before_the_model_s_class_is_warned_about(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((CONFIGS / "zai-org__GLM-4.7-Flash.json").read_bytes())
    words = (str(tmp_path), "--gpu", "h100", "--context", "4096", "--engine-version")
    said = "vLLM 0.14.1 does not list `Glm4MoeLiteForCausalLM`; releases from 0."
    assert f"warning: {said}" in fit(*words, "0.14.1").output
    assert any(each.startswith(said) for each in json.loads(
        fit(*words, "0.14.1", "--json").output)["warnings"])  # fmt: skip
    for listing in ("0.16.0", "0.14.1.dev7"):  # a patched build may hold what it likes
        assert "does not list" not in fit(*words, listing).output


def test_a_model_of_fewer_layers_than_it_has_is_not_told_to_change_settings(
    tmp_path: Path,
) -> None:
    name = "nvidia__NVIDIA-Nemotron-3-Nano-30B-A3B-BF16.json"
    config = json.loads((CONFIGS / name).read_text())
    config["hybrid_override_pattern"] = config["hybrid_override_pattern"][:4]
    (tmp_path / "config.json").write_text(json.dumps(config))
    shown = fit(str(tmp_path), "--gpu", "h200", "--count", "2", "--context", "8192",
                "--sequences", "8").output  # fmt: skip
    assert "too close to call" in shown
    assert "names 4 layers, `num_hidden_layers` says 52" in shown
    assert "what would fit" not in shown
    assert "no single change" not in shown
