"""A saved look at a host: read back equal, refused with the place when it is not ours."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from verdicts_bench import the_look, the_plan

from rigspec.observed.record import NOT_ASKED, Unknown
from rigspec.verify.from_json import WrongShape
from rigspec.verify.observation import Observation
from rigspec.verify.observation_file import (
    SavedObservation,
    observation_from_json,
    observation_to_json,
)
from rigspec.verify.rig import verify_rig


def saved(seen: Observation) -> SavedObservation:
    return SavedObservation("home", "d1", "2026-11-24T21:00:00+00:00", seen)


@pytest.mark.parametrize("seen", [the_look(), Observation()], ids=["full", "nothing asked"])
def test_what_was_saved_is_read_back_equal(seen: Observation) -> None:
    assert observation_from_json(observation_to_json(saved(seen))) == saved(seen)


def test_an_unknown_keeps_its_reason_and_its_line() -> None:
    lost = Unknown("cut off", "last line")
    back = observation_from_json(observation_to_json(saved(the_look(cards=lost, tree=NOT_ASKED))))
    assert back.observation.cards == lost
    assert back.observation.tree == NOT_ASKED


def test_the_saved_look_is_judged_like_the_live_one() -> None:
    plan, seen = the_plan(), the_look()
    back = observation_from_json(observation_to_json(saved(seen))).observation
    assert verify_rig(plan, back) == verify_rig(plan, seen)


def test_fields_that_an_older_rigspec_did_not_ask_for_are_not_asked_for() -> None:
    data = json.loads(observation_to_json(saved(the_look())))
    del data["observation"]["iommu"]
    assert observation_from_json(json.dumps(data)).observation.iommu == NOT_ASKED


def _changed(place: str, value: object) -> str:
    data = json.loads(observation_to_json(saved(the_look())))
    *way, last = place.split("/")
    at = data
    for step in way:
        at = at[int(step)] if isinstance(at, list) else at[step]
    at[last] = value
    return json.dumps(data)


@pytest.mark.parametrize(
    ("place", "value", "said"),
    [
        ("version", 2, "version 2"),
        ("format", "x", "no saved observation"),
        ("observation/host/uid", "root", "observation.host.uid must be int"),
        ("observation/host/uid", True, "observation.host.uid must be int"),
        ("observation/host/release", None, "observation.host.release must be text"),
        ("observation/tree/functions/0/kind", "bus", "observation.tree.functions[0].kind must be"),
        ("observation/tree/functions", {}, "observation.tree.functions must be a list"),
        ("observation/colour", "red", "observation has unknown fields: colour"),
    ],
)
def test_what_is_not_ours_is_refused_with_its_place(place: str, value: object, said: str) -> None:
    with pytest.raises(WrongShape) as refused:
        observation_from_json(_changed(place, value))
    assert said in refused.value.message
    assert refused.value.hint


def test_text_that_is_no_json_is_refused() -> None:
    with pytest.raises(WrongShape):
        observation_from_json(Path(__file__).read_text(encoding="utf-8"))
