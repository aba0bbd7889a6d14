"""Weights of 16 bits that the engine quantizes while it loads them."""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme

AT_LOAD = {
    "fp8": Quantization(Scheme.FP8, 0, label="fp8 (at load)"),
    "bitsandbytes": Quantization(Scheme.INT4, 64, label="4-bit (at load)"),
}
"""`quantization` arguments that vLLM and SGLang take for weights of 16 bits; the table and the head
stay as they are. Llama-3.1-70B loads 67.70 GiB so on a PRO 6000 (0.23), Qwen3-8B 9.06 on an L4."""

AT_LOAD_DOUBT = {"fp8": 0.03, "bitsandbytes": 0.12}
"""8B on the L4 loaded 2.8 % more than the formula; nobody printed what 4 bits leave alone."""


def as_loaded(facts: ModelFacts, argument: str | None) -> ModelFacts:
    """The facts of what lies on the cards after loading with this `quantization` argument.

    The sizes of the files say nothing of it. A checkpoint that is quantized already is taken as it
    is: the engine refuses another word for it (`refused.quantization`).
    """
    if argument not in AT_LOAD or facts.quantization.scheme is not Scheme.PLAIN:
        return facts
    doubt = max(facts.weights_doubt, AT_LOAD_DOUBT[argument])
    return replace(facts, quantization=AT_LOAD[argument], sizes=None, weights_doubt=doubt)
