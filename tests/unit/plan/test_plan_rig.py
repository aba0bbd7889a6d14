from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.repositories import CUDA_KEY_DEBIAN_13
from rigspec.errors import RigspecError
from rigspec.plan.rig import all_files, digest, plan_rig, planned_paths, to_json
from rigspec.plan.stages import plan_stages
from rigspec.spec.rig import Rig

MakeRig = Callable[..., Rig]
ROOT = Path(__file__).resolve().parents[3]
VERB = "from rigspec.cli import main; main()"


def printed_digest(seed: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", VERB, "plan", "rigs/home.yaml", "--json"],
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return str(json.loads(done.stdout)["digest"])


def test_two_processes_plan_the_same() -> None:
    assert printed_digest("1") == printed_digest("4711")


def test_way_to_the_host_is_not_part_of_the_plan(make_rig: MakeRig) -> None:
    here, there = make_rig(), make_rig(host={"address": "192.0.2.1", "user": "rig", "sudo": "true"})
    assert digest(plan_rig(here)) == digest(plan_rig(there))


@pytest.mark.parametrize(
    "change",
    [
        {"gpus": {"main": {"power_limit_w": "290"}}},
        {"kernel": {"iommu": "off"}},
        {"services": {"chat": {"max_sequences": "3"}}},
        {"verify": {"prompt": "Ready?"}},
        {"driver": {"branch": "580"}},
    ],
)
def test_any_wish_changes_the_digest(make_rig: MakeRig, change: dict[str, Any]) -> None:
    assert digest(plan_rig(make_rig())) != digest(plan_rig(make_rig(**change)))


def test_json_holds_every_file_and_its_digest(make_rig: MakeRig) -> None:
    plan = plan_rig(make_rig(pcie={"acs": "off_on_gpu_paths"}))
    data = json.loads(to_json(plan))
    assert data["digest"] == digest(plan)
    assert data["paths"] == [file.dest for file in all_files(plan)]
    assert data["power"]["units"] == ["rigspec-power.service"]


def test_paths_of_an_older_plan_are_read_back(make_rig: MakeRig) -> None:
    plan = plan_rig(make_rig())
    assert planned_paths(to_json(plan)) == tuple(file.dest for file in all_files(plan))
    for other in ("", "{", "[]", "{}", '{"paths": 3}'):
        assert planned_paths(other) == ()


def test_every_file_is_absolute_ours_and_says_who_wrote_it(make_rig: MakeRig) -> None:
    model = {"hub": "acme/tiny", "revision": "f" * 40, "storage": "weights"}
    rig = make_rig(
        pcie={"acs": "off_on_gpu_paths"},
        storage={"weights": {"device": "LABEL=w"}},
        models={"one": model, "two": {**model, "revision": "e" * 40}},
    )
    files = all_files(plan_rig(rig))
    assert len({file.dest for file in files}) == len(files)
    for file in files:
        assert file.dest.startswith("/")
        assert "rigspec" in file.dest or file.dest.endswith(".mount")
        first, second = [x for x in file.content.splitlines() if not x.startswith("#!")][:2]
        assert first.startswith("# Written by rigspec for the rig bench, from ")
        assert "overwritten" in second
        assert file.content.endswith("\n")
        assert file.mode == ("755" if file.content.startswith("#!") else "644")


def test_hub_token_never_enters_the_plan(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HUB_TOKEN", "hf_verysecret")
    model = {"hub": "acme/tiny", "revision": "f" * 40, "storage": "weights"}
    plan = plan_rig(make_rig(models={"gated": {**model, "token_env": "HUB_TOKEN"}}))
    assert "hf_verysecret" not in to_json(plan)
    gated = next(m for m in plan.models if m.name == "gated")
    assert gated.secret_path == "/etc/rigspec/secrets/hub-gated"
    assert gated.fetch_argv[-2:] == ("--header", gated.secret_path)


def test_driver_is_asked_for_by_version_pinned_and_held(make_rig: MakeRig) -> None:
    plan = plan_rig(make_rig(driver={"version": "595.71.05"})).driver
    assert {package.version for package in plan.packages} == {"595.71.05-*"}
    assert set(plan.hold) == {package.name for package in plan.packages}
    assert "Pin: version 595.71.05-*" in plan.files[0].content
    loose = plan_rig(make_rig(driver={"hold": "false"})).driver
    assert {package.version for package in loose.packages} == {"595.*"}
    assert loose.hold == ()


@pytest.mark.parametrize(
    ("sku", "flavour"),
    # NVIDIA's guide: Blackwell only with open modules, Volta and older only without
    [("rtx-pro-6000-blackwell-workstation-edition", "open"), ("v100-pcie-32gb", "proprietary")],
)
def test_auto_flavour_is_what_the_cards_need(make_rig: MakeRig, sku: str, flavour: str) -> None:
    plan = plan_rig(make_rig(gpus={"main": {"sku": sku}}, driver={"branch": "580"}))
    assert plan.driver.flavour == flavour


def test_mirror_replaces_url_and_key_and_is_flat(make_rig: MakeRig) -> None:
    mirror = {
        "url": "http://192.0.2.1:3142/nvidia",
        "key_url": "http://192.0.2.1:3142/key.asc",
        "key_fingerprint": "ab" * 20,
    }
    plan = plan_rig(make_rig(driver={"repository": mirror})).driver
    assert plan.repository is not None
    assert "URIs: http://192.0.2.1:3142/nvidia/\nSuites: /\n" in plan.repository.sources.content
    assert plan.repository.key_fingerprint == "AB" * 20
    vendors = plan_rig(make_rig()).driver.repository
    assert vendors is not None
    assert vendors.key_fingerprint == CUDA_KEY_DEBIAN_13


def test_docker_is_told_about_cdi_where_it_does_not_know_by_itself(make_rig: MakeRig) -> None:
    trixie = plan_rig(make_rig()).containers  # Docker 26
    assert trixie.daemon_settings == {"features": {"cdi": True}}
    assert "docker-cli" in {package.name for package in trixie.packages}
    bookworm = plan_rig(make_rig(host={"os": "debian-12"})).containers  # Docker's own, 28 and up
    assert bookworm.daemon_settings == {}
    assert "docker.io" in bookworm.must_be_absent
    assert [repository.name for repository in bookworm.repositories] == ["docker", "toolkit"]
    assert "Components: stable" in bookworm.repositories[0].sources.content


def test_engine_that_cannot_do_cdi_is_refused(make_rig: MakeRig) -> None:
    rig = make_rig(host={"os": "ubuntu-22.04"}, containers={"engine": "podman"})
    with pytest.raises(RigspecError, match=r"podman of ubuntu-22\.04"):
        plan_rig(rig)


def test_stages_stand_in_the_order_they_run(make_rig: MakeRig) -> None:
    names = [stage.name for stage in plan_stages(plan_rig(make_rig()))]
    assert names == [
        *("preflight", "kernel", "driver", "reboot", "power", "containers"),
        *("storage", "model", "service", "verify"),
    ]
    with_acs = plan_stages(plan_rig(make_rig(pcie={"acs": "off_on_gpu_paths"})))
    assert with_acs[4].name == "pcie"


def test_only_kernel_and_driver_reboot_and_a_cap_restarts_no_server(make_rig: MakeRig) -> None:
    stages = {stage.name: stage for stage in plan_stages(plan_rig(make_rig()))}
    assert {name for name, stage in stages.items() if stage.reboots} == {
        *("kernel", "driver", "reboot")
    }
    assert "no server" in stages["power"].restarts
