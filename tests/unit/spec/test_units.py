"""Names in sentences."""

from __future__ import annotations

import pytest

from rigspec.units import with_article


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("NVIDIA A40", "an NVIDIA A40"),
        ("Tesla T4", "a Tesla T4"),
        ("L4", "an L4"),
        ("fp8", "an fp8"),
        ("Radeon", "a Radeon"),
        ("A100", "an A100"),
    ],
)
def test_a_card_is_named_as_it_is_spoken(name: str, said: str) -> None:
    assert with_article(name) == said
