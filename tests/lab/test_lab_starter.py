"""`rigs/starter.yaml`: weights from a hub, and what the owner reads when something is wrong."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from unittest.mock import ANY

import pytest
from player import Player
from said import red_rows

from rigspec.finding import Severity
from rigspec.lab.topology import Link, MachineTree, with_trained_link, without_gpu
from rigspec.plan.rig import digest, plan_rig
from rigspec.rules.run import check
from rigspec.spec.load import load_text

pytestmark = pytest.mark.lab

METRICS = "/var/lib/rigspec/metrics/rigspec.prom"
WEIGHTS = "/srv/models/Qwen--Qwen3.6-27B-FP8@e89b16ebf198"
SHARD = "model-00001-of-00001.safetensors"
POWER_DROP_IN = "/etc/systemd/system/rigspec-power.service.d"


def boot_with(player: Player, tree: MachineTree) -> None:
    """The same disks in a machine with this PCIe tree."""
    assert player.machine.down()
    player.machine.tree = tree
    player.up()


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


def test_a_changed_cap_touches_only_the_power_unit(starter: Player) -> None:
    container = starter.said("docker ps -q --no-trunc")
    starter.edit("power_limit_w: 290 ", "power_limit_w: 280 ")
    run = starter.apply()
    assert run.code == 0
    assert all("Power" in name or "Service" in name for name in run.changed), run.changed
    assert starter.said("docker ps -q --no-trunc") == container
    caps = starter.said("nvidia-smi --query-gpu=enforced.power.limit --format=csv,noheader,nounits")
    assert caps.split() == ["280.00"] * 2


def test_a_draft_of_the_converged_rig_is_planned_alike(starter: Player) -> None:
    place = starter.rehearsal.rehearsed().host
    way = [f"root@{place.address}:{place.port}", "--key", str(place.ssh_key)]
    argv = [sys.executable, "-c", "from rigspec.cli import main; main()", "discover", *way]
    done = subprocess.run(
        [*argv, "--known-hosts", str(place.known_hosts)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    loaded = load_text("draft.yaml", done.stdout)
    assert loaded.findings == ()
    assert loaded.rig is not None
    # equal plans: applying the draft changes nothing
    assert digest(plan_rig(loaded.rig)) == starter.plan_digest()
    assert not [f for f in check(loaded.rig) if f.severity is Severity.ERROR]


def rigspec_lab(player: Player, verb: str) -> tuple[int, str]:
    """Exit code of `rigspec lab VERB SPEC`, and what it printed on stdout."""
    argv = [sys.executable, "-c", "from rigspec.cli import main; main()", "lab", verb]
    done = subprocess.run(
        [*argv, str(player.spec)], cwd=player.spec.parent, capture_output=True, text=True
    )
    print(done.stderr)
    return done.returncode, done.stdout


def test_a_changed_serve_flag_and_a_daily_look_touch_nothing_else(starter: Player) -> None:
    units = "systemctl show -p ActiveEnterTimestamp rigspec-power docker rigspec-ready"
    container, others = starter.said("docker ps -q --no-trunc"), starter.said(units)
    starter.edit("max_sequences: 8", "max_sequences: 6")
    starter.edit("rigspec: 1\n", "rigspec: 1\nverify: {daily: true}\n")
    run = starter.apply()
    assert run.code == 0
    assert all(name.startswith(("Service", "Daily")) for name in run.changed), run.changed
    assert starter.said("docker ps -q --no-trunc") != container
    assert starter.said(units) == others
    arguments = json.loads(starter.said("docker inspect -f '{{json .Args}}' rigspec-qwen"))
    assert arguments[arguments.index("--max-num-seqs") + 1] == "6"


def test_an_accepted_rig_says_what_was_changed_by_hand(starter: Player) -> None:
    assert rigspec_lab(starter, "accept")[0] == 0
    starter.said("grep -q rigspec-proof /etc/rigspec/proof.json")
    assert rigspec_lab(starter, "drift") == (0, ANY)
    starter.said("systemctl start rigspec-drift.service")  # what the timer starts once a day
    starter.said(f"grep -x 'rigspec_drift_exit_code{{rig=\"test-starter\"}} 0' {METRICS}")

    starter.said("nvidia-smi -i 0 -pl 250; echo '# by hand' >> /etc/rigspec/power.tsv")
    code, said = rigspec_lab(starter, "drift")
    assert code == 1
    kinds = set(re.findall(r"\[([a-z-]+): ", said))
    assert kinds == {"power-writer", "edited-file"}, said
    assert starter.machine.ssh("systemctl start rigspec-drift.service")[0] != 0
    starter.said(f"grep -x 'rigspec_drift_exit_code{{rig=\"test-starter\"}} 1' {METRICS}")


def test_a_broken_package_source_is_named(starter: Player) -> None:
    starter.said(
        "dpkg --purge --force-depends jq && rm -r /var/lib/apt/lists/* && printf "
        "'Types: deb\\nURIs: http://127.0.0.1:9/none\\nSuites: ./\\nTrusted: yes\\n' "
        "> /etc/apt/sources.list.d/broken.sources"
    )
    run = starter.apply()
    assert run.code == 1
    assert "127.0.0.1:9" in run.said
    assert "Traceback" not in run.said
    assert run.changed == ()
    starter.said("rm /etc/apt/sources.list.d/broken.sources")


def test_the_next_run_goes_on_until_a_unit_fails_and_names_it(starter: Player) -> None:
    starter.said(
        f"mkdir -p {POWER_DROP_IN} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' "
        f"> {POWER_DROP_IN}/broken.conf "
        "&& systemctl daemon-reload && systemctl stop rigspec-qwen rigspec-ready rigspec-power"
    )
    run = starter.apply()
    assert run.code == 1
    assert "rigspec-power" in run.said
    assert "Traceback" not in run.said
    starter.said("jq --version")  # the source answers again
    starter.said(f"rm -r {POWER_DROP_IN} && systemctl daemon-reload")


def test_a_byte_that_flips_on_the_disk_is_found_by_reading_the_weights_again(
    starter: Player,
) -> None:
    fetch = next(model.fetch_argv for model in plan_rig(starter.rehearsal.rehearsed()).models)
    command, shard = shlex.join(fetch), f"{WEIGHTS}/{SHARD}"
    starter.said(f"cp {shard} /root/ && printf X | dd of={shard} conv=notrunc status=none")
    starter.said(f"{command} --check")  # its size is right
    assert "damaged: 1 of " in starter.said(f"{command} --rehash")
    code, said = starter.machine.ssh(f"{command} --check")
    assert code == 3
    assert f"{SHARD} is damaged" in said


def test_a_full_disk_is_said_before_anything_is_fetched(starter: Player) -> None:
    starter.said(
        f"mv {WEIGHTS}/config.json /root/; "
        "free=$(df --output=avail -B1M / | tail -n1); fallocate -l $((free - 60))M /filler && sync"
    )
    run = starter.apply()
    assert run.code == 1
    assert "free" in run.said
    assert "Traceback" not in run.said
    assert run.changed == ()
    starter.said(f"test ! -e {WEIGHTS}/config.json")
    starter.said("rm /filler && sync")


def test_one_run_after_all_repairs_ends_as_accepted(starter: Player) -> None:
    assert starter.apply().code == 0
    for file in ("config.json", SHARD):  # moved away, damaged: each fetched again
        starter.said(f"cmp {WEIGHTS}/{file} /root/{file}")
    assert rigspec_lab(starter, "drift") == (0, ANY)


def test_a_refused_key_and_a_refused_sudo_are_told_apart(starter: Player) -> None:
    starter.said("mv /root/.ssh/authorized_keys /root/.ssh/away")
    run = starter.apply("verify.py")
    assert run.code == 1
    assert "key" in run.said
    assert "Traceback" not in run.said
    starter.edit("user: root", "user: rig\n  sudo: true")
    starter.machine.ssh("sudo mv /root/.ssh/away /root/.ssh/authorized_keys", user="rig")
    starter.said("mv /etc/sudoers.d/rig /root/sudoers-rig")
    run = starter.apply("verify.py")
    assert run.code == 1
    assert "sudo" in run.said
    assert "Traceback" not in run.said
    starter.said("mv /root/sudoers-rig /etc/sudoers.d/rig")


def test_a_missing_card_and_a_narrow_link_stop_the_run_before_any_change(starter: Player) -> None:
    healthy = starter.machine.tree
    boot_with(starter, with_trained_link(without_gpu(healthy, 1), 0, Link(4, 4)))
    run = starter.apply()  # with sudo from here on
    assert run.code == 1
    assert "RTX 3090" in run.said
    assert "x4" in run.said
    assert "x8" in run.said
    assert run.changed == ()
    rows = red_rows(starter.apply("verify.py").said)
    assert any(row.startswith("gpus.present") for row in rows)
    assert any(row.startswith("pcie.width") for row in rows)
    boot_with(starter, healthy)
    starter.wait_until_served(8000)
    run = starter.apply()
    assert run.code == 0
    assert run.changed == ()


def test_a_reinstalled_os_is_converged_with_sudo_to_the_same_plan(starter: Player) -> None:
    plan, revision = "cat /etc/rigspec/plan.json", f"cat {WEIGHTS}/.rigspec-manifest"
    planned, fetched = json.loads(starter.said(plan))["digest"], starter.said(revision)
    starter.machine.reinstall()
    assert starter.machine.ssh("test -e /etc/rigspec")[0] != 0  # a blank OS again
    run = starter.apply()  # no weights disk here: they are fetched again, the same revision
    assert run.code == 0
    assert "Traceback" not in run.said
    assert json.loads(starter.said(plan))["digest"] == planned == starter.plan_digest()
    assert starter.said(revision) == fetched
