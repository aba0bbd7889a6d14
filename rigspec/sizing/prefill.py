"""Prompt processing: arithmetic against the card's 16-bit peak, and all-reduces of full batches."""

from __future__ import annotations

import math

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Latent, Mamba
from rigspec.catalog.model_quant import Scheme
from rigspec.sizing import vllm
from rigspec.sizing.all_reduce import NVLINK, PEER_PCIE, Link
from rigspec.sizing.amount import Amount
from rigspec.sizing.arithmetic import (
    active_elements,
    fit_of,
    is_native,
    peak_tflops,
    tensor_share,
)
from rigspec.sizing.cards import Card
from rigspec.sizing.power import prompt_cost
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.sizing.throughput import Bottleneck, Speed, Step, block_count, weight_bytes

LLAMA_SHARE = {(6, 1): 2.2, (8, 0): 0.61, (9, 0): 0.36, (12, 0): 1.9, (12, 1): 1.3}
"""llama.cpp's share on boards that are no GeForce, relative to the fit on Ampere and Ada: no
kernels of their own for the A100 and Hopper (PCIe boards, 8B and 70B, one author), 8-bit tensor
cores at twice the rate on an RTX PRO 6000 (7B and 70B, two authors) and a GB10 (1.7B to 32B, one
author)."""

STATE_FLOPS = 200.0
"""What one element of a recurrent state costs per token in llama.cpp, whose kernels leave the
tensor cores idle: 35B-A3B prompts ran at 55 to 80 % of the fit (ten runs, 3090 to 5090)."""

MXFP4_RISE = 1.35
"""llama.cpp's products of MXFP4 experts: gpt-oss reads prompts 1.2 to 1.7 times as fast as other
experts of its size (seven runs, 3060 to GB10; a V100 and an SFF board do not)."""
EXPERTS_FALL = 2.8
"""A tenth of 44 sources read prompts so much slower in llama.cpp: 80B-A3B on an A100 (4 times),
gpt-oss-120b on four 3090s, 30B-A3B on a 5090 with a build of 2025, 235B Q2_K on a GB10."""

ROW_FALL = 9.0
"""llama.cpp's row split of a prompt: 151 instead of 1,633 tok/s on four 3090s (one run)."""

CHUNK = 2048
"""Tokens per all-reduce; larger chunks cost the same per token."""


LONG_RING = 1.6
"""All-reduces of a whole chunk among more than two ranks over PCIe take so much longer than the
link's rate says (four runs on four 3090s, ten on eight RTX PRO 6000)."""

PIPELINE_RISE, PIPELINE_PROMPT = 1.45, 2048
"""llama.cpp's layer split sends the micro-batches of a longer prompt through the cards one behind
the other: 1.31 times one card's speed on two 3090s, 1.58 on four; two 3060s read 870 tok/s of a
long prompt, 556 of one that fits a micro-batch (five runs)."""

CONTEXT_PARALLEL = 1.25
"""Slower per doubling of decode context parallelism (GLM-5.1: 4,398, 3,762 and 2,818 tok/s); or not
at all: Kimi-K2.6 in a fork of April 2026 7,283, 7,646 and 7,639 on 1, 4 and 8 ranks."""


EIGHT_BIT_RISE = 1.75
"""Integer weights under 8-bit activations (W4A8, int8 on the feed-forward part): 1,812 instead of
1,210 tok/s on a 3090, 6,200 on two 5090s. A flag of the engine, not of the checkpoint."""


NATIVE_SPREAD = 1.0
"""Dense weights in a format the card multiplies in itself, in vLLM and SGLang: 14B FP8 on an RTX
PRO 6000 made 4 times what 16 bits would, 27B NVFP4 on two 5060 Ti 3.2 times (two runs)."""

COMPRESSED_RISE, COMPRESSED_SPREAD = 1.4, 0.6
"""DeepSeek-V4 in vLLM and SGLang reads prompts 0.6 to 2.1 times as fast as other experts of its
size, by the build (14 runs of July to September 2026 on PRO 6000, 4090s of 48 GB and GB10)."""

UNTRIED_FALL = 6.0
"""Before Ampere nobody's prompt checks the fit but one on a T4: 715 tok/s where it gives 3,300."""


def _may_multiply_in_eight_bits(facts: ModelFacts, settings: EngineSettings) -> bool:
    integers = facts.quantization.scheme in (Scheme.INT4, Scheme.INT4_ZERO, Scheme.INT8)
    return integers and settings.engine is not Engine.LLAMA_CPP


def prefill(
    facts: ModelFacts,
    card: Card,
    settings: EngineSettings,
    *,
    prompt: int,
    link: Link = PEER_PCIE,
) -> Speed | None:
    """Prompt tokens per second of one long prompt; None when the card's peak is not known."""
    peak = peak_tflops(card)
    if peak is None:
        return None
    fit = fit_of(facts, settings)
    ranks = max(1, settings.tensor_parallel)
    if settings.engine is Engine.LLAMA_CPP and settings.split != "tensor":
        ranks = 1
    share = tensor_share(facts, card, settings) * _llama_share(facts, card, settings)
    native = is_native(facts, card, settings)
    flops = 2 * active_elements(facts) + score_flops(facts, prompt) + state_flops(facts, settings)
    uncapped_s = flops / (peak * 1e12 * ranks * share)
    per_batch = link.all_reduce_us(CHUNK * facts.hidden * 2, ranks) * _ring(link, ranks)
    reduce_s = 2 * block_count(facts) * per_batch / CHUNK / 1e6
    batch = min(prompt, _batch(facts, card, settings))
    reading_s = _reading_s(facts, card, settings, batch, ranks)
    gathers: float = CONTEXT_PARALLEL ** math.log2(max(1, settings.decode_context_parallel))
    factor = (1 / TENSOR_SLOW if _by_tensor(settings) else 1.0) / gathers
    factor *= PIPELINE_RISE if settings.turns > 1 and prompt >= PIPELINE_PROMPT else 1.0

    def rate(kept: float) -> float:
        """Tokens per second where a cap leaves so much of the arithmetic, which is all it slows."""
        return factor / (_beside(uncapped_s / kept, reading_s, batch) + reduce_s)

    cap = prompt_cost(card, settings)
    tok_s, at_most = rate(cap.value), rate(cap.most)
    spread = max(fit.spread, NATIVE_SPREAD if native else 0.0) + (0.0 if facts.known else 0.2)
    fall = _fall(facts, card, settings, spread, batch) * cap.value / cap.low
    if facts.is_compressed and settings.engine is not Engine.LLAMA_CPP:
        tok_s, at_most = tok_s * COMPRESSED_RISE, at_most * COMPRESSED_RISE
        fall, spread = fall * COMPRESSED_RISE, max(spread, COMPRESSED_SPREAD)
    rise = max(1 + spread, EIGHT_BIT_RISE if _may_multiply_in_eight_bits(facts, settings) else 1.0)
    rise *= gathers  # builds differ
    fastest = 1 / (READING * reading_s) if reading_s else math.inf  # at the whole bandwidth
    slowest = 1 / (fall / tok_s + _serving_s(settings) / prompt)
    arithmetic_s = uncapped_s / cap.value
    return Speed(
        Amount(tok_s, slowest, max(tok_s, min(at_most * rise, fastest))),
        Step(arithmetic_s * 1e3, 0.0, 0.0, reduce_s * 1e3),
        _slowest(arithmetic_s, reading_s, reduce_s),
        f"fit for {settings.engine.value}",
    )


READING = 0.8
"""Of the memory's bandwidth while a batch of a prompt reads the weights."""
FILLED, UNFILLED, SHORT_FALL = 512, 256, 2.2
"""Tokens of a batch that keep a card busy, and up to which it waits for its weights: a shorter one
leaves units idle (nine runs of 128 tokens, 4B to 235B in llama.cpp and a 27B in vLLM, 0.9 to 1.9
times slower than the sum)."""
FIRST_TOKEN_S = 0.08
"""What a server may take beside the prompt before its first token, as published rates hold it:
8,192 tokens of 35B-A3B NVFP4 took a B200 119 ms, of 16 bits an H200 182 (SGLang 0.5.16); an H100
took 159 to 179 ms for 2,048 as for 8,192 tokens of it in 8 bits, 86 for 1,024 (vLLM)."""


def _serving_s(settings: EngineSettings) -> float:
    return 0.0 if settings.engine is Engine.LLAMA_CPP else FIRST_TOKEN_S


TENSOR_SLOW, TENSOR_FALL = 1.4, 1.9
"""llama.cpp's split of every tensor reads prompts so much slower than its links would let it (six
runs on two to four 3090s, 4090s and 5060 Ti: 1.26 to 2.4 times)."""


def _by_tensor(settings: EngineSettings) -> bool:
    split = settings.split == "tensor" and settings.tensor_parallel > 1
    return split and settings.engine is Engine.LLAMA_CPP


def _beside(arithmetic_s: float, reading_s: float, batch: int) -> float:
    """Seconds per token of both: at once, but for what a short batch leaves idle; a longer batch
    never takes less time."""
    work_s, read_s = arithmetic_s * batch, reading_s * batch
    one_by_one = arithmetic_s * min(batch, UNFILLED) + read_s
    return max(math.hypot(work_s, read_s), one_by_one) / batch


def _slowest(arithmetic_s: float, reading_s: float, reduce_s: float) -> Bottleneck:
    if reduce_s > max(arithmetic_s, reading_s):
        return Bottleneck.LINK
    return Bottleneck.MEMORY if reading_s > arithmetic_s else Bottleneck.COMPUTE


def _batch(facts: ModelFacts, card: Card, settings: EngineSettings) -> int:
    """Tokens of a prompt that go through the layers at once."""
    if settings.engine is Engine.LLAMA_CPP:
        return settings.ubatch
    if settings.engine is Engine.SGLANG:
        return settings.max_batched_tokens or 2048
    return vllm.batch_of(facts, settings, card).tokens


def _reading_s(
    facts: ModelFacts, card: Card, settings: EngineSettings, batch: int, ranks: int
) -> float:
    """Seconds per token for reading the weights once for each batch."""
    if card.bandwidth_gb_s is None:
        return 0.0
    size = weight_bytes(facts, settings, batch, ranks)
    return size / (READING * card.bandwidth_gb_s * 1e9) / batch


def _ring(link: Link, ranks: int) -> float:
    over_pcie = link.bandwidth_gb_s < NVLINK.bandwidth_gb_s
    return LONG_RING if ranks > 2 and over_pcie else 1.0


def _fall(
    facts: ModelFacts, card: Card, settings: EngineSettings, spread: float, batch: int
) -> float:
    """How many times slower a prompt may be than computed."""
    untried = card.compute is not None and card.compute < (8, 0)
    row = ROW_FALL if settings.split == "row" else 1.0
    experts = settings.engine is Engine.LLAMA_CPP and facts.has_experts
    found = (row, UNTRIED_FALL if untried else 1.0, EXPERTS_FALL if experts else 1.0)
    short = SHORT_FALL if batch < FILLED else 1.0
    return max(1 + spread, *found, short, TENSOR_FALL if _by_tensor(settings) else 1.0)


def _llama_share(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    if settings.engine is not Engine.LLAMA_CPP:
        return 1.0
    if facts.has_experts:
        return MXFP4_RISE if facts.quantization.expert_scheme is Scheme.MXFP4 else 1.0
    return 1.0 if "GeForce" in card.name else LLAMA_SHARE.get(card.compute or (0, 0), 1.0)


def score_flops(facts: ModelFacts, prompt: int) -> float:
    """Attention scores and values per token, averaged over a prompt."""
    found = 0.0
    for layer in facts.layers:
        mixer = layer.mixer
        if isinstance(mixer, Attention):
            reach = min(prompt / 2, mixer.window) if mixer.window else prompt / 2
            found += 2 * mixer.heads * (mixer.head_dim + mixer.v_dim) * reach
        elif isinstance(mixer, Latent):
            reach = min(prompt / 2, mixer.index_topk) if mixer.index_topk else prompt / 2
            found += 2 * mixer.heads * (mixer.nope_dim + mixer.rope_dim + mixer.v_dim) * reach
            found += 2 * mixer.index_heads * mixer.index_dim * prompt / 2
    return found


def state_flops(facts: ModelFacts, settings: EngineSettings) -> float:
    """Arithmetic of recurrent states per token, as slow as it runs."""
    if settings.engine is not Engine.LLAMA_CPP:
        return 0.0
    found = 0
    for layer in facts.layers:
        mixer = layer.mixer
        if isinstance(mixer, Delta):
            found += mixer.value_heads * mixer.value_dim * mixer.key_dim
        elif isinstance(mixer, Mamba):
            found += mixer.inner * mixer.state
    return STATE_FLOPS * found
