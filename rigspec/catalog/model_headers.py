"""Exact sizes out of the files themselves: safetensors headers, indexes, GGUF tensor tables.

A safetensors file starts with an 8-byte little-endian length and that many bytes of JSON; sizes are
differences of `data_offsets`, so packed types need no table. Nothing here opens a network.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Mapping
from pathlib import Path

from rigspec.catalog.model_facts import ExactSizes

_HEADER_LIMIT = 100 << 20
_SKIPPED = ("consolidated", "original/", "metal/")
"""Second copies of the same weights that some repositories carry."""
_DRAFT_MARKS = ("mtp.", "nextn", "eh_proj")


def header_of(data: bytes) -> Mapping[str, object] | None:
    """The JSON header at the start of a safetensors file; None when it is not one."""
    if len(data) < 8:
        return None
    (length,) = struct.unpack("<Q", data[:8])
    if length > _HEADER_LIMIT or len(data) < 8 + length:
        return None
    try:
        header = json.loads(data[8 : 8 + length])
    except ValueError:
        return None
    return header if isinstance(header, Mapping) else None


def sizes_of_headers(headers: Iterable[Mapping[str, object]], source: str) -> ExactSizes | None:
    """Total and draft bytes of the headers of all files; None when they hold no tensor."""
    total, draft = 0, 0
    for header in headers:
        for name, entry in header.items():
            offsets = entry.get("data_offsets") if isinstance(entry, Mapping) else None
            if isinstance(offsets, list) and len(offsets) == 2:
                size = int(offsets[1]) - int(offsets[0])
                total += size
                draft += size if any(mark in name for mark in _DRAFT_MARKS) else 0
    return ExactSizes(total, source, draft) if total else None


def sizes_of_index(index: Mapping[str, object], source: str) -> ExactSizes | None:
    """The total a `model.safetensors.index.json` states."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, Mapping) else None
    if isinstance(total, (int, float)) and total > 0:
        return ExactSizes(int(total), source)
    return None


def sizes_of_folder(folder: Path) -> ExactSizes | None:
    """Sizes of a checkpoint folder: its headers, else its index."""
    files = sorted(folder.glob("*.safetensors"))
    files = [file for file in files if not file.name.startswith(_SKIPPED)]
    headers = [header for file in files if (header := _read_header(file)) is not None]
    if headers and len(headers) == len(files):
        return sizes_of_headers(headers, f"headers of {len(files)} files")
    index = folder / "model.safetensors.index.json"
    if index.is_file():
        return sizes_of_index(json.loads(index.read_text()), index.name)
    return None


def _read_header(file: Path) -> Mapping[str, object] | None:
    with file.open("rb") as stream:
        start = stream.read(8)
        if len(start) < 8:
            return None
        (length,) = struct.unpack("<Q", start)
        return header_of(start + stream.read(min(length, _HEADER_LIMIT)))
