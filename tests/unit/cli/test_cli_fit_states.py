"""`rigspec fit` of models with recurrent states: what vLLM says to more sequences than states."""

from __future__ import annotations

import json

import pytest
from asked import rigspec

pytestmark = pytest.mark.usefixtures("in_the_repository")

STATES = ("Qwen/Qwen3.6-27B-FP8", "--gpu", "h100-80gb-hbm3")


def test_sequences_that_vllm_would_refuse_for_want_of_states_are_said_in_every_form() -> None:
    # vLLM's own default on such a card is 1024 sequences, one state each
    table, single = rigspec("fit", *STATES), rigspec("fit", *STATES, "--context", "8192")
    for shown in (table.output, single.output):
        assert "too close to call" in shown
        assert "vLLM refuses 1024 sequences, its default, if its cache holds fewer" in shown
    for more in ((), ("--context", "8192")):
        told = json.loads(rigspec("fit", *STATES, "--json", *more).output)
        (row, *_) = told if isinstance(told, list) else [told]
        assert row["states"]["sequences"] == 1024
        assert row["verdict"] == "close"


def test_the_default_of_a_stated_version_is_refused_as_if_it_were_written_out() -> None:
    asked = ("fit", STATES[0], "--gpu", "rtx-3090", "--count", "2", "--context", "8192",
             "--engine-version", "0.30.0")  # fmt: skip
    left, written = rigspec(*asked), rigspec(*asked, "--sequences", "256")
    assert left.exit_code == written.exit_code == 2
    assert "`max_sequences: 128` surely finds them" in left.output
    assert "fewer sequences: max_sequences: 128 (" in left.output
    found = rigspec(*asked, "--sequences", "128")
    assert found.exit_code == 0
    assert "refuses" not in found.output


def test_few_sequences_fit_and_nothing_is_said_of_states() -> None:
    for more in ((), ("--context", "8192")):
        done = rigspec("fit", *STATES, "--sequences", "16", *more)
        assert done.exit_code == 0
        assert "too close" not in done.output
        assert "refuses" not in done.output


def test_more_states_asked_for_than_the_pool_ever_holds_end_with_2() -> None:
    done = rigspec("fit", *STATES, "--sequences", "4000", "--context", "8192")
    assert done.exit_code == 2
    assert "does not fit" in done.output


def test_a_refused_shape_says_nothing_about_states_either() -> None:
    done = rigspec("fit", *STATES, "--context", "999999")
    assert "refused: context 999999 is above the model's maximum" in done.output
    assert "blocks, one for each" not in done.output
