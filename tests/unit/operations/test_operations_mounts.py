"""What a service mounts must be on the host before the first change."""

from __future__ import annotations

from pathlib import Path

from fakehost import FakeHost, run

from rigspec.facts.managed import AptState
from rigspec.facts.observe import Preflight, of
from rigspec.observed.upkeep import Upkeep
from rigspec.operations.preflight import host_as_declared
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import Plan
from rigspec.spec.load import load_text
from rigspec.verify.observation import Observation

ROOT = Path(__file__).resolve().parents[3]


def planned(mounts: str, *changes: tuple[str, str]) -> Plan:
    text = (ROOT / "rigs" / "starter.yaml").read_text()
    text = text.replace("    max_sequences: 8\n", f"    max_sequences: 8\n    mounts: {mounts}\n")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    rig = load_text("rig.yaml", text).rig
    assert rig is not None
    return plan_rig(rig)


def deployed(plan: Plan, mounted: dict[str, str]) -> list[str]:
    seen = Observation(upkeep=Upkeep(mounted=mounted))
    return run(
        host_as_declared,
        FakeHost({Preflight: (seen, AptState({}, False, {}, ()), {})}),
        plan=plan,
    )


def test_a_folder_that_is_not_there_is_named_with_its_service() -> None:
    plan = planned("{/srv/loras: /loras, /etc/a.jinja: /a.jinja}")
    (refusal,) = deployed(plan, {"/srv/loras": "absent", "/etc/a.jinja": "there"})
    assert "absent: /srv/loras" in refusal
    assert "qwen: mounted files" in refusal
    assert refusal.endswith("nothing has been changed on this host")


def test_preflight_asks_for_mounts_and_hashes_none() -> None:
    plan = planned("{/srv/loras: /loras}")
    (asked,) = (
        part for part in str(Preflight().command(of(plan))).split("##RIG ") if "/srv/loras" in part
    )
    assert asked.startswith("mounted")


def test_a_folder_that_stands_for_a_file_is_refused_and_one_to_be_filled_is_not() -> None:
    plan = planned("{/srv/loras: /loras, /etc/a.jinja: /a.jinja}")
    (refusal,) = deployed(plan, {"/srv/loras": "there", "/etc/a.jinja": "empty"})
    assert "an empty folder: /etc/a.jinja" in refusal
    assert "rmdir /etc/a.jinja" in refusal
    (install,) = deployed(plan, {"/srv/loras": "empty", "/etc/a.jinja": "there"})
    assert "nothing has been changed" not in install


def test_what_a_disk_of_the_spec_may_bring_is_not_asked_for_yet() -> None:
    disk = (
        "    path: /srv/models\n",
        "    path: /srv/models\n    device: LABEL=weights\n    filesystem: ext4\n",
    )
    later, now = (planned("{/srv/models/loras: /loras}", *on) for on in ((disk,), ()))
    assert [service.mounts for service in later.services] == [()]
    assert [service.mounts for service in now.services] == [("/srv/models/loras",)]
    assert "##RIG mounted" not in str(Preflight().command(of(later)))
