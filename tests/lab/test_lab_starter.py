"""`rigs/starter.yaml`: weights from a hub, and what the owner reads when something is wrong."""

from __future__ import annotations

import json

import pytest
from conftest import Player

pytestmark = pytest.mark.lab

WEIGHTS = "/srv/models/Qwen--Qwen3.6-27B-FP8@e89b16ebf198"


def test_a_blank_image_ends_with_a_verified_token(starter: Player) -> None:
    run = starter.apply()
    assert run.code == 0
    manifest = starter.said(f"cat {WEIGHTS}/.rigspec-manifest")
    assert "e89b16ebf1988b3d6befa7de50abc2d76f26eb09" in manifest
    devices = json.loads(
        starter.said("docker inspect -f '{{json .HostConfig.DeviceRequests}}' rigspec-qwen")
    )
    named = [name for request in devices for name in request["DeviceIDs"]]
    assert len(named) == 2
    assert all(name.startswith("nvidia.com/gpu=GPU-") for name in named)


def test_a_second_run_changes_nothing(starter: Player) -> None:
    run = starter.apply()
    assert run.code == 0
    assert run.changed == ()


def test_a_missing_weights_file_is_fetched_again(starter: Player) -> None:
    starter.said(f"systemctl stop rigspec-qwen && mv {WEIGHTS}/config.json /root/ && sync")
    run = starter.apply()
    # the file is missing, so the model stage fetches it again: nothing is left to repair by hand
    assert run.code == 0
    starter.said(f"cmp {WEIGHTS}/config.json /root/config.json")


def test_a_failed_unit_is_named_and_the_next_run_goes_on(starter: Player) -> None:
    starter.said("rm -f /etc/systemd/system/rigspec-power.service.d/broken.conf")
    starter.said(
        "mkdir -p /etc/systemd/system/rigspec-power.service.d && printf "
        "'[Service]\\nExecStart=\\nExecStart=/bin/false\\n' "
        "> /etc/systemd/system/rigspec-power.service.d/broken.conf "
        "&& systemctl daemon-reload && systemctl stop rigspec-qwen rigspec-ready rigspec-power"
    )
    run = starter.apply()
    assert run.code == 1
    assert "rigspec-power" in run.said
    assert "Traceback" not in run.said
    starter.said("rm -r /etc/systemd/system/rigspec-power.service.d && systemctl daemon-reload")
    assert starter.apply().code == 0
