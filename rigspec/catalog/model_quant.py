"""How the weights are stored: a scheme per tensor, from the checkpoint's own quantization record.

Bytes per element follow the formats' definitions (OCP MX specification, NVIDIA NVFP4, AutoAWQ and
GPTQ packing, compressed-tensors). Lists of exceptions come from `quantization_config` or
`hf_quant_config.json`; names are compared after cutting everything before `layers.`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from enum import StrEnum

from rigspec.catalog.model_faults import refuse_no_object
from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_names import any_of, normalise
from rigspec.catalog.model_record import METHODS, PACKED, record_doubts, refuse_record
from rigspec.frozen import dataclass


class Scheme(StrEnum):
    """How one weight matrix is stored."""

    PLAIN = "plain"
    """The model's own dtype."""
    FP8 = "fp8"
    FP8_BLOCK = "fp8-block"
    INT8 = "int8"
    INT4_ZERO = "int4-zero-points"
    INT4 = "int4"
    NVFP4 = "nvfp4"
    MXFP4 = "mxfp4"
    MXFP8 = "mxfp8"
    GGUF = "gguf"

    @property
    def is_four_bit(self) -> bool:
        """Whether an element takes about half a byte."""
        return self in (Scheme.INT4, Scheme.INT4_ZERO, Scheme.NVFP4, Scheme.MXFP4)


_FIXED_BYTES = {
    Scheme.FP8: 1.0, Scheme.INT8: 1.0, Scheme.NVFP4: 0.5 + 1 / 16, Scheme.MXFP4: 0.5 + 1 / 32,
    Scheme.MXFP8: 1.0 + 1 / 32,
}  # fmt: skip
"""Bytes per element of formats with a scale per fixed block."""

_INTEGERS = (Scheme.INT4, Scheme.INT4_ZERO)
ROW = 4096
"""Elements under one scale where a record says `group_size: -1`, one per row: a usual width."""
UNKNOWN_FORMAT = 0.9
"""Relative doubt about weights in a format nobody knows: taken as 8 bits, from 1 to 15 possible."""


@dataclass(frozen=True)
class Quantization:
    """The scheme of quantized matrices, and which matrices keep the model's dtype."""

    scheme: Scheme = Scheme.PLAIN
    group: int = 128
    bits_per_weight: float = 0.0
    """Whole-file average, for GGUF only."""
    keeps: re.Pattern[str] | None = None
    """Names that stay in the model's dtype."""
    per_layer: Mapping[str, Scheme] | None = None
    """Scheme by normalised name, for mixed checkpoints."""
    has_list: bool = False
    """Whether the record itself lists exceptions; if not, the family's habit is assumed."""
    experts_only: bool = False
    mixer_scheme: Scheme | None = None
    """The scheme of attention and state matrices, where it differs from the others'."""
    head_scheme: Scheme | None = None
    """The scheme of the output matrix, where the record or a name says that it is quantized."""
    expert_scheme: Scheme | None = None
    """What a GGUF's experts keep of the original, where the quantizer leaves them alone."""
    kv_fp8: bool = False
    """The checkpoint asks for an fp8 cache when the engine is left at `auto`."""
    label: str = ""
    method: str = ""
    """What the record calls it; one method may cover two formats (fp8 with 4-bit experts)."""
    bits: int = 4
    """Bits per element of packed integers (GPTQ also packs 2 and 3)."""
    at_load: bool = False
    """Made of the model's own dtype while the engine loads it."""
    doubts: tuple[str, ...] = ()
    """What of the record is not understood; the scheme is then a middle, not a fact."""

    def bytes_per_element(self, scheme: Scheme, dtype_bytes: int) -> float:
        """Stored bytes of one weight element, scales included."""
        if scheme is Scheme.PLAIN:
            return float(dtype_bytes)
        if scheme is Scheme.GGUF:
            return self.bits_per_weight / 8
        blocks = scheme is Scheme.FP8_BLOCK
        fixed = 1 + 4 / self.group**2 if blocks else _FIXED_BYTES.get(scheme)
        if fixed is not None:
            return fixed
        zero_points = 0.5 if scheme is Scheme.INT4_ZERO else 0.0
        return self.bits / 8 + (2 + zero_points) / (self.group if self.group > 0 else ROW)

    def scheme_of(
        self,
        name: str,
        *,
        plain_by_habit: bool,
        expert: bool = False,
        mixer: bool = False,
        draft: bool = False,
    ) -> Scheme:
        """The scheme of one matrix by its normalised name.

        `plain_by_habit` marks what quantizers leave alone unless the record says otherwise.
        """
        if self.scheme is Scheme.PLAIN or self.scheme is Scheme.GGUF:
            return (self.expert_scheme if expert else None) or self.scheme
        if self.per_layer is not None:
            return _by_layer(self.per_layer, name)
        if name == "lm_head" and self.head_scheme is not None:
            return self.head_scheme
        if plain_by_habit or (self.experts_only and not expert):
            return Scheme.PLAIN
        if draft and self.scheme.is_four_bit:
            # four-bit lists exclude `mtp*`; numbered draft layers are not in it
            return Scheme.PLAIN
        if mixer and self.mixer_scheme is not None:
            return self.mixer_scheme
        if self.keeps is not None and self.keeps.fullmatch(name):
            return Scheme.PLAIN
        return self.scheme


def _by_layer(per_layer: Mapping[str, Scheme], name: str) -> Scheme:
    """The listed scheme of a matrix, or of the module that holds it."""
    if name in per_layer:
        return per_layer[name]
    parts = name.split(".")
    for end in range(len(parts) - 1, 1, -1):
        holder = ".".join(parts[:end])
        if holder in per_layer:
            return per_layer[holder]
    return Scheme.PLAIN


def quantization_of(config: Keys, modelopt: Mapping[str, object] | None) -> Quantization:
    """The record of a checkpoint; `modelopt` is a `hf_quant_config.json` beside it."""
    record = Keys(tuple(_records(config, modelopt)))
    if not record.sections:
        return Quantization()
    found = _scheme_of_record(record)
    doubts = record_doubts(record, known=found is not None)
    scheme, group = (Scheme.INT8, 0) if doubts or not found else found
    if (
        record.text("expert_dtype") or config.text("expert_dtype")
    ) == "fp4" and scheme is Scheme.FP8_BLOCK:
        scheme, group = Scheme.MXFP4, 32
    kept = [str(x) for x in record.items("ignore", "modules_to_not_convert", "exclude_modules")]
    return Quantization(
        scheme=scheme,
        group=group,
        keeps=any_of(kept),
        per_layer=_per_layer(record.mapping("quantized_layers")),
        has_list=bool(kept),
        head_scheme=scheme if record.flag("lm_head", "quant_lm_head") else None,
        kv_fp8=_asks_fp8_cache(record),
        label=record.word("quant_method") if doubts else _word(record, scheme),
        method=record.word("quant_method").lower(),
        bits=(record.whole("bits") or 4) if scheme in _INTEGERS else 4,
        doubts=doubts,
    )


def _records(config: Keys, modelopt: Mapping[str, object] | None) -> Iterator[Mapping[str, object]]:
    """The records there are; UnusableModel for one that no engine reads."""
    own, beside = config.mapping("quantization_config"), modelopt or {}
    inner = beside.get("quantization")
    refuse_no_object(beside, "quantization", "hf_quant_config.")
    found = {"quantization_config": own, "hf_quant_config": beside}
    if isinstance(inner, Mapping) and inner:
        found = {"quantization_config": own, "hf_quant_config.quantization": inner}
    for place, record in found.items():
        refuse_record(record, place)
        yield from (record,) if record else ()


def _word(record: Keys, scheme: Scheme) -> str:
    """What people call the format: integers go by the method that packed them."""
    method = record.word("quant_method").upper()
    by_method = scheme in _INTEGERS and method in ("AWQ", "GPTQ")
    return f"{method} {record.whole('bits') or 4}-bit" if by_method else scheme.value


def _scheme_of_record(record: Keys) -> tuple[Scheme, int] | None:
    """Scheme and group; None when the record names a method that is not known, or bits of none."""
    method = record.word("quant_method").lower()
    algo = (record.text("quant_algo", "moe_quant_algo") or "").upper()
    group = record.whole("group_size")
    if method and method not in METHODS:
        return None
    if "NVFP4" in algo or "MIXED" in algo:
        return Scheme.NVFP4, 16
    if method in PACKED:
        if record.whole("bits") == 8:
            return Scheme.INT8, group or 128
        zero = method == "awq" or record.flag("sym") is True
        return (Scheme.INT4_ZERO if zero else Scheme.INT4), group or 128
    if method == "bitsandbytes":
        return (Scheme.INT4, 64) if record.flag("load_in_4bit") else (Scheme.INT8, 0)
    if method == "mxfp4":
        return Scheme.MXFP4, 32
    if method in ("fbgemm_fp8",) or algo == "FP8":
        return Scheme.FP8, 0
    if method == "fp8":
        blocks = record.items("weight_block_size")
        return (Scheme.FP8_BLOCK if blocks else Scheme.FP8), _block_side(record)
    found = _scheme_of_groups(record)
    return found if found or method or record.has("bits") else (Scheme.PLAIN, 0)


def _scheme_of_groups(record: Keys) -> tuple[Scheme, int] | None:
    """compressed-tensors: the first group's weight format."""
    groups = record.section("config_groups")
    if groups is None or not groups.sections:
        return None
    for group in groups.sections[0].values():
        weights = Keys((group,)).section("weights") if isinstance(group, Mapping) else None
        if weights is None:
            continue
        width, size = weights.whole("num_bits") or 8, weights.whole("group_size") or 0
        if weights.text("type") == "float":
            if width == 8:
                blocks = size or weights.items("block_structure")
                return (Scheme.FP8_BLOCK if blocks else Scheme.FP8), _block_side(weights)
            return (Scheme.NVFP4, 16) if size == 16 else (Scheme.MXFP4, 32)
        return (Scheme.INT8, size) if width == 8 else (Scheme.INT4, size or 128)
    return None


def _block_side(record: Keys) -> int:
    """Rows and columns under one scale of 8 bits; 128 where a record does not say."""
    sides = record.items("weight_block_size", "block_structure")
    return max((side for side in sides if type(side) is int and side > 0), default=128)


def _asks_fp8_cache(record: Keys) -> bool:
    algo = (record.text("kv_cache_quant_algo", "kv_cache_scheme") or "").upper()
    scheme = record.section("kv_cache_scheme")
    return algo == "FP8" or (scheme is not None and scheme.whole("num_bits") == 8)


def _per_layer(listed: Mapping[str, object]) -> Mapping[str, Scheme] | None:
    """A mixed checkpoint's own table; a shortened copy of one is no table."""
    if not listed or any(not isinstance(value, Mapping) for value in listed.values()):
        return None
    words = {"NVFP4": Scheme.NVFP4, "MXFP8": Scheme.MXFP8, "MXFP4": Scheme.MXFP4}
    found: dict[str, Scheme] = {}
    for name, value in listed.items():
        algo = str(value.get("quant_algo", "")).upper() if isinstance(value, Mapping) else ""
        scheme = next((s for word, s in words.items() if word in algo), Scheme.FP8)
        found[normalise(name)] = scheme
    return found


def with_scheme(
    base: Quantization, scheme: Scheme, *, group: int, experts_only: bool, label: str
) -> Quantization:
    """What an owner says runs, laid over what the config records."""
    if scheme is base.scheme and base.has_list:
        return replace(base, label=label)
    kv_fp8 = base.kv_fp8 and scheme is base.scheme
    return Quantization(
        scheme=scheme, group=group, experts_only=experts_only, label=label, kv_fp8=kv_fp8
    )
