"""What people call a quantization: `AWQ INT4`, `fp8 block`, `UD-Q4_K_XL` …

GGUF file types mix tensor types; the table holds whole-file bits per weight of Llama-3.1-8B
(llama.cpp `tools/quantize/README.md`), which other dense models meet within about 5 %.
"""

from __future__ import annotations

import re

from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.frozen import dataclass

GGUF_BITS = {
    "IQ1_S": 2.00, "IQ1_M": 2.15, "IQ2_XXS": 2.38, "IQ2_XS": 2.59, "IQ2_S": 2.74, "IQ2_M": 2.93,
    "IQ3_XXS": 3.25, "IQ3_XS": 3.50, "IQ3_S": 3.66, "IQ3_M": 3.76, "IQ4_XS": 4.46, "IQ4_NL": 4.68,
    "IQ4_KS": 4.50, "IQ4_K": 4.97, "Q2_K": 3.16, "Q2_K_S": 2.97, "Q2_K_L": 3.67, "Q2_K_XL": 3.10,
    "Q3_K_S": 3.64, "Q3_K_M": 4.00, "Q3_K_L": 4.30, "Q3_K_XL": 4.20, "Q4_0": 4.66, "Q4_1": 5.12,
    "Q4_K_S": 4.67, "Q4_K_M": 4.89, "Q4_K_L": 5.28, "Q4_K_P": 5.00, "Q4_K_XL": 5.15, "Q5_0": 5.58,
    "Q5_1": 6.03, "Q5_K_S": 5.57, "Q5_K_M": 5.70, "Q5_K_L": 6.02, "Q5_K_P": 5.80, "Q5_K_XL": 5.75,
    "Q6_K": 6.56, "Q6_K_L": 6.81, "Q6_K_XL": 7.20, "Q6_K_P": 6.80, "Q8_0": 8.50, "Q8_K_XL": 9.80,
    "MXFP4": 4.34, "NVFP4": 4.95, "BF16": 16.0, "F16": 16.0,
}  # fmt: skip
"""`_L` of 2, 4, 5 and 6 bits holds the table of words and the output in Q8_0: reckoned so."""

_GGUF_NAME = re.compile(
    r"(?<![A-Z0-9])(IQ[1-4]_(?:XXS|XS|NL|KS|[SMK])|Q[2-8]_(?:K(?:_(?:XL|[SMLP]))?|[01]))(?![A-Z0-9])"
)

_EIGHT_BIT = (Scheme.FP8, Scheme.FP8_BLOCK, Scheme.MXFP8)


@dataclass(frozen=True)
class Words:
    """A quantization as somebody named it."""

    scheme: Scheme
    group: int = 128
    experts_only: bool = False
    bits: float = 0.0
    dtype_bytes: int | None = None
    mixed: bool = False
    """Two formats are named: the second is that of the attention matrices."""
    plain_mixers: bool = False
    """The second is 16 bits."""


def gguf_words(text: str) -> Words | None:
    """A GGUF file type anywhere in the text."""
    upper = text.upper().replace("-", "_")
    found = _GGUF_NAME.search(upper)
    if found is not None:
        return Words(Scheme.GGUF, bits=GGUF_BITS.get(found[1], 5.0))
    if "GGUF" in upper:
        for word in ("MXFP4", "NVFP4", "BF16", "F16"):
            if word in upper:
                return Words(Scheme.GGUF, bits=GGUF_BITS[word])
    return None


_NAMES: tuple[tuple[str, Words], ...] = (
    ("nvfp4", Words(Scheme.NVFP4, 16)),
    ("modelopt_fp4", Words(Scheme.NVFP4, 16)),
    ("mxfp8", Words(Scheme.MXFP8, 32)),
    ("mxfp4", Words(Scheme.MXFP4, 32)),
    ("w8a8", Words(Scheme.INT8, 0)),
    ("w8a16", Words(Scheme.INT8, 0)),
    ("int8", Words(Scheme.INT8, 0)),
    ("w4a", Words(Scheme.INT4, 128)),
    ("awq", Words(Scheme.INT4_ZERO, 128)),
    ("gptq", Words(Scheme.INT4_ZERO, 128)),
    ("int4", Words(Scheme.INT4, 128)),
    ("bitsandbytes", Words(Scheme.INT4, 64)),
    ("bnb-4bit", Words(Scheme.INT4, 64)),
    ("autoround", Words(Scheme.INT4, 128)),
    ("auto_round", Words(Scheme.INT4, 128)),
    ("fp8 block", Words(Scheme.FP8_BLOCK, 128)),
    ("fp8", Words(Scheme.FP8, 0)),
    ("fp4", Words(Scheme.NVFP4, 16)),
    ("float32", Words(Scheme.PLAIN, dtype_bytes=4)),
    ("bf16", Words(Scheme.PLAIN, dtype_bytes=2)),
    ("bfloat16", Words(Scheme.PLAIN, dtype_bytes=2)),
    ("float16", Words(Scheme.PLAIN, dtype_bytes=2)),
    ("fp16", Words(Scheme.PLAIN, dtype_bytes=2)),
)


def scheme_words(text: str) -> Words | None:
    """The safetensors quantization a text names; None when it names none.

    Of several formats the narrowest is taken for the bulk of the weights and an 8-bit one beside it
    for the attention matrices, as mixed checkpoints are made.
    """
    lower = re.sub(r"fp8\W{1,2}block|block[\w-]*\W{1,2}fp8", "fp8 block", text.lower())
    hits: list[tuple[int, Words]] = []
    rest = lower
    for name, words in _NAMES:
        if name in rest:
            hits.append((rest.index(name), words))
            rest = rest.replace(name, " " * len(name))
    if all(words.scheme is Scheme.PLAIN for _, words in hits):
        # beside a width, 16 bits are those of the rest: `5.5 bit (bf16 head)`
        told = _bits_words(lower)
        if told is not None or not hits:
            return told
    if _EIGHT.search(lower) and not _FOUR.search(lower):
        # AWQ and GPTQ are ways to round; a width beside them says to what
        hits = [hit for hit in hits if not hit[1].scheme.is_four_bit] or [(0, _EIGHT_BITS)]
    beside = _PLAIN_PARTS.search(lower) is not None
    if beside:
        hits = [hit for hit in hits if hit[1].scheme is not Scheme.PLAIN]
    narrow = [
        words for _, words in sorted(hits, key=lambda hit: hit[0]) if words.scheme.is_four_bit
    ]
    chosen = narrow[0] if narrow else min(hits, key=lambda hit: hit[0])[1]
    group = re.search(r"\bg(\d+)\b", lower)
    size = int(group[1]) if group and chosen.scheme.is_four_bit else chosen.group
    eight_bit = any(words.scheme in _EIGHT_BIT for _, words in hits)
    return Words(
        chosen.scheme, size, "experts" in lower, chosen.bits, chosen.dtype_bytes,
        mixed=bool(narrow) and eight_bit, plain_mixers=beside,
    )  # fmt: skip


_EIGHT_BITS = Words(Scheme.INT8, 0)
_EIGHT, _FOUR = re.compile(r"int8|w8a16|8.?bit"), re.compile(r"int4|w4a|4.?bit|fp4")
_PLAIN_PARTS = re.compile(
    r"bf16[-_ ]int[48]"
    r"|int[48](?: with | and | ?[+/] ?)bf16(?![-_ ]?(?:kv|cache|act|head|draft|mtp))"
)


WIDTH = re.compile(r"(?<![\d.])(\d(?:\.\d+)?)[ -]?(?:bpw|bits?)\b")
"""A format that is only told by its bits per weight, as `EXL3 4bpw` and `4.75bit`."""


_HEAD = re.compile(
    r"re-?quantized head|(?P<before>nvfp4|fp4|fp8|int4|int8)[- ](?:lm_?)?head\b"
    r"|lm_?head (?P<after>nvfp4|fp4|fp8|int4|int8)|experts and lm_head"
)


def head_words(text: str, scheme: Scheme) -> Scheme | None:
    """What a text says the output matrix is kept in, beside weights of `scheme`; None: nothing."""
    found = _HEAD.search(text.lower())
    if found is None:
        return None
    word = found["before"] or found["after"]
    return {"fp8": Scheme.FP8, "int8": Scheme.INT8}.get(word or "", scheme)


def _bits_words(lower: str) -> Words | None:
    found = WIDTH.search(lower)
    if found is None:
        return None
    bits = float(found[1])
    if bits < FEWEST_PACKED:
        return Words(Scheme.GGUF, bits=bits)
    return Words(Scheme.INT4, 128) if bits < 6 else Words(Scheme.INT8, 0)


FEWEST_PACKED = 3.0
"""Below that a width is the average of a whole file, as of a GGUF, and no packed integer's: GLM-5.3
Flash in `EXL3 2.25 bpw` is 91.7 GiB, 4 bits would make it 177."""


def apply_words(
    base: Quantization, words: Words, label: str, *, has_experts: bool, has_states: bool
) -> Quantization:
    """A named quantization laid over what the config records.

    The record's own list of exceptions is kept when it speaks of the same scheme. Without one,
    four-bit float formats of expert models are taken to cover the experts alone, as the published
    NVFP4 and MXFP4 checkpoints do.
    """
    same = words.scheme is base.scheme or {words.scheme, base.scheme} <= {
        Scheme.FP8, Scheme.FP8_BLOCK,
    } or {words.scheme, base.scheme} <= {Scheme.INT4, Scheme.INT4_ZERO}  # fmt: skip
    plain_fp4 = words.scheme is Scheme.NVFP4 and not re.search("nvfp4|modelopt", label.lower())
    if plain_fp4 and base.scheme is Scheme.MXFP4:
        return base  # the record says which of the two formats of 4 bits it is
    if same or (base.method == "fp8" and words.scheme is Scheme.FP8):
        return base
    if words.scheme is Scheme.GGUF and base.scheme is Scheme.MXFP4:
        return _around_mxfp4(words, label)
    only = words.experts_only or (has_experts and words.scheme in (Scheme.NVFP4, Scheme.MXFP4))
    return Quantization(
        scheme=words.scheme,
        group=_group(words, label, has_states=has_states),
        bits_per_weight=words.bits,
        experts_only=only,
        mixer_scheme=_mixers(words, has_experts=has_experts, has_states=has_states),
        kv_fp8="modelopt" in label.lower(),
        label=label,
    )


def _around_mxfp4(words: Words, label: str) -> Quantization:
    """A GGUF of a checkpoint with MXFP4 experts: llama.cpp keeps those, whatever the file type.

    gpt-oss-20b takes 11.6 GB as Q4_K_M, 12.1 as Q8_0 and 13.8 as F16; the type called MXFP4 has
    Q8_0 around them.
    """
    bits = GGUF_BITS["Q8_0"] if words.bits == GGUF_BITS["MXFP4"] else words.bits
    return Quantization(
        scheme=Scheme.GGUF, bits_per_weight=bits, expert_scheme=Scheme.MXFP4, label=label
    )


RECENT_GROUP = 32
"""Weights under one scale in packed files of models with recurrent states, which are all recent:
Qwen3.6-27B 18.4 GiB so and 17.3 by 128, of which 18.5 were loaded; Qwen3-Next-80B 44.7, 41.3, and
45.1. AutoRound and GPTQ stay at 128."""


def _group(words: Words, label: str, *, has_states: bool) -> int:
    packed = words.scheme in (Scheme.INT4, Scheme.INT4_ZERO)
    told = re.search(r"gptq|auto.?round|\bg\d+|group|bitsandbytes|bnb", label, re.IGNORECASE)
    return RECENT_GROUP if packed and has_states and not told else words.group


def _mixers(words: Words, *, has_experts: bool, has_states: bool) -> Scheme | None:
    """What attention and states are left in, where that is not the format named.

    16 where a name joins the two (`BF16-INT4`: 9B 0.9 % off so, 34 % otherwise); 8 bits where they
    are named too, or under NVFP4 beside recurrent states; 16 where packed integers hold experts
    beside such states (Qwen3-Next-80B, Qwen3.5-122B and 35B: 0.2 to 1.4 % off so, 6 to 14 % too
    little otherwise).
    """
    if words.plain_mixers:
        return Scheme.PLAIN
    if words.mixed or (words.scheme is Scheme.NVFP4 and has_states):
        return Scheme.FP8
    packed = words.scheme in (Scheme.INT4, Scheme.INT4_ZERO)
    return Scheme.PLAIN if packed and has_experts and has_states else None
