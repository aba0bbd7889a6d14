"""What one layer keeps of one token, or of one request, in bytes."""

from __future__ import annotations

import math

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Delta, Latent, Mamba
from rigspec.frozen import dataclass
from rigspec.sizing.settings import Engine, EngineSettings

_SPARSE_RECORD = {"fp8": 656, "nvfp4": 352, "nf3": 304}
"""Bytes of one latent record for sparse attention (512 fp8 + 16 scales + 128 bf16 rope)."""
_INDEX_RECORD = 132
"""128 fp8 and one fp32 scale per token, on layers that own an indexer."""


@dataclass(frozen=True)
class _Packed:
    """One cached vector of a head: bits per element, and bytes beside them."""

    bits: float
    beside: int = 0

    def bytes_of(self, width: int) -> float:
        return math.ceil(width * self.bits / 8) + self.beside


_PLAIN = _Packed(16)
_ELEMENTS: dict[str, tuple[_Packed, _Packed]] = {
    "bf16": (_PLAIN, _PLAIN),
    "fp32": (_Packed(32), _Packed(32)),
    "fp8": (_Packed(8), _Packed(8)),
    "mxfp8": (_Packed(8.25), _Packed(8.25)),
    "fp8-head": (_Packed(8, 4), _Packed(8, 4)),
    "int8": (_Packed(8, 4), _Packed(8, 4)),
    "int4": (_Packed(4, 4), _Packed(4, 4)),
    "nvfp4": (_Packed(4.5), _Packed(4.5)),
    "mxfp4": (_Packed(4.25), _Packed(4.25)),
    "3bit": (_Packed(3.25), _Packed(3.25)),
    "k8v4": (_Packed(8), _Packed(4, 4)),
    "tq4": (_Packed(4, 2), _Packed(4, 4)),
    "k3v4": (_Packed(3, 2), _Packed(4, 4)),
    "tq3": (_Packed(3, 2), _Packed(3, 4)),
}
"""Keys and values by kind. TurboQuant keeps a norm of 16 bits with a key, scale and zero with a
value (`TurboQuantConfig` of vLLM 0.20 to 0.33; Qwen3.8-27B in `4bit_nc` on a 5090, 0.27.1: 306,325
tokens in 5 GiB); types by token and head have a scale of 32 bits with each."""


def attention_token_bytes(facts: ModelFacts, a: Attention, settings: EngineSettings) -> float:
    """Cache bytes per token of one attention layer on one rank."""
    heads = max(1, math.ceil(a.kv_heads / settings.attention_ranks))
    keys, values = _ELEMENTS.get(kv_kind(facts, settings), (_PLAIN, _PLAIN))
    return heads * (keys.bytes_of(a.head_dim) + values.bytes_of(a.v_dim))


def kv_kind(facts: ModelFacts, settings: EngineSettings) -> str:
    """The cache type in one word; `auto` follows the checkpoint, then the model's dtype."""
    text = settings.kv_dtype.lower()
    if text in ("", "auto"):
        if facts.quantization.kv_fp8:
            return "fp8"
        return "fp32" if facts.dtype_bytes == 4 else "bf16"
    return _KINDS.get(text, "bf16")


_KINDS = {
    **dict.fromkeys(("fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "fp8_ds_mla"), "fp8"),
    "fp8_per_token_head": "fp8-head", "mxfp8": "mxfp8",
    "int8_per_token_head": "int8", "int4_per_token_head": "int4",
    **dict.fromkeys(("nvfp4", "nvfp4_4over6", "nvfp4_ds_mla"), "nvfp4"),
    **dict.fromkeys(("fp4_e2m1", "fp4_mx_block16"), "nvfp4"),  # SGLang's; scales of 16, too
    "nf3_ds_mla": "nf3", "tq3": "3bit", "ultraquant_4bit": "mxfp4",
    "turboquant_k8v4": "k8v4", "turboquant_4bit_nc": "tq4",
    "turboquant_k3v4_nc": "k3v4", "turboquant_3bit_nc": "tq3", "float32": "fp32",
}  # fmt: skip
"""The engine's name of a type → the kind: the whole name, as one letter more is another type."""

PLAIN_WORDS = ("", "auto", "bf16", "bfloat16", "fp16", "float16", "half")


def is_known_type(word: str) -> bool:
    """Whether the width of a cache type is known; one that is not is counted as 16 bits."""
    text = word.lower()
    return text in PLAIN_WORDS or text in _KINDS


def is_float8(settings: EngineSettings) -> bool:
    """Whether the settings ask for floats of 8 bits with one scale, by whichever name."""
    return _KINDS.get(settings.kv_dtype.lower()) == "fp8"


INDEX_SHARED = (0, 24)
"""Before, vLLM kept records for layers that take another's choice, too: 28.74 GiB of GLM-5.2 held
502,016 tokens in mid-2026, 8.25 GiB 164,160 on 0.25.1."""


def _unshared(m: Latent, settings: EngineSettings) -> bool:
    known = settings.engine is Engine.VLLM and settings.version is not None
    return known and m.index_topk > 0 and (settings.version or INDEX_SHARED) < INDEX_SHARED


def latent_token_bytes(facts: ModelFacts, m: Latent, settings: EngineSettings) -> float:
    """Cache bytes per token of one latent layer; the same on every rank."""
    kind = kv_kind(facts, settings)
    index = _INDEX_RECORD / facts.index_pool if m.index_heads or _unshared(m, settings) else 0
    sparse = m.index_topk > 0
    if sparse and kind in _SPARSE_RECORD:
        return _SPARSE_RECORD[kind] + index
    width = {"fp8": 1.0, "mxfp8": 1.03125, "fp32": 4.0}.get(kind, 2.0)
    return m.record_width * width + index


def state_bytes(facts: ModelFacts, mixer: Delta | Mamba, settings: EngineSettings) -> int:
    """Bytes of recurrent and convolution state of one layer on one rank."""
    ranks = settings.attention_ranks
    drafts = settings.speculative.depth if settings.speculative else 0
    width_of_state = _width_of_state(facts, mixer, settings)
    if isinstance(mixer, Mamba):
        conv = (mixer.inner + 2 * mixer.groups * mixer.state) // ranks * (mixer.kernel - 1)
        recurrent = mixer.heads // ranks * mixer.head_dim * mixer.state
        return conv * 2 + recurrent * width_of_state
    width = 2 * mixer.key_heads * mixer.key_dim + mixer.value_heads * mixer.value_dim
    conv = width // ranks * (mixer.kernel - 1 + drafts)
    recurrent = max(1, mixer.value_heads // ranks) * mixer.value_dim * mixer.key_dim
    return conv * 2 + recurrent * width_of_state


def _width_of_state(facts: ModelFacts, mixer: Delta | Mamba, settings: EngineSettings) -> int:
    """Bytes per element: as told, as the config states, else as the engine has it.

    vLLM takes the model's own type for Mamba-2 and gated delta nets, 32 bits for KDA
    (`MambaStateDtypeCalculator`; Qwen3-Next on two ranks printed blocks of 544 and, beside a cache
    of 8 bits, 1,072 tokens: 16 bits); SGLang has 32 bits.
    """
    stated = settings.state_bytes or facts.state_bytes
    gated = facts.model_type.startswith("qwen3_next")
    own = settings.engine is Engine.VLLM and (gated or isinstance(mixer, Mamba))
    return stated or (facts.dtype_bytes if own else 4)
