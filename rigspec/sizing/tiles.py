"""Experts of 4 bits as their kernels hold them: a rank's width in whole tiles."""

from __future__ import annotations

import math
from collections.abc import Iterable

from rigspec.catalog.model_quant import Scheme
from rigspec.sizing.amount import Amount, exact
from rigspec.sizing.matrices import Matrix
from rigspec.sizing.settings import Engine, EngineSettings
from rigspec.units import GIB

MXFP4_TILE, MXFP4_HIDDEN = 128, 256
"""Marlin pads a rank's expert width and the hidden width of MXFP4 experts to these: gpt-oss-20b
loads 13.72 GiB, gpt-oss-120b 65.97 and at TP 4 17.22 (six boots of vLLM 0.10 to 0.19)."""

BLACKWELL_TILE = 256
"""vLLM's FlashInfer kernels for MXFP4 pad the width to this (`mxfp4.py`): gpt-oss-120b loads
9.98 GiB at TP 8 on eight RTX PRO 4500 (0.28), 8.7 with Marlin's tile. On one card, where it would
be 4 %, no boot has loaded more than Marlin's."""

AS_STORED = (0, 25)
"""From here on kernels may take MXFP4 experts as they are: gpt-oss-120b 61.43 and gpt-oss-20b 13.02
GiB on H100s (0.30, 0.25.1), where 0.10 to 0.12 had 65.97 and 13.47; gpt-oss-20b on a 4090 is still
padded (13.70 and 13.80, 0.30)."""

NVFP4_TILE = 128
"""To this some kernels widen a rank's share of NVFP4 experts: Nemotron-3-Nano loads 9.83 GiB at TP
2 (0.13), 9.1 as stored; Gemma 4 26B-A4B, 704 wide, does not (15.8 and 17.2 to 17.9)."""


def padding(hidden: int, matrix: Matrix, settings: EngineSettings) -> float:
    """How much more than stored one rank's part of an expert's matrix takes, as a factor."""
    pads = matrix.scheme is Scheme.MXFP4 and settings.engine is Engine.VLLM
    if not pads or not matrix.width:
        return 1.0
    return _padded(_cut(matrix, settings), MXFP4_TILE) * _padded(hidden, MXFP4_HIDDEN)


def wider_tiles(hidden: int, settings: EngineSettings, kept: Iterable[Matrix]) -> Amount:
    """What experts may take more where the kernel that runs has wider tiles, or less where it has
    none, GiB."""
    if settings.engine is not Engine.VLLM:
        return exact(0.0)
    experts = [m for m in kept if m.expert and m.width]
    more = sum(m.stored_bytes * _wider(hidden, m, settings) for m in experts)
    less = sum(m.stored_bytes * (padding(hidden, m, settings) - 1) for m in experts)
    if settings.version is not None and settings.version < AS_STORED:
        less = 0.0
    parts = settings.expert_shards * settings.expert_ranks * max(1, settings.pipeline_parallel)
    return Amount(0.0, -less / parts / GIB, more / parts / GIB)


def _wider(hidden: int, matrix: Matrix, settings: EngineSettings) -> float:
    cut = _cut(matrix, settings)
    if matrix.scheme is Scheme.NVFP4:
        return _padded(cut, NVFP4_TILE) - 1
    if matrix.scheme is Scheme.MXFP4 and settings.expert_shards > 1:
        widest = _padded(cut, BLACKWELL_TILE) * _padded(hidden, MXFP4_HIDDEN)
        return widest - padding(hidden, matrix, settings)
    return 0.0


def _cut(matrix: Matrix, settings: EngineSettings) -> float:
    """The width of one rank's part of an expert."""
    return matrix.width / settings.expert_shards


def _padded(width: float, tile: int) -> float:
    """How much wider a matrix is once its width is a multiple of a tile."""
    return math.ceil(width / tile) * tile / width
