from __future__ import annotations

import json

import pytest

from rigspec.errors import RigspecError
from rigspec.plan.daemon_json import merge_daemon_json

WANTED = {"features": {"cdi": True}}


def test_a_missing_file_becomes_ours() -> None:
    assert json.loads(merge_daemon_json("", WANTED)) == WANTED


def test_owners_keys_are_kept_beside_and_inside_ours() -> None:
    current = '{"data-root": "/big/docker", "features": {"buildkit": false}, "dns": ["192.0.2.1"]}'
    merged = json.loads(merge_daemon_json(current, WANTED))
    assert merged == {
        "data-root": "/big/docker",
        "features": {"buildkit": False, "cdi": True},
        "dns": ["192.0.2.1"],
    }


def test_our_key_wins_over_its_opposite() -> None:
    merged = json.loads(merge_daemon_json('{"features": {"cdi": false}}', WANTED))
    assert merged == WANTED


def test_a_file_that_is_right_stays_byte_for_byte() -> None:
    current = '{ "features":{"cdi":true},\n\t"log-level" : "warn" }'
    assert merge_daemon_json(current, WANTED) == current


def test_nothing_wanted_leaves_any_file_alone() -> None:
    assert merge_daemon_json("", {}) == ""


@pytest.mark.parametrize("broken", ['{"a": 1,}', "[1]", "yes: no"])
def test_a_broken_file_is_never_overwritten(broken: str) -> None:
    with pytest.raises(RigspecError) as caught:
        merge_daemon_json(broken, WANTED)
    assert "/etc/docker/daemon.json" in caught.value.message
    assert "run again" in caught.value.hint
