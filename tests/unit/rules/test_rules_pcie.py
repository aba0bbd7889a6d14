"""Links of the tree in words that fit their number."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.finding import Finding
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


def above_switch(slots: dict[str, int] | None = None, /, **ports: tuple[int, int]) -> list[Finding]:
    """Complaints where two switches differ in one key and `pcie` expects Gen5 x16.

    `slots` puts one card into a slot of the CPU with this much of its own.
    """
    rig = load(HOME).rig
    assert rig is not None
    data = rig.model_dump()
    (switch,) = data["pcie"]["switches"]
    below = (["main.0", "main.1"], ["main.2"] if slots is not None else ["main.2", "main.3"])
    data["pcie"] |= {"generation": 5, "width": 16}
    data["pcie"]["switches"] = [
        switch
        | {"name": f"sw{n}", "model": "generic", "generation": 5, "gpus": gpus}
        | {key: pair[n] for key, pair in ports.items()}
        for n, gpus in enumerate(below)
    ]
    data["pcie"]["direct"] = [] if slots is None else [{"gpus": ["main.3"]} | slots]
    found = check(Rig.model_validate(data))
    return [f for f in found if f.rule == "pcie.link-above-switch"]


@pytest.mark.parametrize("ports", [{"generation": (4, 4)}, {"downstream_width": (8, 8)}])
def test_a_slot_of_the_cpu_without_a_figure_of_its_own_meets_what_is_expected(
    ports: dict[str, tuple[int, int]],
) -> None:
    assert len(above_switch(**ports)) == 2
    assert not above_switch({}, **ports)  # the expectation is the slot's


@pytest.mark.parametrize(
    ("own", "ports"),
    [
        ({"generation": 5}, {"generation": (4, 4)}),
        ({"width": 16}, {"downstream_width": (8, 8)}),
    ],
)
def test_a_slot_with_a_figure_of_its_own_asks_nothing_of_the_common_one(
    own: dict[str, int], ports: dict[str, tuple[int, int]]
) -> None:
    assert len(above_switch(own, **ports)) == 2


@pytest.mark.parametrize(
    ("ports", "hint"),
    [
        ({"downstream_width": (4, 8)}, "set `pcie.width: 8`"),
        ({"generation": (4, 3)}, "set `pcie.generation: 4`"),
    ],
)
def test_what_to_expect_is_what_the_better_switch_can_do(
    ports: dict[str, tuple[int, int]], hint: str
) -> None:
    # the lower figure for both would call the better one's links healthy when they are slow
    assert [f.hint for f in above_switch(**ports)] == [hint] * 2
