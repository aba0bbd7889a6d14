"""Links of the tree in words that fit their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.rules.run import check
from rigspec.sizing.from_spec import catalog_of, places_of
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


def test_a_slower_switch_beside_a_faster_one_slows_only_its_own_links() -> None:
    rig = load(HOME).rig
    assert rig is not None
    data = rig.model_dump()
    (switch,) = data["pcie"]["switches"]
    pair = [
        switch | {"name": name, "model": "generic", "generation": generation, "gpus": gpus}
        for name, generation, gpus in (
            ("fast", 5, ["main.0", "main.1"]), ("slow", 4, ["main.2", "main.3"]),
        )
    ]  # fmt: skip
    data["pcie"] |= {"generation": 5, "switches": pair}
    mixed = Rig.model_validate(data)
    assert "pcie.link-above-switch" not in {f.rule for f in check(mixed)}
    hops = [place.link.form for place in places_of(mixed, catalog_of(None))]
    assert hops == ["Gen5 x16", "Gen5 x16", "Gen4 x16", "Gen4 x16"]
    data["pcie"]["switches"] = [below | {"generation": 4} for below in pair]
    found = [f.hint for f in check(Rig.model_validate(data)) if f.rule == "pcie.link-above-switch"]
    assert found == ["set `pcie.generation: 4`"] * 2
