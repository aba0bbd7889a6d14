"""Speed with speculative decoding: accepted tokens against the cost of drafting and verifying.

    gain = accepted length / max(1 + share of drafts + share of link traffic × drafted tokens, host)

The accepted length is a property of the text: stated by the owner or, without that, a per-token
chance of 0.72 (narrative prompts of published 27B and Kimi runs). A pass of a drafter reads its
layers and the output matrix and is launched by the host; llama.cpp and models with experts take κ
of a plain step per drafted token instead, fitted to paired runs with and without drafts.
"""

from __future__ import annotations

import math
from dataclasses import replace

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention
from rigspec.sizing.amount import Amount
from rigspec.sizing.cards import Card
from rigspec.sizing.drafter import drafter_gib
from rigspec.sizing.matrices import Part, matrices
from rigspec.sizing.reading import bytes_per_ms
from rigspec.sizing.records import is_float8
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.throughput import Speed, Step
from rigspec.sizing.vllm_runner import in_pieces
from rigspec.units import GIB

ACCEPT_CHANCE = 0.72

ACCEPT_RANGE = (0.60, 0.84)
"""Chance per token of prose and of code, the ends of what published runs print."""
GUESSED_CHANCE, GUESSED_RANGE = 0.25, (0.0, 0.6)
"""Where a draft is copied from the text so far (n-grams): next to nothing in a new essay, most of
it in an edit of a file; the usual gain of chats is 1 to 1.5 (an estimate, nobody prints it)."""
UNSTATED_GAIN = (0.75, 1.15, 2.1)
"""When a run says only that it may speculate: from drafts that cost more than they bring to the
best of the published pairs."""

LEAST_GAIN, LLAMA_LEAST_GAIN = 0.8, 0.6
"""An owner who loses more turns the drafts off; beside experts in llama.cpp runs kept 0.62."""
PASS_MS, SGLANG_PASS_MS = 1.2, 0.4
"""One pass of a drafter beside what it reads: launches and sampling. EAGLE for 8B on an H100, 2 to
7 drafts: 1.7 to 1.8 ms each, 0.5 of it reading; MTP of 27B FP8 on two 3090s 3.4 to 3.9, 2.2 of it
reading (vLLM 0.8 to 0.24, eight runs). SGLang drafts from graphs: EAGLE3 for 8B on an H100 1.0, of
it 0.5 reading, MTP of 27B on an A100 2.5 of 2.2 (four runs that print their accepted length)."""
EARLY_DFLASH, EARLY_DFLASH_MS = (0, 24), 18.0
"""Block drafters of early vLLM took so much longer: 30 to 40 ms per step of a 27B model on two
3090s, 25 from 0.27 on (nine runs and one)."""
LLAMA_EXPERTS_COST, LLAMA_STATES_COST = 0.27, 0.8
"""κ of llama.cpp beside experts, and where recurrent states must be kept for each draft, too: Gemma
4 26B-A4B gained 1.5 from three drafts, 35B-A3B kept 0.63 to 0.92 of its speed with two to five
(four runs of three rigs, llama.cpp and ik_llama.cpp)."""
EXPERTS_START, EXPERTS_COST = 0.45, 0.14
"""Where more tokens wake more experts: of a plain step for drafting at all, and per draft. One
draft takes 0.56 of a step in the median of eight runs, two 0.72 of seven, three 0.89 of 59, four
1.1 of six (Kimi-K2.x, GLM-4.7 to 5.2, Qwen3.5-397B, V4-Flash and others on seven kinds of card)."""
BLOCK_EXPERTS_COST = 0.09
"""κ of a block drafter beside experts: one pass drafts them all (V4-Flash with DSpark on two RTX
PRO 6000, 3 and 5 drafts, 0.07 and 0.10)."""
PIECE_LAYER_MS = 0.57
"""Launching a layer in pieces: steps of 34 to 44 ms for 64 layers, with 4-bit and with 8-bit
weights, on two and on four 3090s, 23 to 28 for 40 (fourteen runs of vLLM 0.20 to 0.27)."""
HOSTS = 1.35
"""Slower and faster hosts: 27 to 53 ms for the same step on two machines with a 3090."""


def accepted_length(spec: Speculative) -> float:
    """Mean tokens per step, the first included."""
    if spec.accepted is not None:
        return spec.accepted
    guessed = spec.method == "ngram"
    return _mean_length(GUESSED_CHANCE if guessed else ACCEPT_CHANCE, spec.depth)


def _mean_length(chance: float, depth: int) -> float:
    return float(sum(chance**position for position in range(depth + 1)))


def share_for_drafts(facts: ModelFacts, card: Card, settings: EngineSettings, depth: int) -> float:
    """Of a plain step, for drafting and verifying so many: much where arithmetic is scarce (Ampere)
    and where more tokens wake more experts."""
    if not facts.has_experts:
        plenty = card.compute is not None and card.compute >= (8, 9)
        return depth * (0.12 if plenty else 0.30)
    if settings.speculative is not None and settings.speculative.method == "dflash":
        return depth * BLOCK_EXPERTS_COST
    if settings.engine is Engine.LLAMA_CPP:
        return depth * (LLAMA_STATES_COST if facts.has_states else LLAMA_EXPERTS_COST)
    return EXPERTS_START + depth * EXPERTS_COST


def draft_ms(plain: Step, facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """Milliseconds that drafting and verifying add to a plain step."""
    spec = settings.speculative
    if spec is None:
        return 0.0
    if facts.has_experts or settings.engine is Engine.LLAMA_CPP:
        return share_for_drafts(facts, card, settings, spec.depth) * plain.total_ms
    passes = {"ngram": 0, "dflash": 1}.get(spec.method, spec.depth)
    early = spec.method == "dflash" and (settings.version or EARLY_DFLASH) < EARLY_DFLASH
    per_ms = bytes_per_ms(facts, card, settings)
    read = passes * draft_bytes(facts, settings) / per_ms
    each = SGLANG_PASS_MS if settings.engine is Engine.SGLANG else PASS_MS
    return passes * each + read + (EARLY_DFLASH_MS if early else 0.0)


def draft_bytes(facts: ModelFacts, settings: EngineSettings) -> float:
    """Bytes one rank reads in one pass of a drafter: its layers and the output matrix."""
    spec = settings.speculative
    head = (Part.EMBEDDING if facts.tied else Part.HEAD,)
    parts = (*head, Part.DRAFT) if spec and spec.method == "mtp" else head
    kept = (m.stored_bytes for m in matrices(facts) if m.part in parts and m.name != "mtp.vocab")
    own = drafter_gib(facts, settings).value * GIB
    return own + sum(kept) / max(1, settings.tensor_parallel)


def host_floor_ms(facts: ModelFacts, card: Card, settings: EngineSettings) -> float:
    """Milliseconds the host needs for a step that verifies drafts; 0 where graphs hold it whole.

    FlashInfer, which vLLM takes for an 8-bit float cache on all cards but Hopper's, has graphs for
    single tokens only (before 0.26 on Blackwell, too): with drafts a layer is launched in pieces.
    """
    floats = is_float8(settings)
    attends = any(isinstance(layer.mixer, Attention) for layer in facts.unlike)
    if not (settings.engine is Engine.VLLM and floats and attends and in_pieces(settings, card)):
        return 0.0
    return PIECE_LAYER_MS * len(facts.layers)


def _may_run_whole(card: Card, settings: EngineSettings) -> bool:
    """GeForce and PRO Blackwell before 0.26: a 5070 Ti was held back by the host, two PRO 6000 ran
    27B at about 190 tok/s (0.19.2), for which no host launches layers in pieces."""
    return card.compute is not None and card.compute[0] == 12 and in_pieces(settings, card)


def with_speculation(
    plain: Speed, facts: ModelFacts, card: Card, settings: EngineSettings
) -> Speed:
    """The speed of a plain run turned into that of a speculating one, with a wide band."""
    spec = settings.speculative
    if spec is None:
        return plain
    if spec.method == "unstated":
        low, gain, high = UNSTATED_GAIN
        text = "speculation not described"
        doubt = 1.0
    else:
        accepted = accepted_length(spec)
        added = draft_ms(plain.step, facts, card, settings) / plain.step.total_ms
        sent = plain.step.traffic_ms / plain.step.total_ms  # each drafted row is sent around, too
        step = 1 + added + sent * spec.depth
        floor = host_floor_ms(facts, card, settings) / plain.step.total_ms
        least = _least_gain(facts, settings)
        gain = max(least, accepted / max(step, floor))
        text = f"accepted length {accepted:.2g}, {spec.depth} drafted"
        dearer = (1.0 if facts.has_experts else 0.5) * added  # experts woken: a guess
        unfloored = max(least, accepted / step)
        low, high = gain, unfloored if _may_run_whole(card, settings) else gain
        doubt = gain_doubt(spec, HOSTS if floor > step else (step + dearer) / step)
    value = plain.tok_s.value * gain
    below = _joined(plain.tok_s.value / plain.tok_s.low, doubt)
    above = _joined(plain.tok_s.high / plain.tok_s.value, doubt)
    band = Amount(value, value * low / gain / below, value * high / gain * above)
    return replace(plain, tok_s=band, basis=f"{plain.basis}; {text}")


def _least_gain(facts: ModelFacts, settings: EngineSettings) -> float:
    llama = settings.engine is Engine.LLAMA_CPP and facts.has_experts
    return LLAMA_LEAST_GAIN if llama else LEAST_GAIN


def gain_doubt(spec: Speculative, dearer: float) -> float:
    """By which factor the gain may be missed: what the text accepts, how much dearer a step is."""
    texts = 1.15
    if spec.accepted is None:
        ends = GUESSED_RANGE if spec.method == "ngram" else ACCEPT_RANGE
        least, most = (_mean_length(chance, spec.depth) for chance in ends)
        texts = math.sqrt(most / least)
    depth = 1.25 if spec.tokens is None else 1.0
    return _joined(texts, dearer, depth)


def _joined(*factors: float) -> float:
    """Doubts of different origin, as factors: the root of the squares of their logarithms."""
    return math.exp(math.sqrt(sum(math.log(factor) ** 2 for factor in factors)))
