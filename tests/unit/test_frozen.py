"""Frozen dataclasses made fast: the same values, equality, hash and text as the standard ones."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import field, replace
from pathlib import Path
from typing import Any

import pytest

from rigspec.frozen import dataclass

SOURCE = Path(__file__).parents[2] / "rigspec"


@dataclass(frozen=True)
class Card:
    name: str
    cap_w: float = 250.0
    seen: int = field(default=0, compare=False)
    token: str = field(default="secret", repr=False)


@dataclass(frozen=True)
class Server(Card):
    slot: int = 0


@dataclass(frozen=True)
class Nothing:
    pass


@dataclass(frozen=True)
class Shown:
    name: str

    def __repr__(self) -> str:
        return f"<{self.name}>"


@dataclasses.dataclass(frozen=True)
class Standard:
    name: str
    cap_w: float = 250.0
    seen: int = field(default=0, compare=False)
    token: str = field(default="secret", repr=False)


def test_text_is_the_standard_one_and_keeps_what_is_hidden() -> None:
    assert repr(Card("a", seen=3)) == repr(Standard("a", seen=3)).replace("Standard", "Card")
    assert "secret" not in repr(Card("a"))
    assert repr(Shown("a")) == "<a>"


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        (Card("a"), Card("a"), True),
        (Card("a", seen=1), Card("a", seen=2), True),
        (Card("a"), Card("b"), False),
        (Card("a", token="x"), Card("a", token="y"), False),
        (Card("a"), Server("a"), False),
        (Server("a", slot=1), Server("a", slot=2), False),
        (Nothing(), Nothing(), True),
        (Card("a"), "a", False),
    ],
)
def test_equality_and_hash_are_by_the_compared_fields_of_one_class(
    one: Any, other: Any, equal: bool
) -> None:
    assert (one == other) is equal
    assert (hash(one) == hash(other)) or not equal
    assert len({one, other}) == (1 if equal else 2)


def test_what_the_standard_library_does_with_a_dataclass_works() -> None:
    assert replace(Card("a"), cap_w=300.0) == Card("a", 300.0)
    assert [one.name for one in dataclasses.fields(Server)] == [
        "name", "cap_w", "seen", "token", "slot",
    ]  # fmt: skip
    with pytest.raises(TypeError, match="name"):
        Card()  # type: ignore[call-arg]


@dataclass
class Counter:
    count: int = 0


@dataclass(frozen=True, order=True)
class Version:
    major: int


def test_other_classes_are_the_standard_ones() -> None:
    counter = Counter()
    counter.count += 1
    assert counter == Counter(1)
    assert Version(1) < Version(2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Version(1).major = 2  # type: ignore[misc]


def test_no_module_that_a_check_may_load_makes_them_the_slow_way() -> None:
    slow = [
        file.name
        for file in SOURCE.rglob("*.py")
        if re.search(r"^from dataclasses import .*\bdataclass\b", file.read_text(), re.MULTILINE)
        and not file.is_relative_to(SOURCE / "lab")
    ]
    assert not slow
