"""A catalog file as plain data, and where a row or key is written when something is wrong with it.

The data comes without places; a file is small enough to be read once more for one.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import IO

import yaml
from typing_extensions import override

from rigspec.errors import RigspecError
from rigspec.regular import no_file

ROW_FORMAT = "docs/fit.md"
"""Where the rows that an owner may write are explained."""


class CatalogError(RigspecError):
    """A catalog file or one of its rows cannot be used."""


_TOLD = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")


class _Loader(yaml.CSafeLoader):
    """CSafeLoader that refuses a key written twice instead of keeping the last."""

    def __init__(self, stream: IO[bytes]) -> None:
        super().__init__(stream)
        self._looked_at: set[int] = set()

    @override
    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        """Merged keys move into the mapping here, where its own may write over them: before that
        each is looked at as it is written."""
        if id(node) not in self._looked_at:
            self._looked_at.add(id(node))
            self._refuse_twice(node)
        super().flatten_mapping(node)

    def _refuse_twice(self, node: yaml.MappingNode) -> None:
        seen: dict[Hashable, int] = {}
        for key, _ in node.value:
            told = key.tag in _TOLD  # text, which most keys are, and `<<`
            name = key.value if told else self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                continue  # PyYAML refuses it
            if name in seen:
                mark = key.start_mark
                raise CatalogError(
                    f"{mark.name}:{mark.line + 1}:{mark.column + 1}: `{name}` is written twice, "
                    f"first in line {seen[name]}",
                    hint="keep one of the two: readers of YAML take the last and drop the other",
                )
            seen[name] = key.start_mark.line + 1


def read(file: Path) -> object:
    """The data of a file; CatalogError says why it has none."""
    instead = no_file(file)  # a pipe would be waited for
    if instead:
        raise CatalogError(f"catalog file {file} {instead}", hint="put a file there, or remove it")
    try:
        with file.open("rb") as stream:
            # our own figures and the owner's, every value type-checked by Row: YAML 1.1 is harmless
            return yaml.load(stream, _Loader)  # noqa: S506, TID251 - a CSafeLoader, see above
    except OSError as error:
        raise CatalogError(f"cannot read catalog file {file}: {error.strerror}") from error
    # a date of month 13 is a ValueError
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        data = file.read_bytes()
        raise (
            _undecodable(file, data)
            or _tab(file, data, error)
            or CatalogError(not_yaml(file, error), hint=f"{ROW_FORMAT} shows a whole file")
        ) from error


def _undecodable(file: Path, data: bytes) -> CatalogError | None:
    """The first byte that is no UTF-8, as in a file saved as Latin-1."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return None  # UTF-16, which YAML may be
    try:
        data.decode("utf-8")
    except UnicodeDecodeError as problem:
        before = data[: problem.start].decode("utf-8")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        said = f"byte 0x{data[problem.start]:02x} is not UTF-8"
        return CatalogError(f"{file}:{line}:{column}: {said}", hint="save the file as UTF-8")
    return None


def _tab(file: Path, data: bytes, problem: Exception) -> CatalogError | None:
    """A tab where the parser gave up."""
    mark = getattr(problem, "problem_mark", None)
    lines = data.decode("utf-8", "replace").split("\n")
    line = lines[mark.line] if mark and mark.line < len(lines) else ""
    if mark is None or "\t" not in line[: mark.column + 1]:
        return None
    return CatalogError(
        f"{file}:{mark.line + 1}:{line.index(chr(9)) + 1}: a tab stands where YAML takes only "
        "spaces",
        hint="replace the tab by spaces; two per level are usual",
    )


def place_of(file: Path, *path: str) -> str:
    """`FILE:LINE:COLUMN` of the last key that is there; the file alone where none is."""
    try:
        node = yaml.compose(file.read_bytes(), yaml.CSafeLoader)
    except (OSError, yaml.YAMLError, RecursionError):
        return str(file)
    mark = None
    for key in path:
        found = _entry(node, key)
        if found is None:
            break
        mark, node = found[0].start_mark, found[1]
    return str(file) if mark is None else f"{file}:{mark.line + 1}:{mark.column + 1}"


def _entry(node: yaml.Node | None, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """The last entry of a name, which is the one that counts."""
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    named = (pair for pair in reversed(pairs) if getattr(pair[0], "value", None) == name)
    return next(named, None)


def not_yaml(file: Path, problem: Exception) -> str:
    """What the parser gave up at, in one line."""
    mark = getattr(problem, "problem_mark", None) or getattr(problem, "context_mark", None)
    where = f"{file}:{mark.line + 1}:{mark.column + 1}" if mark else str(file)
    said = getattr(problem, "problem", None) or getattr(problem, "reason", None) or str(problem)
    return f"{where}: this is not YAML: {' '.join(str(said).split())}"
