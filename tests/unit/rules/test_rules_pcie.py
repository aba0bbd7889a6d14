"""Links of the tree in words that fit their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.rig import Rig

HOME = Path(__file__).resolve().parents[3] / "rigs" / "home.yaml"


@pytest.mark.parametrize(
    ("cards", "words"),
    [(1, "for a card that takes 31.5 GB/s"), (2, "for 2 cards that take 31.5 GB/s each")],
)
def test_a_narrow_uplink_names_one_card_or_several(cards: int, words: str) -> None:
    rig = load(HOME).rig
    assert rig is not None
    data = rig.model_dump()
    (switch,) = data["pcie"]["switches"]
    below = {"upstream_width": 8, "gpus": [f"main.{i}" for i in range(cards)]}
    data["pcie"]["switches"] = [switch | below]
    found = [f for f in check(Rig.model_validate(data)) if f.rule == "pcie.uplink-narrow"]
    assert found[0].message.endswith(words)
