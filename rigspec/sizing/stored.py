"""Bytes of a checkpoint: by its dimensions, by who read them, and how far the two are apart."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache

from rigspec.catalog.model_facts import ExactSizes, Lacks, ModelFacts
from rigspec.catalog.model_quant import UNKNOWN_FORMAT, Scheme
from rigspec.catalog.model_sizes import ROUNDED_ERROR
from rigspec.frozen import dataclass
from rigspec.sizing.held import as_held
from rigspec.sizing.matrices import Cut, Matrix, Part, matrices
from rigspec.units import text_gib

MXFP4_KERNELS = 0.025
"""Triton's kernels on Hopper pad MXFP4 experts otherwise than Marlin's: gpt-oss-20b loads 13.47 and
gpt-oss-120b 64.6; 3.63 at TP 4, 3.56 by the rule."""

MADE_BY_SOMEBODY = 0.05
"""Above this doubt of the dimensions a page's rounded figure is not taken alone, unless they tell
nothing of the format: one calls an AWQ of 27B 17 GB that loads 19.8 (two other pages, of NVFP4
files, are 1 and 5 % low)."""

UNSTATED: Mapping[Lacks, float] = {"nothing": 1.0, "dense": 8.0, "experts": 100.0}
"""By how many times the weights may exceed what the config states of them. Of a hundred published
configs Gemma 2 27B is 7.2 times what it is without its widths, Kimi-K2 95 times."""


LEAST_BITS = 1.0
"""Of a whole checkpoint, per weight; the narrowest published file type has two (`IQ1_S`)."""


@dataclass(frozen=True)
class Calibration:
    """How what is stored compares with the dimensions."""

    scale: float
    """Of every matrix."""
    basis: str
    """What it rests on."""
    error: float
    """Relative, both ways."""
    least: float = 1.0
    """By which factor the weights may be less: another reading of the same files says so."""
    most: float = 1.0
    """The same upwards."""
    experts: float | None = None
    """Of routed experts alone, where a header tells the parts of a file."""
    words: float | None = None
    """Of the table of words, likewise."""
    rest: float | None = None
    """Of all others."""

    def of(self, matrix: Matrix) -> float:
        """How what is stored of this matrix compares with its dimensions."""
        own = self.words if matrix.part is Part.EMBEDDING else self.rest
        if matrix.cut is Cut.EXPERTS:  # those that draft, too
            own = self.experts
        return self.scale if own is None else own


@lru_cache(maxsize=16)
def calibration(facts: ModelFacts) -> Calibration:
    """How far the formulas are from known sizes, what the figure rests on, and its doubt."""
    formula, sizes = formula_bytes(facts), believed(facts)
    if sizes is None or formula <= 0:
        least, most = facts.weights_span
        most = max(most, UNSTATED[facts.lacks], _left_wide(facts) / formula if formula else 1.0)
        return Calibration(1.0, "formulas over config.json", formula_doubt(facts), least, most)
    stored = sizes.total_bytes
    tables = (formula + size for size in _table_sizes(facts))
    nearest = min(
        (formula, formula + _tied_copy(facts), *tables), key=lambda size: abs(size - stored)
    )
    mixed_in = 0.03 if facts.hyper_streams > 1 else 0.0003
    if size_doubt(facts) or facts.contradicted:
        mixed_in = max(mixed_in, 0.1)
    if facts.quantization.scheme is Scheme.MXFP4 and facts.has_experts:
        mixed_in = max(mixed_in, MXFP4_KERNELS)
    ratio, rounded = stored / nearest, sizes.relative_error
    if rounded >= ROUNDED_ERROR and MADE_BY_SOMEBODY < formula_doubt(facts) < UNKNOWN_FORMAT:
        ratio = math.sqrt(ratio)  # neither knows better: the middle, with both in the band
        mixed_in += abs(ratio - 1)
    other = _other_reading(facts, ratio)
    error = mixed_in + rounded
    found = Calibration(ratio, sizes.source, error, min(1.0, other), max(1.0, other))
    return _by_part(found, facts, sizes)


def _by_part(found: Calibration, facts: ModelFacts, sizes: ExactSizes) -> Calibration:
    """The same with experts, the table of words and all others apart, where a header tells them."""
    stored = matrices(facts)
    experts = sum(m.stored_bytes for m in stored if m.cut is Cut.EXPERTS)
    words = sum(m.stored_bytes for m in stored if m.part is Part.EMBEDDING)
    told, table = sizes.expert_bytes or 0, sizes.words_bytes or 0
    others, rest = formula_bytes(facts) - experts - words, sizes.total_bytes - told - table
    if min(words, table, others, rest) <= 0 or (told > 0) is not (experts > 0):
        return found
    weights = sum(m.elements for m in stored if m.cut is Cut.EXPERTS)
    if told < LEAST_BITS / 8 * weights:
        return found  # no file is so narrow
    return replace(
        found,
        experts=told / experts if experts else None,
        words=table / words,
        rest=rest / others,
    )


def believed(facts: ModelFacts) -> ExactSizes | None:
    """The bytes that somebody read; None where nobody did, and for a total without tensors, as an
    index states it, that leaves no bit for each weight: it is of nothing at all."""
    sizes = facts.sizes
    if sizes is None or sizes.shapes is not None:
        return sizes
    least = LEAST_BITS / 8 * sum(matrix.elements for matrix in matrices(facts))
    return sizes if sizes.total_bytes >= least else None


def _other_reading(facts: ModelFacts, ratio: float) -> float:
    """What the config gives, as a share of what the files hold, where one of the two is wrong."""
    if facts.quantization.scheme is not Scheme.GGUF:
        return 1 / ratio if size_doubt(facts) or facts.contradicted else 1.0
    if not facts.contradicted:
        return 1.0
    # how a GGUF's weights are stored only its bytes say: those of the layers that it holds
    return formula_bytes(facts) / formula_bytes(as_held(facts))


@lru_cache(maxsize=16)
def formula_bytes(facts: ModelFacts) -> float:
    """Bytes of a checkpoint by its dimensions and its quantization record."""
    return sum(m.stored_bytes for m in matrices(facts))


def _tied_copy(facts: ModelFacts) -> int:
    """Bytes of the second copy of a tied table that some files hold."""
    return facts.vocab * facts.hidden * facts.dtype_bytes if facts.tied else 0


_TABLE_WIDTHS = (33 / 32, 17 / 32)
"""Bytes per element of n-gram tables in 8 and 4 bits, scales included."""


def _table_sizes(facts: ModelFacts) -> tuple[float, ...]:
    """What n-gram tables may take of the files."""
    widths = (facts.dtype_bytes, *_TABLE_WIDTHS) if facts.ngram_elements else ()
    return tuple(facts.ngram_elements * width for width in widths)


def table_bytes(facts: ModelFacts) -> float:
    """What n-gram tables take where they lie on the cards, by the files or as a habit: 8 bits in a
    quantized checkpoint (DeepSeek-V4.1-Flash)."""
    sizes = _table_sizes(facts)
    if not sizes:
        return 0.0
    read = believed(facts)
    if read is None:
        return sizes[0 if facts.quantization.scheme is Scheme.PLAIN else 1]
    rest = read.total_bytes - formula_bytes(facts)
    return min(sizes, key=lambda size: abs(size - rest))


def size_doubt(facts: ModelFacts) -> str:
    """Why dimensions and bytes cannot be of one checkpoint; empty when they can.

    Files on disk may hold a second head or a draft nobody counts; a third more or less is a lie
    about the layers or about the format.
    """
    opaque = facts.is_gguf or facts.is_novel or facts.weights_doubt > 0
    if facts.sizes is None:
        return ""
    formula, stored = formula_bytes(facts), facts.sizes.total_bytes
    if believed(facts) is None:
        return (
            f"{stored:,} bytes by {facts.sizes.source}, less than a bit for each of its "
            "weights: reckoned from its dimensions"
        )
    if opaque or facts.contradicted:
        return ""
    copy = facts.vocab * facts.hidden * facts.dtype_bytes + max(_table_sizes(facts), default=0)
    if 0.75 * formula <= stored <= 1.35 * (formula + copy):
        return ""
    return (
        f"its dimensions and quantization give {text_gib(formula)} of weights, "
        f"{facts.sizes.source} {text_gib(stored)}: one of them is of another checkpoint"
    )


def formula_doubt(facts: ModelFacts) -> float:
    """Relative doubt of weights computed from dimensions alone, by what is not known of them."""
    found = [0.001, facts.weights_doubt]
    set_aside = facts.sizes is not None and believed(facts) is None
    if not facts.known or set_aside:
        found.append(0.10)
    if facts.vision is not None:
        found.append(0.018 if facts.vision.stated else 0.008)
    scheme, listed = facts.quantization.scheme, facts.quantization.has_list
    if scheme is Scheme.MXFP4 and facts.has_experts:
        found.append(MXFP4_KERNELS)
    elif scheme.is_four_bit and not listed:
        found.append(_packers_doubt(facts))
        found.append(_habit_doubt(facts))
    if facts.is_latent:
        found.append(0.03 if facts.hyper_streams > 1 else 0.003)
    if facts.quantization.scheme is Scheme.GGUF:
        found.append(UNKNOWN_FORMAT if set_aside else 0.05)
    return max(found)


def _packers_doubt(facts: ModelFacts) -> float:
    """How far packers go apart: in the group of a scale, in what of states and towers they leave.

    Thirteen plain dense files of 7B to 72B are off by 1.5 % at most, one by 2.9; files with states
    or a tower by up to 14 %.
    """
    if facts.has_experts:
        return 0.12 if facts.has_states else 0.045 if _tells_group(facts) else 0.085
    return 0.12 if facts.has_states or facts.vision is not None else 0.04


def _tells_group(facts: ModelFacts) -> bool:
    """Whether the weights under one scale are known: fixed by the format, recorded, or named."""
    found = facts.quantization
    fixed = found.scheme in (Scheme.NVFP4, Scheme.MXFP4)
    return fixed or bool(found.method) or re.search(r"\bg\d+", found.label) is not None


def _left_wide(facts: ModelFacts) -> float:
    """Bytes where a checkpoint of 8-bit integers without a list leaves attention and states in 16,
    as some do beside recurrent states: 11.87 GiB of a 9B, where all in 8 bits are 10.4. Those of
    8-bit floats have not been seen to (five loads within 1.5 %).
    """
    found = facts.quantization
    if found.has_list or found.scheme is not Scheme.INT8 or not facts.has_states:
        return 0.0
    return formula_bytes(replace(facts, quantization=replace(found, mixer_scheme=Scheme.PLAIN)))


def _habit_doubt(facts: ModelFacts) -> float:
    """How far an unlisted 4-bit float checkpoint may be from the habit assumed for it.

    Some publishers quantize every matrix, some leave all attention alone: GLM-4.7-NVFP4 loads
    10 % less than experts alone would give, Qwen3.6-27B-NVFP4 18 % less than 8-bit attention.
    """
    found = facts.quantization
    if found.scheme not in (Scheme.NVFP4, Scheme.MXFP4) or found.at_load:
        return 0.0
    here = formula_bytes(facts)
    every = replace(found, experts_only=False, mixer_scheme=None)
    least = replace(found, experts_only=facts.has_experts, mixer_scheme=Scheme.PLAIN)
    others = (formula_bytes(replace(facts, quantization=each)) for each in (every, least))
    return max(abs(other - here) for other in others) / here
