"""Exact sizes out of the files themselves: safetensors headers, indexes, GGUF tensor tables.

A safetensors file starts with an 8-byte little-endian length and that many bytes of JSON; sizes are
differences of `data_offsets`, so packed types need no table. Nothing here opens a network.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from rigspec.catalog.model_facts import ExactSizes
from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_files import (
    SEEN,
    holds_file,
    json_object,
    object_of,
    refuse_stand_in,
)
from rigspec.catalog.model_shapes import Tensor, shapes_of
from rigspec.letters import as_name

INDEX = "model.safetensors.index.json"
_HEADER_LIMIT = 100 << 20
_SKIPPED = ("consolidated", "original/", "metal/")
"""Second copies of the same weights that some repositories carry."""
_DRAFT_MARKS = ("mtp.", "nextn", "eh_proj")


def sizes_of_headers(headers: Iterable[Mapping[str, object]], source: str) -> ExactSizes | None:
    """Total and draft bytes of the headers of all files; None when they hold no tensor.

    Raises UnusableModel for a tensor whose end lies before its start.
    """
    total, draft = 0, 0
    tensors: list[Tensor] = []
    for header in headers:
        for name, entry in header.items():
            tensors.append((name, _shape_of(entry)))
            start, end = offsets_of(name, entry)
            total += end - start
            draft += end - start if any(mark in name for mark in _DRAFT_MARKS) else 0
    return ExactSizes(total, source, draft, shapes=shapes_of(tensors)) if total else None


def _shape_of(entry: object) -> tuple[int, ...]:
    """A tensor's shape; empty where the header states none that can be used."""
    shape = entry.get("shape") if isinstance(entry, Mapping) else None
    usable = isinstance(shape, (list, tuple)) and all(type(size) is int for size in shape)
    return tuple(shape) if usable and isinstance(shape, (list, tuple)) else ()


def offsets_of(name: str, entry: object) -> tuple[int, int]:
    """First and last byte of a tensor; (0, 0) for the one entry that is none."""
    if name == "__metadata__":
        return 0, 0
    offsets = entry.get("data_offsets") if isinstance(entry, Mapping) else None
    if offsets is None:
        raise UnusableModel(f"`{as_name(name)}` of a header states no `data_offsets`")
    if isinstance(offsets, list) and len(offsets) == 2:
        start, end = offsets
        if type(start) is int and type(end) is int and 0 <= start <= end:
            return start, end
    raise UnusableModel(
        f"tensor `{as_name(name)}` has the offsets {str(offsets)[:60]}, which name no bytes"
    )


def sizes_of_index(index: Mapping[str, object], source: str) -> ExactSizes | None:
    """The total a `model.safetensors.index.json` states; UnusableModel when it is none."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if total is None:
        return None
    whole = isinstance(total, int) or (isinstance(total, float) and total.is_integer())
    if isinstance(total, bool) or not whole or not 0 < total < 1e18:
        raise UnusableModel(
            f"{source} states a `total_size` of {str(total)[:40]}, it holds a number of bytes"
        )
    return ExactSizes(int(total), source)


def sizes_of_folder(folder: Path) -> ExactSizes | None:
    """Sizes of a checkpoint folder: its headers, else its index; None when it holds neither.

    Raises UnusableModel when a shard is missing or cut short: its weights would not load either.
    """
    files = sorted(folder.glob("*.safetensors"))
    files = [file for file in files if not file.name.startswith(_SKIPPED)]
    index = json_object(folder / INDEX) if holds_file(folder / INDEX) else {}
    shards = _shards_of(index)
    if files:
        _refuse_missing(shards, files)
        if not shards:
            _refuse_gaps(files)
        return sizes_of_headers((_read_header(file) for file in files), _source(len(files)))
    found = sizes_of_index(index, INDEX)
    if found is None:  # one that states a total may lie beside a config alone
        _refuse_missing(shards, [])
    return found


def _source(files: int) -> str:
    return f"headers of {files} file{'s' if files > 1 else ''}"


def _shards_of(index: Mapping[str, object]) -> set[str]:
    """The files an index names; UnusableModel where it names one that no checkpoint holds."""
    listed = index.get("weight_map")
    if listed is None:
        return set()
    if not isinstance(listed, Mapping):
        raise UnusableModel(f"{INDEX} holds a `weight_map` that maps no tensor to a file")
    for tensor, shard in listed.items():
        wrong = _misnamed(shard)
        if wrong:
            mapped = f"`{as_name(tensor)}` to `{as_name(str(shard))}`"
            raise UnusableModel(f"{INDEX} maps {mapped}, which {wrong}")
    return set(listed.values())


def _misnamed(shard: object) -> str:
    if not isinstance(shard, str):
        return "is no name of a file"
    outside = shard.startswith("/") or ".." in shard.split("/")
    return "lies outside the folder" if outside else ""


def _refuse_missing(shards: set[str], files: list[Path]) -> None:
    missing = sorted(shards - {file.name for file in files})
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        shown = as_name(missing[0])
        raise UnusableModel(f"{INDEX} names `{shown}`{more}, which the folder does not hold")


_PART = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.safetensors")


def _refuse_gaps(files: list[Path]) -> None:
    """Where no index names the files, each says itself of how many it is one."""
    held = {file.name for file in files}
    for part in filter(None, map(_PART.fullmatch, sorted(held))):
        stem, whole = part[1], part[3]
        for number in range(1, int(whole) + 1):
            other = f"{stem}-{number:05}-of-{whole}.safetensors"
            if other not in held:
                raise UnusableModel(
                    f"the folder holds `{as_name(part[0])}`, but not `{as_name(other)}`"
                )


def _read_header(file: Path) -> Mapping[str, object]:
    """The header of one file; UnusableModel when the file ends before its header or its data."""
    holds_file(file)
    size = file.stat().st_size
    with file.open("rb") as stream:
        refuse_stand_in(stream.read(SEEN), file.name)
        stream.seek(0)
        start = stream.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
        if len(start) < 8 or 8 + length > size:
            raise UnusableModel(f"{file.name} is cut short: it ends within its header")
        if length > _HEADER_LIMIT:
            raise UnusableModel(f"{file.name} is no safetensors file: a header of {length:,} bytes")
        header = object_of(stream.read(length), f"the header of {file.name}")
    last = max((offsets_of(name, entry)[1] for name, entry in header.items()), default=0)
    if 8 + length + last > size:
        short = 8 + length + last - size
        raise UnusableModel(f"{file.name} is cut short: {short:,} bytes of its tensors are missing")
    return header
