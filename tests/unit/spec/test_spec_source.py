"""Text to values with places: what YAML 1.1 would have changed stays as written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rigspec.finding import Finding
from rigspec.spec import source as reading
from rigspec.spec.load import MAX_BYTES, load, load_text
from rigspec.spec.slips import Place, PlacedFinding
from rigspec.spec.source import MAX_DEPTH, Source, parse

ERRORS = Path(__file__).parents[2] / "errors"


def place(found: Finding) -> Place | None:
    assert isinstance(found, PlacedFinding)
    return found.place


@pytest.mark.parametrize(
    "written",
    ["off", "no", "01:00.0", "0000:41:00.0", "570.10", "0x1F", "1_000", "2026-11-24", "1e3", "010"],
)
def test_plain_scalars_stay_text_as_written(written: str) -> None:
    assert parse("x", f"key: {written}\n")[1] == {"key": written}


@pytest.mark.parametrize("written", ["", "~", "null", "Null", "NULL"])
def test_only_null_words_become_none(written: str) -> None:
    assert parse("x", f"key: {written}\n")[1] == {"key": None}


@pytest.mark.parametrize("written", ['""', '"null"', "'~'"])
def test_quoted_null_words_stay_text(written: str) -> None:
    assert parse("x", f"key: {written}\n")[1] == {"key": written[1:-1]}


TREE = """\
top:
  list:
    - name: one
    - {name: two, deep: [a, "b c"]}
  empty:
last: |
  many
  lines
"""


@pytest.mark.parametrize(
    ("path", "at_key", "expected"),
    [
        (("top", "list", 0, "name"), False, Place(3, 13, 3)),
        (("top", "list", 0, "name"), True, Place(3, 7, 4)),
        (("top", "list", 1), False, Place(4, 7, 29)),
        (("top", "list", 1, "deep", 1), False, Place(4, 29, 5)),
        (("top", "empty"), False, Place(5, 3, 5)),
        (("top",), False, Place(1, 1, 3)),
        (("last",), False, Place(6, 7, 1)),
        ((), False, Place(1, 1, 3)),
        (("top", "list", 0, "missing"), False, Place(3, 7, 4)),
        (("top", "list", 9), False, Place(2, 3, 4)),
        (("nowhere", "at", "all"), False, Place(1, 1, 3)),
    ],
)
def test_path_is_located_where_an_editor_shows_it(
    path: tuple[str | int, ...], at_key: bool, expected: Place
) -> None:
    assert parse("x", TREE)[0].locate(path, at_key) == expected


def test_missing_field_of_a_list_item_points_into_that_item() -> None:
    source = parse("x", "list:\n  - name: one\n    size: 1\n")[0]
    assert source.locate(("list", 0, "width")).line == 2


def test_crlf_and_other_line_breaks_count_as_editors_count_them() -> None:
    source = parse("x", "a: 1\r\nb: 2\rc: 3\n")[0]
    assert [source.locate((key,)).line for key in "abc"] == [1, 2, 3]
    assert source.lines[:3] == ("a: 1", "b: 2", "c: 3")


def test_aliased_values_are_located_at_their_anchor() -> None:
    source, data, found = parse("x", "a: &x {v: 1}\nb: *x\n")
    assert data == {"a": {"v": "1"}, "b": {"v": "1"}}
    assert source.locate(("b", "v")) == Place(1, 11, 1)
    assert not found


def test_merge_takes_what_is_not_given_and_is_located_where_it_stands() -> None:
    text = "base: &b {x: 1, y: 2}\nmore: &m {y: 3, z: 4}\nuse:\n  <<: [*b, *m]\n  x: 9\n"
    source, data, found = parse("x", text)
    assert data["use"] == {"x": "9", "y": "2", "z": "4"}
    assert source.locate(("use", "z")).line == 2
    assert not found


def test_merge_that_leads_back_to_itself_ends() -> None:
    source, _, found = parse("x", "a: &a\n  <<: *a\n  b: 1\n")
    assert found[0].rule == "yaml.recursive-alias"
    assert source.locate(("a", "missing")).line == 1


def test_duplicate_key_names_both_lines_and_the_first_counts() -> None:
    _, data, found = parse("x", "a: 1\nb: 2\na: 3\n")
    assert data == {"a": "1", "b": "2"}
    assert "line 1" in found[0].message
    assert place(found[0]) == Place(3, 1, 1)


def test_deep_nesting_is_a_finding_and_no_recursion_error() -> None:
    for text in ("[" * 100_000, "a:\n" + "".join(" " * i + "a:\n" for i in range(1, 300))):
        _, data, found = parse("x", text)
        assert data is None
        assert "nested deeper" in found[0].message


def test_nesting_up_to_the_limit_is_read() -> None:
    depth = MAX_DEPTH - 2
    assert not parse("x", "a: " + "[" * depth + "]" * depth)[2]


def test_alias_bomb_is_refused_before_it_expands() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 12)]
    _, data, found = parse("x", "\n".join(lines))
    assert data is None
    assert [f.rule for f in found] == ["yaml.too-many-values"]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("a: !!python/name:os.system x\n", "yaml.tag"),
        ("a: !!int '5'\n", "yaml.tag"),
        ("a: !own {b: 1}\n", "yaml.tag"),
        ("? [a, b]\n: c\n", "yaml.key-not-text"),
        ("{a: 1}: c\n", "yaml.key-not-text"),
        ("a: &a [*a]\n", "yaml.recursive-alias"),
        ("a:\n  <<: 5\n", "yaml.merge"),
        ("a: 1\n---\nb: 2\n", "yaml.syntax"),
        ("", "yaml.empty"),
        ("# only a comment\n", "yaml.empty"),
        ("a: \x00\n", "yaml.syntax"),
        ("a: 1\n\tb: 2\n", "yaml.syntax"),
        ("%YAML 3.0\n---\na: 1\n", "yaml.syntax"),
    ],
)
def test_yaml_that_a_spec_does_not_take_is_one_finding(text: str, rule: str) -> None:
    assert [f.rule for f in parse("x", text)[2]] == [rule]


def test_explicit_str_tag_changes_nothing() -> None:
    assert parse("x", "a: !!str 5\n")[1:] == ({"a": "5"}, ())


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: \xff\n", "byte 0xff is not UTF-8"),
        ("a: 1\n".encode("utf-16"), "UTF-16"),
        (b"#" * (MAX_BYTES + 1), "larger than 1 MiB"),
    ],
)
def test_unreadable_content_is_a_finding(folder: Path, content: bytes, words: str) -> None:
    file = folder / "rig.yaml"
    file.write_bytes(content)
    loaded = load(file)
    assert loaded.rig is None
    assert words in loaded.findings[0].message


def test_missing_file_folder_and_forbidden_file_are_findings(folder: Path) -> None:
    (folder / "dir").mkdir()
    for name, words in (("none.yaml", "does not exist"), ("dir", "is a folder")):
        found = load(folder / name).findings
        assert [f.rule for f in found] == ["yaml.unreadable"]
        assert words in found[0].message
    assert "exist" in load(folder / "x" / "\udcff").findings[0].message
    assert load("nul\0byte").findings[0].rule == "yaml.unreadable"


def test_file_without_permission_is_a_finding(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(13, "Permission denied")

    (folder / "rig.yaml").write_text("a: 1\n")
    monkeypatch.setattr(Path, "open", refuse)  # root, who runs the tests in CI, may read anything
    assert "Permission denied" in load(folder / "rig.yaml").findings[0].message


def test_byte_order_mark_does_not_shift_columns(folder: Path) -> None:
    (folder / "rig.yaml").write_bytes(b"\xef\xbb\xbfnope: 1\n")
    loaded = load(folder / "rig.yaml")
    unknown = next(f for f in loaded.findings if f.rule == "shape.unknown-key")
    assert loaded.source.locate(unknown.path, at_key=True) == Place(1, 1, 4)


@pytest.mark.parametrize("text", ["- a\n", "word\n", "'5'\n", "~\n"])
def test_top_level_that_is_no_mapping_is_one_finding(text: str) -> None:
    assert [f.rule for f in load_text("x", text).findings] == ["yaml.not-a-mapping"]


def test_source_without_tree_locates_the_first_line() -> None:
    assert Source("x", "").locate(("a", 1)) == Place(1, 1, 1)


TEXTS = [f for f in sorted(ERRORS.glob("*.yaml")) if f.stem != "yaml-recursive-alias"]


@pytest.mark.parametrize("file", TEXTS, ids=lambda file: file.stem)
def test_the_fast_reader_sees_what_the_explaining_one_sees(file: Path) -> None:
    """libyaml's tree and PyYAML's agree in values and places; what libyaml refuses is explained."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if "\t" in text:
        return  # goes to the explaining one at once
    try:
        fast = reading._FastLoader(text).get_single_node()
    except (yaml.YAMLError, UnicodeError):
        return
    assert seen(fast) == seen(reading._Loader(text).get_single_node())


def seen(node: yaml.Node | None) -> object:
    """Values, quoting and places of a tree."""
    if not isinstance(node, yaml.ScalarNode | yaml.CollectionNode):
        return None
    place = reading._place_of(reading._first_leaf(node)), reading._has_own_line(node)
    if isinstance(node, yaml.ScalarNode):
        return node.value, node.style or None, place
    if isinstance(node, yaml.MappingNode):
        return [(seen(key), seen(value)) for key, value in node.value], place
    own = place if node.flow_style else node.start_mark.line  # an open list ends where it likes
    return [seen(item) for item in node.value], own


def test_a_list_item_below_a_key_is_no_key_without_a_colon() -> None:
    (found,) = parse("x", "gpus:\n  pair: x\n  - foo bar\n")[2]
    assert found.message == "a list item `-` stands where none can be"


@pytest.mark.parametrize(
    ("written", "at"),
    [
        (r'"\ud800"', Place(1, 7, 6)),
        (r'"a\ud83d\ude00"', Place(1, 8, 6)),
        (r'"\U0000DC00"', Place(1, 7, 10)),
        (r'"\U00110000"', Place(1, 7, 10)),
        (r'"\UFFFFFFFF"', Place(1, 7, 10)),
        ('"a\\\n  b \\\n  \\udfff"', Place(3, 3, 6)),
    ],
)
def test_an_escape_that_is_no_character_is_named_at_its_place(written: str, at: Place) -> None:
    (found,) = parse("x", f"key: {written}\n")[2]
    assert "is no character" in found.message
    assert place(found) == at


def test_an_escape_that_is_no_character_is_named_in_a_key_too() -> None:
    (found,) = parse("x", '"\\ud800": 1\n')[2]
    assert place(found) == Place(1, 2, 6)


@pytest.mark.parametrize("written", [r'"\\ud800"', r"'\ud800'", r"\ud800"])
def test_a_backslash_that_begins_no_escape_is_text(written: str) -> None:
    assert parse("x", f"key: {written}\n")[1] == {"key": "\\ud800"}


def test_the_last_character_is_one() -> None:
    assert parse("x", 'key: "\\U0010FFFF\t"\n')[1] == {"key": "\U0010ffff\t"}


@pytest.mark.parametrize("written", [r'["a",\ud800]', r'{"a":\ud800}'])
def test_a_backslash_right_behind_the_quotes_begins_no_escape(written: str) -> None:
    # eight characters of an escape are looked at beyond its `\U`, and here beyond the quote
    (found,) = parse("x", f"key: {written}\t# a tab\n")[2]
    assert "a tab stands" in found.message


@pytest.mark.parametrize("written", [r'"\u\ud800"', r'"\u12\ud800"'])
def test_the_first_of_two_bad_escapes_is_told(written: str) -> None:
    (found,) = parse("x", f"key: {written}\n")[2]
    assert "expected escape sequence of 4 hexadecimal numbers" in found.message
