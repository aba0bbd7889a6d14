"""Text → YAML node tree → plain data, with the place of every value.

Plain scalars stay **text** (only `null`, `~` and nothing become None): the model's types decide
what `off`, `01:00.0` or `570.10` mean, never YAML 1.1. Nothing here raises for bad input; slips
come back as findings that carry their own place.
"""

from __future__ import annotations

import re
from dataclasses import field
from typing import Any

import yaml
from typing_extensions import override
from yaml._yaml import CParser

from rigspec.finding import Finding, Path
from rigspec.frozen import dataclass
from rigspec.spec import slips
from rigspec.spec.escapes import EscapeScanner, NoCharacterError, no_character
from rigspec.spec.slips import Place, PlacedFinding
from rigspec.spec.telltales import told

MAX_DEPTH = 40
"""Nesting allowed; our format needs 8. Deeper input is an accident or an attack."""

MAX_VALUES = 20_000
"""Values after aliases are expanded; a rig of 16 cards has about 500."""

_LINE_BREAK = re.compile("\r\n|[\n\r\x85\u2028\u2029]")  # the breaks PyYAML counts lines by
_STANDARD_TAGS = frozenset(f"tag:yaml.org,2002:{kind}" for kind in ("str", "seq", "map"))
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


@dataclass(frozen=True)
class Source:
    """One spec file: its text and, where it is YAML, its node tree."""

    file: str
    text: str
    root: yaml.Node | None = None
    lines: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(_LINE_BREAK.split(self.text)))

    def locate(self, path: Path, at_key: bool = False) -> Place:
        """Where a value (or its key) is written; the nearest ancestor when it is not there."""
        node, key = self.root, None
        for element in path:
            step = _child(node, element)
            if step is None:
                return self._place(key, node, at_key=True)
            key, node = step
        return self._place(key, node, at_key=at_key)

    def text_at(self, path: Path) -> str | None:
        """A scalar as the owner wrote it; None when the path names no scalar."""
        node = self._node(path)
        return node.value if isinstance(node, yaml.ScalarNode) else None

    def is_null(self, path: Path) -> bool:
        """Whether the place exists and holds nothing (`key:`, `~`, `null`)."""
        node = self._node(path)
        return isinstance(node, yaml.ScalarNode) and _is_null(node)

    def keys_at(self, path: Path) -> tuple[str, ...]:
        """The keys of a mapping as they are written; empty when the path names none."""
        node = self._node(path)
        pairs = node.value if isinstance(node, yaml.MappingNode) else []
        return tuple(key.value for key, _ in pairs if isinstance(key, yaml.ScalarNode))

    def _node(self, path: Path) -> yaml.Node | None:
        node = self.root
        for element in path:
            step = _child(node, element)
            if step is None:
                return None
            node = step[1]
        return node

    def _place(self, key: yaml.Node | None, node: yaml.Node | None, *, at_key: bool) -> Place:
        if key is not None and (at_key or node is None or not _has_own_line(node)):
            return _place_of(key)
        if node is None:
            return Place(1, 1, 1)
        return _place_of(_first_leaf(node))


def parse(file: str, text: str) -> tuple[Source, Any, tuple[Finding, ...]]:
    """The source, its plain data (None when it is not YAML), and the slips found on the way."""
    try:
        root = _compose(text)
    except yaml.MarkedYAMLError as problem:
        source = Source(file, text)
        slip = slips.syntax(problem, source.lines)
        return source, None, (told(slip, source.lines) or slip,)
    except yaml.reader.ReaderError as problem:
        return Source(file, text), None, (slips.unreadable_character(problem, text),)
    except NoCharacterError as problem:
        return Source(file, text), None, (no_character(problem, text),)
    source = Source(file, text, root)
    if root is None:
        return source, None, (slips.empty(),)
    reader = _Reader()
    try:
        data = reader.value(root, ())
    except _TooManyValuesError:
        return source, None, (*reader.findings, slips.alias_bomb(_place_of(root), MAX_VALUES))
    return source, data, tuple(reader.findings)


def _compose(text: str) -> Any:
    """The node tree; libyaml reads ten times faster, PyYAML's own scanner explains what is wrong.

    libyaml takes tabs where PyYAML asks for spaces, and reads a stray byte order mark as a letter:
    text with either goes to the stricter one.
    """
    if "\t" not in text and "\ufeff" not in text:
        try:
            return _FastLoader(text).get_single_node()
        except (yaml.YAMLError, UnicodeError):
            pass  # said below, with the place and in words that `slips` knows
    return _Loader(text).get_single_node()


class _Bounded(yaml.composer.Composer):
    """PyYAML's composer with a bound on depth."""

    depth = 0

    @override
    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark  # type: ignore[attr-defined]  # the parser's
            raise yaml.composer.ComposerError(None, None, slips.TOO_DEEP, mark)
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Loader(_Bounded, EscapeScanner, yaml.BaseLoader):
    """PyYAML's scanner and parser: no tag resolution."""


class _FastLoader(_Bounded, CParser, yaml.resolver.BaseResolver):
    """libyaml's scanner and parser below the same composer."""

    def __init__(self, text: str) -> None:
        CParser.__init__(self, text)
        yaml.composer.Composer.__init__(self)
        yaml.resolver.BaseResolver.__init__(self)


class _TooManyValuesError(Exception):
    """Aliases expand to more than any rig needs."""


class _Reader:
    """Node tree to plain data; collects what YAML allows and a spec does not."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self._open: list[yaml.Node] = []
        self._left = MAX_VALUES
        self._told: set[yaml.Node] = set()

    def value(self, node: yaml.Node, path: Path) -> Any:
        self._left -= 1
        if self._left < 0:
            raise _TooManyValuesError
        if node in self._open:
            self._tell(node, slips.recursive_alias(path, _place_of(_first_leaf(node))))
            return None
        if node.tag not in _STANDARD_TAGS and node.tag is not None:
            self._tell(node, slips.explicit_tag(path, _place_of(_first_leaf(node)), node.tag))
        if isinstance(node, yaml.ScalarNode):
            return None if _is_null(node) else node.value
        self._open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            return [self.value(item, (*path, i)) for i, item in enumerate(node.value)]
        finally:
            self._open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        result: dict[str, Any] = {}
        seen: dict[str, yaml.Node] = {}
        merges = []
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                self._tell(key, slips.key_not_text(path, _place_of(_first_leaf(key))))
            elif _is_merge(key):
                merges.append(value)
            elif key.value in seen:
                here, there = _place_of(key), _place_of(seen[key.value])
                self._tell(key, slips.duplicate_key((*path, key.value), here, there))
            else:
                seen[key.value] = key
                result[key.value] = self.value(value, (*path, key.value))
        for merged in merges:
            for name, value in self._merged(merged, path).items():
                result.setdefault(name, value)
        return result

    def _merged(self, node: yaml.Node, path: Path) -> dict[str, Any]:
        """What `<<` brings in: one mapping, or a list of them of which the first wins."""
        value = self.value(node, path)
        parts = value if isinstance(value, list) else [value]
        result: dict[str, Any] = {}
        for part in parts:
            if not isinstance(part, dict):
                self._tell(node, slips.merge_of_no_mapping(path, _place_of(_first_leaf(node))))
                continue
            result = {**part, **result}
        return result

    def _tell(self, node: yaml.Node, finding: PlacedFinding) -> None:
        if node not in self._told:  # an alias brings the same node many times: say it once
            self._told.add(node)
            self.findings.append(finding)


def _is_null(node: yaml.ScalarNode) -> bool:
    return not node.style and node.value in _NULLS


def _is_merge(key: yaml.ScalarNode) -> bool:
    return not key.style and key.value == "<<"


_Step = tuple[yaml.Node | None, yaml.Node]
"""Key node (None in a sequence) and value node of one path element."""


def _child(node: yaml.Node | None, element: str | int) -> _Step | None:
    """One step down the tree, through `<<` where need be; None when there is no such element."""
    if isinstance(node, yaml.SequenceNode):
        if isinstance(element, int) and element < len(node.value):
            return None, node.value[element]
        return None
    return _entry(node, str(element), set())


def _entry(node: yaml.Node | None, name: str, searched: set[int]) -> _Step | None:
    if not isinstance(node, yaml.MappingNode) or id(node) in searched:
        return None
    searched.add(id(node))  # `<<` may lead back to where it began
    merged: list[yaml.Node] = []
    for key, value in node.value:
        if isinstance(key, yaml.ScalarNode):
            if key.value == name:
                return key, value
            if _is_merge(key):
                merged += value.value if isinstance(value, yaml.SequenceNode) else [value]
    found = (_entry(part, name, searched) for part in merged)
    return next((step for step in found if step is not None), None)


def _has_own_line(node: yaml.Node) -> bool:
    """Whether a value can carry a caret itself: a scalar with text, or `{…}` and `[…]`."""
    if isinstance(node, yaml.ScalarNode):
        return bool(node.start_mark.index != node.end_mark.index)
    return isinstance(node, yaml.CollectionNode) and bool(node.flow_style)


def _first_leaf(node: yaml.Node) -> yaml.Node:
    """For a block mapping its first key, so that the caret underlines a word."""
    if isinstance(node, yaml.MappingNode) and not node.flow_style and node.value:
        first = node.value[0][0]
        return first if isinstance(first, yaml.ScalarNode) else node
    return node


def _place_of(node: yaml.Node) -> Place:
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if start.line == end.line else 1
    return Place(start.line + 1, start.column + 1, max(1, width))
