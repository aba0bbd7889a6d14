"""The starter as a service of llama.cpp, and a model as a GGUF of which only the width is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

ROOT = Path(__file__).parents[3]
CONFIGS = ROOT / "benchmarks/data/model-configs"


def rig(*told: str, count: int = 2) -> Rig:
    """Each of `told` is a line of the service."""
    text = (ROOT / "rigs/starter.yaml").read_text()
    for old, new in (
        ("    count: 2\n", f"    count: {count}\n"),
        ("    engine: vllm\n", "    engine: llama_cpp\n"),
        ("    tensor_parallel_size: 2\n", "    split_mode: layer\n"),
        ("    max_sequences: 8\n", "".join(f"    {line}\n" for line in told)),
    ):
        assert old in text
        text = text.replace(old, new, 1)
    loaded = load_text("rig.yaml", text)
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


def gguf(model: str = "openai/gpt-oss-120b") -> ModelFacts:
    """gpt-oss-120b: 36 layers, 58 GiB; two 3090s have 47."""
    facts = load_model_facts(model, [CONFIGS])
    assert facts is not None
    return replace(facts, quantization=Quantization(Scheme.GGUF, bits_per_weight=4.3), sizes=None)
