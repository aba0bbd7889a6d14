"""Scales of quantized weights against tensor parallelism: a rank's shard holds whole groups.

Scales lie along the rows that a matrix multiplies. Only `o_proj` and `down_proj` are cut along
them, as each rank multiplies its own heads and its own part of the feed-forward width; every other
matrix is cut across. Experts are left out: their kernels take smaller groups (`moe_wna16.py`).
"""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.model_parts import Attention, Latent, Layer
from rigspec.catalog.model_quant import Scheme

GROUPED = (Scheme.INT4, Scheme.INT4_ZERO, Scheme.INT8)
NOT_ALONG_ROWS = ("bitsandbytes", "")
"""Methods whose blocks are counted over the flat shard, and a format of which no record states the
group."""


def cut_group(facts: ModelFacts, ranks: int) -> str:
    """The first shard that cuts a group, as `WIDTH / TP N = SHARD, …`; empty when none does.

    vLLM says "not divisible by group_size" (`marlin_utils.py`) or "the input size is not aligned
    with the quantized weight shape" (`awq.py`, `gptq.py`, also SGLang's), since 0.2 and up to 0.33.
    """
    weights = facts.quantization
    if weights.scheme not in GROUPED or weights.group <= 0 or weights.method in NOT_ALONG_ROWS:
        return ""
    for index, layer in enumerate(facts.layers):
        for name, width in _cut_along_scales(layer):
            kept = weights.scheme_of(f"layers.{index}.{name}", plain_by_habit=False)
            if kept in GROUPED and (width % ranks or (width // ranks) % weights.group):
                return (
                    f"{name.rpartition('.')[2]} width {width} / TP {ranks} = {width / ranks:g}, "
                    f"not a multiple of its group size {weights.group}"
                )
    return ""


def _cut_along_scales(layer: Layer) -> Iterator[tuple[str, int]]:
    if layer.mlp is not None:
        yield "mlp.down_proj", layer.mlp.width
    if isinstance(layer.mixer, (Attention, Latent)):
        yield "self_attn.o_proj", layer.mixer.heads * layer.mixer.v_dim
