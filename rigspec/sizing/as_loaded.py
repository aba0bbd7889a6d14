"""Weights of 16 bits that the engine quantizes while it loads them."""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog.gpus import BFLOAT16_SINCE
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.stored import calibration, size_doubt
from rigspec.sizing.weights import rank_weights

_FP8 = Quantization(Scheme.FP8, 0, label="fp8 (at load)", at_load=True)
AT_LOAD = {
    "fp8": _FP8,
    "fp8_per_tensor": _FP8,
    "fp8_per_block": replace(_FP8, scheme=Scheme.FP8_BLOCK, group=128),
    "mxfp8": Quantization(Scheme.MXFP8, 32, label="mxfp8 (at load)", at_load=True),
    "mxfp4": Quantization(Scheme.MXFP4, 32, label="mxfp4 (at load)", at_load=True),
    "bitsandbytes": Quantization(Scheme.INT4, 64, label="4-bit (at load)", at_load=True),
}
"""`quantization` arguments that vLLM and SGLang take for weights of 16 bits (vLLM's documentation,
"Online Quantization"); the table and the head stay as they are. Llama-3.1-70B loads 67.70 GiB so
on a PRO 6000 (0.23), Qwen3-8B 9.06 on an L4."""

MXFP4_SINCE = (0, 29)
"""vLLM whose documentation makes `mxfp4` of 16 bits; before, the word meant files that hold it. Of
older ones, of SGLang and where no version is told nobody knows what becomes of the weights."""

EIGHT_BIT_DOUBT, FOUR_BIT_DOUBT = 0.03, 0.12
"""8B on the L4 loaded 2.8 % more than the formula; nobody printed what 4 bits leave alone."""

BOTH_SINCE, STREAMED_SINCE = (0, 13), (0, 15)
"""vLLM that holds both copies until the last is made (vllm-project/vllm pull 32773: 30B-A3B ran out
of 80 GB), and that makes one tensor after another (pull 31914); older ones hold the 16 bits of all
(issue 6875)."""

SGLANG_WHOLE_UNTIL = (0, 5, 8)
"""SGLang known to load all 16 bits first: sgl-project/sglang pull 17945, open at this release."""

BOTH_COPIES = 1.5
"""Of the 16 bits: with the 8 made of them. An SGLang of July 2025 kept 1.46 (issue 8337)."""


NO_HALF = frozenset({"gemma2", "gemma3", "gemma3_text", "plamo2", "glm4"})
"""Model types that vLLM does not compute in float16 (`_FLOAT16_NOT_SUPPORTED_MODELS` of its
`config/model.py`, 0.9 to 0.33)."""


def lacks_half(facts: ModelFacts, card: Card) -> bool:
    """Whether neither of the two types of 16 bits is left for a model on a card, in vLLM."""
    old = card.compute is not None and card.compute < BFLOAT16_SINCE
    return old and facts.model_type in NO_HALF


def as_computed(facts: ModelFacts, card: Card, settings: EngineSettings) -> ModelFacts:
    """The facts of a model that vLLM computes in 32 bits, as the card has no bfloat16 and the model
    does not bear float16: weights of 16 bits take twice the room, and the cache too."""
    plain = facts.quantization.scheme is Scheme.PLAIN and facts.dtype_bytes == 2
    if settings.engine is not Engine.VLLM or not plain or not lacks_half(facts, card):
        return facts
    read = facts.sizes
    sizes = replace(read, total_bytes=2 * read.total_bytes) if read else None
    return replace(facts, dtype_bytes=4, sizes=sizes)


def as_loaded(facts: ModelFacts, argument: str | None, settings: EngineSettings) -> ModelFacts:
    """The facts of what lies on the cards after loading with this `quantization` argument.

    The sizes of the files say nothing of it. A checkpoint that is quantized already is taken as it
    is: the engine refuses another word for it (`refused.quantization`).
    """
    found = AT_LOAD.get(argument or "")
    if found is None or facts.quantization.scheme is not Scheme.PLAIN:
        return facts
    if found.scheme is Scheme.MXFP4 and not _makes_mxfp4(settings):
        return facts
    own = FOUR_BIT_DOUBT if found.scheme.is_four_bit else EIGHT_BIT_DOUBT
    lie, read = size_doubt(facts), calibration(facts)
    return replace(
        facts,
        quantization=found,
        sizes=None,
        weights_doubt=max(facts.weights_doubt, own),
        # files that contradict the config do so whatever is made of them
        weights_span=(min(1.0, 1 / read.most), max(1.0, 1 / read.least))
        if lie or facts.contradicted
        else facts.weights_span,
        doubts=(*facts.doubts, *filter(None, (lie,))),
    )


def _makes_mxfp4(settings: EngineSettings) -> bool:
    return settings.engine is Engine.VLLM and settings.is_since(MXFP4_SINCE)


def load_peak(facts: ModelFacts, settings: EngineSettings) -> Amount | None:
    """GiB of weights that the fullest rank holds before the last of them is quantized.

    None where no more is held than is kept: nothing is quantized, or each tensor on its own
    (bitsandbytes, vLLM from `STREAMED_SINCE` on).
    """
    kept = facts.quantization
    if not kept.at_load or kept.scheme.is_four_bit:
        return None
    version, sglang = settings.version, settings.engine is Engine.SGLANG
    if not sglang and settings.is_since(STREAMED_SINCE):
        return None
    whole = rank_weights(replace(facts, quantization=Quantization()), settings).amount
    known = version is not None and (not sglang or version <= SGLANG_WHOLE_UNTIL)
    least = whole.low if known else rank_weights(facts, settings).amount.low
    both = sglang or version is None or version >= BOTH_SINCE
    return Amount(whole.value, least, whole.high * (BOTH_COPIES if both else 1.0))
