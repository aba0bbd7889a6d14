"""The virtual rigs that the stories play on, one per file of tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from player import Player, playing


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The second story after half of the short tests.

    Begun beside the first it would only wait for the same image; and it is the shorter story, so
    the other half runs while the first one comes to its end.
    """
    story = [item for item in items if item.path.name == "test_lab_starter.py"]
    others = [item for item in items if item not in story]
    half = len(others) // 2
    items[:] = [*others[:half], *story, *others[half:]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """Four cards behind a switch."""
    with playing("home", tmp_path_factory.mktemp("home")) as player:
        yield player


@pytest.fixture(scope="module")
def starter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Player]:
    """Two cards on the CPU."""
    with playing("starter", tmp_path_factory.mktemp("starter")) as player:
        yield player
