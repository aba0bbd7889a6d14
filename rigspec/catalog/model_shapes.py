"""What tensor headers say of the layers, to hold the config against: how many, how many heads.

Only names and shapes that mean one thing are read: rows of `q_proj` and `k_proj` (`attn_q` and
`attn_k` in GGUF) of plain attention, and the numbers of the layers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from rigspec.catalog.model_parts import Attention, Delta, Layer, Mamba, Mixer
from rigspec.frozen import dataclass

Tensor = tuple[str, tuple[int, ...]]
"""A name and its shape, rows first."""

_LAYER = re.compile(r"(?:^|\.)(?:layers|h|blocks?|blk)\.(\d+)\.")
_TABLE = re.compile(r"(?:^|\.)(?:embed_tokens|wte|token_embd|word_embeddings)\.weight$")
_ROWS = re.compile(r"\.(?:([qk])_proj|attn_([qk]))\.weight$")
_BESIDE = (
    "vision", "visual", "vit.", "audio", "speech", "encoder", "projector", "resampler", "talker",
    "code2wav", "mtp", "nextn", "eagle", "draft", "medusa",
)  # fmt: skip
"""Parts of a name that belong to another stack of layers than the language model's."""


@dataclass(frozen=True)
class Shapes:
    """Layers that tensors were found of, the rows of their query and key projections, and rows and
    columns of the table of words."""

    layers: int
    q_rows: tuple[int, ...] = ()
    k_rows: tuple[int, ...] = ()
    words: tuple[int, ...] = ()
    widths: tuple[int, ...] = ()


_KINDS = ("q", "k", "words", "widths")


def shapes_of(tensors: Iterable[Tensor]) -> Shapes | None:
    """What the tensors of all files of a checkpoint show; None where no layer is named."""
    layers: set[str] = set()
    rows: dict[str, set[int]] = {kind: set() for kind in _KINDS}
    for name, shape in tensors:
        layer = _LAYER.search(name)
        if any(word in name.lower() for word in _BESIDE):
            continue
        if layer is None:
            if _TABLE.search(name) and len(shape) == 2:
                rows["words"].add(shape[0])
                rows["widths"] |= {shape[1]} if shape[1] > 1 else set()
            continue
        layers.add(layer[1])
        projection = _ROWS.search(name)
        if projection and len(shape) == 2 and shape[1] > 1:  # one column: packed by bitsandbytes
            rows[projection[1] or projection[2]].add(shape[0])
    if not layers:
        return None
    return Shapes(len(layers), *(tuple(sorted(rows[kind])) for kind in _KINDS))


def as_record(shapes: Shapes) -> dict[str, object]:
    """As it is saved with the facts of a model."""
    return {
        "layers": shapes.layers, "q_rows": list(shapes.q_rows), "k_rows": list(shapes.k_rows),
        "words": list(shapes.words), "widths": list(shapes.widths),
    }  # fmt: skip


def from_record(record: object) -> Shapes | None:
    """What was saved; None where nothing was, or nothing usable."""
    if not isinstance(record, Mapping) or type(layers := record.get("layers")) is not int:
        return None
    return Shapes(
        layers, *(_whole(record.get(key)) for key in ("q_rows", "k_rows", "words", "widths"))
    )


def _whole(value: object) -> tuple[int, ...]:
    items = value if isinstance(value, list) else []
    return tuple(item for item in items if type(item) is int)


PADDED = 1024
"""Rows that a table of words may have beyond, or short of, the stated vocabulary."""


def contradicted(
    shapes: Shapes | None,
    layers: tuple[Layer, ...],
    drafts: int,
    vocab: int,
    hidden: int,
    *,
    gguf: bool = False,
) -> Iterator[str]:
    """What a config says otherwise than the headers; `drafts` layers may be stored, or not.

    A GGUF header counts values, that of safetensors what they are packed in.
    """
    if shapes is None:
        return
    stated = len(layers)
    if abs(shapes.layers - stated) > drafts:
        yield f"the files hold {shapes.layers} layers, the config states {stated}"
    if len(shapes.words) == 1 and abs(shapes.words[0] - vocab) > PADDED:
        yield f"the table of words has {shapes.words[0]:,} rows, `vocab_size` is {vocab:,}"
    widths = (hidden,) if gguf else (hidden, hidden // 2)  # two values of 4 bits in a byte
    if len(shapes.widths) == 1 and shapes.widths[0] not in widths:
        yield f"the table of words is {shapes.widths[0]:,} wide, `hidden_size` is {hidden:,}"
    mixers = [layer.mixer for layer in layers if layer.mixer is not None]
    plain = [mixer for mixer in mixers if isinstance(mixer, Attention)]
    if not plain or not all(isinstance(m, (Attention, Delta, Mamba)) for m in mixers):
        return
    states = {rows for mixer in mixers for rows in _state_rows(mixer)}
    queries = {m.heads * m.head_dim * (2 if m.gated else 1) for m in plain}
    keys = {m.kv_heads * m.head_dim for m in plain}
    for word, seen, expected in (
        ("query", shapes.q_rows, queries), ("key", shapes.k_rows, keys),
    ):  # fmt: skip
        if set(seen) - expected - states:
            rows, ours = (", ".join(f"{n:,}" for n in sorted(of)) for of in (seen, expected))
            yield f"the {word} projections have {rows} rows, the config's heads make {ours}"


def _state_rows(mixer: Mixer) -> tuple[int, ...]:
    """Rows of projections of the same name in layers that keep a state (KDA)."""
    if isinstance(mixer, Delta):
        return mixer.key_heads * mixer.key_dim, mixer.value_heads * mixer.value_dim
    return ()
