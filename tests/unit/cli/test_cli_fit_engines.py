"""`rigspec fit`: what an engine assumes by itself, and what it has no kernels for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asked import fit, rigspec

from rigspec.catalog.models import load_model_facts
from rigspec.report.sizing_json import rig_record
from rigspec.rules.context import CheckContext
from rigspec.spec.load import load_text

pytestmark = pytest.mark.usefixtures("in_the_repository")


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        # asked two ways: by the checkpoint, and by the owner
        (
            "nvidia/Llama-3.1-70B-Instruct-FP8",
            ("--gpu", "tesla-t4", "--count", "16"),
            "a cache of type",
        ),
        (
            "Qwen/Qwen3-8B",
            ("--gpu", "tesla-t4", "--count", "2", "--kv-dtype", "fp8"),
            "a cache of type",
        ),
        (
            "deepseek-ai/DeepSeek-V3.2",
            ("--gpu", "a100-80gb-pcie", "--count", "16", "--engine", "sglang"),
            "sparse attention",
        ),
    ],
)
def test_a_cache_or_an_attention_that_no_kernel_reads_is_refused(
    name: str, words: tuple[str, ...], said: str
) -> None:
    version = () if "sglang" in words else ("--engine-version", "0.30.0")
    done = fit(name, *words, "--context", "4096", *version)
    assert done.exit_code == 2
    assert "refused" in done.output
    assert said in done.output


def test_gemma_2_takes_32_bits_on_turing_and_does_not_fit_two() -> None:
    # 9.2 billion weights of 32 bits are 17.2 GiB of each of two cards of 14.6
    words = ("google/gemma-2-9b-it", "--count", "2", "--context", "4096", "--engine-version",
             "0.30.0", "--json")  # fmt: skip
    turing, ampere = (
        json.loads(fit(*words, "--gpu", sku).output) for sku in ("tesla-t4", "rtx-3090")
    )
    assert (turing["verdict"], ampere["verdict"]) == ("no", "yes")


@pytest.mark.parametrize("version", ["0.24.0", "0.30.0"])
def test_fit_and_plan_give_one_answer_of_a_model_with_states(version: str) -> None:
    # prefixes of such models are cached from 0.28 on; nothing here asks for it, or against it
    name = "Qwen/Qwen3.6-27B-FP8"
    facts = load_model_facts(name, [Path("rigs/models")])
    assert facts is not None
    head = Path("rigs/starter.yaml").read_text().partition("\nservices:")[0]
    service = f"""
services:
  qwen:
    engine: vllm
    image: vllm/vllm-openai:v{version}
    engine_version: {version}
    model: qwen
    gpus: [pair]
    tensor_parallel_size: 2
    context_length: 32768
    max_sequences: 16
    listen: {{port: 8000}}
"""
    loaded = load_text("rig.yaml", head + service)
    assert loaded.rig is not None
    planned = rig_record(loaded.rig, CheckContext(models={"qwen": facts}))["services"]["qwen"]
    words = ("--gpu", "rtx-3090", "--count", "2", "--context", "32768", "--sequences", "16")
    asked = json.loads(rigspec("fit", name, *words, "--engine-version", version, "--json").output)
    for key in ("verdict", "kv_tokens", "terms_gib", "concurrency"):
        assert asked[key] == planned[key], key


@pytest.mark.parametrize(
    ("revision", "known"), [("main", False), ("abc", False), ("e89b16e", True), ("E89B16E", True)]
)
def test_a_revision_that_is_not_surely_the_saved_one_is_said(revision: str, known: bool) -> None:
    words = ("--gpu", "rtx-3090", "--count", "2", "--context", "8192")
    said = f"whether `{revision}` is that one is not known"
    assert (said in rigspec("fit", f"Qwen/Qwen3.6-27B-FP8@{revision}", *words).output) is not known
