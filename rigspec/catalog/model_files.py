"""A model's JSON files, read so that a broken one is named in one sentence."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from rigspec.catalog.model_faults import UnusableModel
from rigspec.letters import as_name
from rigspec.regular import no_file


def holds_file(path: Path) -> bool:
    """Whether there is a file at a path; UnusableModel for anything else that stands there."""
    instead = no_file(path)
    if instead:
        raise UnusableModel(f"{path.name} {instead}")
    return path.is_file()


_MOST_BYTES = 256 << 20
"""The index of a model of a thousand shards is 20 MB; what is far beyond is not one."""

SEEN = 256
"""Bytes at the start of a file that show what stands in its place."""
_POINTER = b"version https://git-lfs.github.com/spec/"
_PAGE = re.compile(rb"\s*<(?:!doctype html|html)\b", re.IGNORECASE)


def refuse_stand_in(start: bytes, where: str) -> None:
    """Raise UnusableModel for what a download leaves where a file belongs: Git's pointer to it, or
    the page of a login."""
    if start.startswith(_POINTER):
        raise UnusableModel(
            f"{where} is a Git LFS pointer, not the file: `git lfs pull` in its folder fetches it"
        )
    if _PAGE.match(start):
        raise UnusableModel(f"{where} is a web page (HTML), not the file: download it again")


_MARKS = (codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
"""Python's own reader of JSON takes such text, transformers and vLLM do not."""


def json_object(path: Path) -> Mapping[str, object]:
    """The object of a JSON file; UnusableModel says which file is broken and where."""
    holds_file(path)
    size = path.stat().st_size
    if size > _MOST_BYTES:
        raise UnusableModel(f"{path.name} has {size:,} bytes, which no such file has")
    return object_of(path.read_bytes(), path.name)


def object_of(data: bytes, where: str) -> Mapping[str, object]:
    """The object in some JSON text; UnusableModel says what is wrong in `where`."""
    refuse_stand_in(data[:SEEN], where)
    if data.startswith(_MARKS) or b"\0" in data[:4]:
        raise UnusableModel(
            f"{where} is not UTF-8 without a byte order mark, which is what engines read"
        )
    try:
        loaded = json.loads(data.decode())
    except RecursionError as problem:
        raise UnusableModel(f"{where} is nested thousands of levels deep") from problem
    except UnicodeDecodeError as problem:
        raise UnusableModel(f"{where} is not JSON: it holds bytes that are no text") from problem
    except json.JSONDecodeError as problem:
        raise UnusableModel(f"{where} is not JSON: {problem}; was it cut short?") from problem
    except ValueError as problem:  # what Python says of a number that is too long to be read
        raise UnusableModel(f"{where} holds a number of thousands of digits") from problem
    if not isinstance(loaded, Mapping):
        raise UnusableModel(f"{where} holds no JSON object")
    if _PERHAPS_HALF.search(data):
        _refuse_halves(loaded, where)
    return loaded


_PERHAPS_HALF = re.compile(rb"\\u[dD][89a-fA-F]")
"""Few files have such an escape: an index of 20 MB need not be walked for it."""
_HALF = re.compile("[\ud800-\udfff]")


def _refuse_halves(loaded: object, where: str) -> None:
    """Python's reader lets half a pair of UTF-16 pass; no file, name or terminal can hold it."""
    for path, text in _texts(loaded):
        half = _HALF.search(text)
        if half is not None:
            key = as_name(path.encode(errors="backslashreplace").decode())
            raise UnusableModel(
                f"{where} holds `\\u{ord(half[0]):x}` in `{key}`: half of a pair of UTF-16, which "
                "is no character"
            )


def _texts(loaded: object) -> Iterator[tuple[str, str]]:
    """Every key and every text with its place; without recursion, as it may be nested deep."""
    waiting = [("", loaded)]
    while waiting:
        path, value = waiting.pop()
        if isinstance(value, str):
            yield path, value
        elif isinstance(value, list):
            waiting += [(f"{path}[{index}]", inner) for index, inner in enumerate(value)]
        elif isinstance(value, dict):
            below = [(f"{path}.{key}".lstrip("."), key, inner) for key, inner in value.items()]
            yield from ((place, key) for place, key, _ in below)
            waiting += [(place, inner) for place, _, inner in below]
