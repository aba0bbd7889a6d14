"""Facts from a GGUF file: dimensions from its key-values, bytes from its tensor table.

Uses the `gguf` package, imported on use: `rigspec check` never opens a GGUF file.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from rigspec.catalog.gguf_config import ARCHITECTURES, KEYS, config_of_gguf
from rigspec.catalog.model_config import facts_of_config, lacking
from rigspec.catalog.model_facts import ExactSizes, ModelFacts
from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_files import SEEN, holds_file, refuse_stand_in
from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.model_shapes import Shapes, Tensor, shapes_of


class Read(NamedTuple):
    """What one GGUF file says."""

    config: dict[str, object]
    """A `config.json` look-alike."""
    total_bytes: int
    """Of all its tensors but the tables by layer."""
    tensors: list[Tensor]
    expert_bytes: int
    words_bytes: int


def read_gguf(path: Path) -> Read:
    """The dimensions, bytes and shapes of one GGUF file.

    Raises UnusableModel when the file is no GGUF file, damaged or cut short.
    """
    reader = open_gguf(path)
    try:
        values = {
            name: field.contents() for name, field in reader.fields.items() if len(field.data) < 512
        }
    except _DAMAGED as problem:
        raise _damaged(path) from problem
    _refuse_lone_part(path.name, values.get("split.count"))
    _refuse_renamed_part(path.name, values.get("split.no"))
    tokens = reader.fields.get("tokenizer.ggml.tokens")
    config = config_of_gguf(values)
    if config.get("vocab_size") is None and tokens is not None:
        config["vocab_size"] = len(tokens.data)
    tensors = [(t.name, tuple(map(int, reversed(t.shape)))) for t in reader.tensors]
    sizes = {tensor.name: int(tensor.n_bytes) for tensor in reader.tensors}
    experts = sum(size for name, size in sizes.items() if _EXPERTS.search(name))
    words = sizes.get("token_embd.weight", 0)
    total = sum(size for name, size in sizes.items() if name != _TABLES)
    return Read(config, total, tensors, experts, words)


_TABLES = "per_layer_token_embd.weight"
"""Gemma's tables by layer, in which llama.cpp looks words up on the CPU."""


_EXPERTS = re.compile(r"\.ffn_(up|down|gate|gate_up)_(ch|)exps")
"""The tensors that `--cpu-moe` moves (`LLM_FFN_EXPS_REGEX` of `common/common.h`)."""


def _refuse_lone_part(name: str, told: object) -> None:
    """llama.cpp finds the other parts by the name of the first, and ends where it has none."""
    if isinstance(told, int) and told > 1 and told != len(parts_of(name)):
        raise UnusableModel(
            f"{name} is a part of {told} (`split.count`), which are named "
            f"`NAME-00001-of-{told:05}.gguf` and so on: the others are not beside it"
        )


def _refuse_renamed_part(name: str, told: object) -> None:
    """llama.cpp ends with `invalid split file idx` where a part stands under another's name."""
    number = part_number(name)
    if isinstance(told, int) and told + 1 != number:
        raise UnusableModel(
            f"{name} is part {told + 1} by its own header (`split.no`), part {number} by its name: "
            "fetch it again"
        )


_DAMAGED = (ValueError, LookupError, ArithmeticError, TypeError, MemoryError)
"""What the library raises, at whatever depth, when bytes are not what the header promised."""
_VERSIONS = (2, 3)
"""What the library reads; a file of the other byte order has the same number turned round."""
_MOST_TENSORS, _MOST_KEYS = 1 << 20, 1 << 16


def open_gguf(path: Path) -> Any:
    """The library's reader of one file; UnusableModel when it cannot follow the file to its end."""
    from gguf import GGUFReader

    if not holds_file(path):
        raise UnusableModel(f"{path.name} is not there")
    with path.open("rb") as stream:
        start = stream.read(24)
        refuse_stand_in(start + stream.read(SEEN), path.name)
    if start[:4] != b"GGUF":
        raise UnusableModel(f"{path.name} is no GGUF file: it does not begin with `GGUF`")
    version = min(int.from_bytes(start[4:8], order) for order in ("little", "big"))
    if len(start) >= 8 and version not in _VERSIONS:
        raise UnusableModel(f"{path.name} is of GGUF version {version}; known are 2 and 3")
    tensors, keys = struct.unpack("<QQ", start[8:24]) if len(start) == 24 else (0, 0)
    if tensors > _MOST_TENSORS or keys > _MOST_KEYS:  # the library would count for years
        raise _damaged(path)
    try:
        return GGUFReader(str(path))
    except RecursionError as problem:
        raise UnusableModel(f"{path.name} nests arrays thousands of levels deep") from problem
    except ValueError as problem:
        kind = _NEW_TYPE.search(str(problem))
        raise (_of_new_type(path, kind[1]) if kind else _damaged(path)) from problem
    except _DAMAGED as problem:
        raise _damaged(path) from problem


_NEW_TYPE = re.compile(r"\b(\d{1,3})\)? is not a valid GGMLQuantizationType")


def _of_new_type(path: Path, number: str) -> UnusableModel:
    return UnusableModel(
        f"{path.name} has a tensor of type {number}, which llama.cpp does not know: it was made "
        "for a fork such as ik_llama.cpp or a later build (take another file), or is damaged"
    )


def _damaged(path: Path) -> UnusableModel:
    return UnusableModel(f"{path.name} is cut short or damaged: its header leads beyond its bytes")


def facts_of_gguf(path: Path) -> ModelFacts:
    """Facts and exact bytes of a GGUF file with all its parts.

    Raises UnusableModel when it holds no language model that can be loaded.
    """
    refuse_later_part(path.name)
    config, sizes = read_parts([path.with_name(part) for part in parts_of(path.name)])
    with gguf_keys(config):
        facts = facts_of_config(path.stem, config)
    if facts is None:
        raise UnusableModel(
            f"{path.name} states no {in_its_keys(lacking(config), str(config['model_type']))}: it "
            "is no language model, or was written by a broken converter"
        )
    return with_gguf_sizes(facts, sizes)


@contextmanager
def gguf_keys(config: Mapping[str, object]) -> Iterator[None]:
    """What is refused of the look-alike, under the keys that the file itself has."""
    try:
        yield
    except UnusableModel as problem:
        raise UnusableModel(in_its_keys(str(problem), str(config.get("model_type")))) from problem


def in_its_keys(said: str, model_type: str) -> str:
    """A sentence about a key of `config.json`, about the one of the file instead."""
    of_file = {ours: theirs for theirs, ours in ARCHITECTURES.items()}
    for theirs, ours in KEYS.items():
        named = f"`{of_file.get(model_type, model_type)}.{theirs}"
        said = said.replace(f"`{ours}`", f"{named}`").replace(f"`{ours}:", f"{named}:")
    return said


_PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$")


def parts_of(name: str) -> tuple[str, ...]:
    """Every file of a split GGUF by one of them; the file itself when it is not split."""
    match = _PART.search(name)
    if match is None:
        return (name,)
    stem, count = name[: match.start()], int(match[2])
    return tuple(f"{stem}-{part:05}-of-{count:05}.gguf" for part in range(1, count + 1))


def part_number(name: str) -> int:
    """Which part of a split GGUF a file is; 1 where it is not split."""
    match = _PART.search(name)
    return int(match[1]) if match else 1


def refuse_later_part(name: str) -> None:
    """llama.cpp is given the first part of a split file, and ends at another one."""
    number, parts = part_number(name), parts_of(name)
    if number > 1:
        raise UnusableModel(f"{name} is part {number} of {len(parts)}: name the first, {parts[0]}")


def read_parts(parts: Sequence[Path]) -> tuple[dict[str, object], ExactSizes]:
    """A `config.json` look-alike out of the first part, and what all parts hold.

    Raises UnusableModel when they hold no weights at all.
    """
    read = [read_gguf(part) for part in parts]
    config, total = read[0].config, sum(each.total_bytes for each in read)
    tensors = [tensor for each in read for tensor in each.tensors]
    config["tie_word_embeddings"] = all(name != "output.weight" for name, _ in tensors)
    experts, words = (
        sum(getattr(each, name) for each in read) for name in ("expert_bytes", "words_bytes")
    )
    if not total:
        raise UnusableModel(
            f"{parts[0].name} holds no tensors: it is a vocabulary alone, or was cut by who made it"
        )
    shapes = shapes_of_gguf(config, tensors)
    return config, ExactSizes(
        total, parts[0].name,
        shapes=shapes, expert_bytes=experts or None, words_bytes=words or None,
    )  # fmt: skip


def shapes_of_gguf(config: Mapping[str, object], tensors: list[Tensor]) -> Shapes | None:
    """What the tensor table shows; heads only of plain attention.

    Window and state-space models have widths per kind of layer, of which not all are stated; of a
    list by layer the largest is taken.
    """
    found = shapes_of(tensors)
    mixed = config.get("sliding_window") or config.get("linear_value_head_dim")
    if found is None or mixed:
        return replace(found, q_rows=(), k_rows=()) if found else None
    return replace(found, q_rows=found.q_rows[-1:], k_rows=found.k_rows[-1:])


def with_gguf_sizes(facts: ModelFacts, sizes: ExactSizes) -> ModelFacts:
    """Facts whose weights are known only as a whole file of mixed types."""
    quantization = Quantization(scheme=Scheme.GGUF, bits_per_weight=4.85, label="GGUF")
    read = replace(sizes, source=f"header of {sizes.source}")
    found = replace(facts, quantization=quantization).with_sizes(read)
    return replace(found, doubts=tuple(in_its_keys(d, facts.model_type) for d in found.doubts))
