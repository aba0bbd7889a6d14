"""What a record of a quantization cannot say: refused where no engine reads it, else a doubt.

transformers and vLLM compute with the bits and groups of packed integers as they stand (32 by the
bits, columns by the group); compressed-tensors also takes a number that is written as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_keys import Keys

PACKED = frozenset({
    "awq", "awq_marlin", "gptq", "gptq_bitblas", "gptq_marlin", "gptq_marlin_24",
    "auto-round", "autoround", "auto_round", "intel/auto-round",
})  # fmt: skip
"""Methods that pack integers. Names are compared whole: what is like one may store anything."""
METHODS = PACKED | {
    "bitsandbytes", "compressed-tensors", "compressed_tensors", "fbgemm_fp8", "fp8", "modelopt",
    "modelopt_fp4", "modelopt_mixed", "modelopt_mxfp8", "mxfp4", "quark",
}  # fmt: skip
"""All whose records rigspec reads."""
_PACKED_BITS = (2, 3, 4, 8)
_GROUPED_BITS = (4, 8)
"""What compressed-tensors stores in a form that rigspec knows."""


def refuse_record(record: Mapping[str, object], inside: str) -> None:
    """Raise UnusableModel for what no engine reads; `inside` is the key that holds the record."""
    for key, value, must in _unfit(record):
        raise UnusableModel(f"`{inside}.{key}` is `{json.dumps(value)[:40]}`, {must}")


def _unfit(record: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for key in ("quant_method", "quant_algo"):
        value = record.get(key)
        if value is not None and not isinstance(value, str):
            yield key, value, "an engine reads a name there"
    if Keys((record,)).word("quant_method").lower() in PACKED:
        yield from _unfit_packed(record)
    for place, weights in _groups(Keys((record,))):
        value = weights.get("num_bits")
        if isinstance(value, str) and Keys((weights,)).number("num_bits") is None:
            yield f"{place}.num_bits", value, "an engine reads a number there"


def _unfit_packed(record: Mapping[str, object]) -> Iterator[tuple[str, object, str]]:
    for key in ("bits", "group_size"):
        if isinstance(record.get(key), str):
            yield key, record[key], "an engine reads a number there"
    group = record.get("group_size")
    if isinstance(group, int | float) and group < 1 and group != -1:
        yield "group_size", group, "an engine reads at least 1 there, or -1 for a whole row"


def record_doubts(record: Keys, *, known: bool) -> tuple[str, ...]:
    """What of a record no engine we know would read as we do."""
    method = record.word("quant_method")
    if not known and method:
        return (f"the quantization method `{method}` is not known to rigspec",)
    if not known:
        return ("its quantization record names no method",)
    bits, grouped = record.number("bits"), _bits_of_groups(record)
    if bits is not None and bits not in _PACKED_BITS:
        return (f"its quantization record states {bits:g} bits per weight",)
    if grouped is not None and grouped not in _GROUPED_BITS:
        return (f"its quantization record states {grouped:g} bits per weight",)
    return ()


def _bits_of_groups(record: Keys) -> float | None:
    first = next(_groups(record), None)
    return Keys((first[1],)).number("num_bits") if first else None


def _groups(record: Keys) -> Iterator[tuple[str, Mapping[str, object]]]:
    """compressed-tensors: place and form of the weights of each group."""
    for name, group in record.mapping("config_groups").items():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if isinstance(weights, Mapping):
            yield f"config_groups.{name}.weights", weights
