"""What a service mounts must be on the host before the first change."""

from __future__ import annotations

from pathlib import Path

from rigspec.operations.preflight import missing_mounts
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import Plan
from rigspec.spec.load import load_text

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


def test_a_folder_that_is_not_there_is_named_with_its_service() -> None:
    plan = planned("{/srv/loras: /loras, /etc/a.jinja: /a.jinja}")
    (said,) = missing_mounts(plan, {"/etc/a.jinja"})
    assert "/srv/loras is not on this host" in said
    assert "`qwen`" in said


def test_what_a_disk_of_the_spec_may_bring_is_not_asked_for_yet() -> None:
    disk = (
        "    path: /srv/models\n",
        "    path: /srv/models\n    device: LABEL=weights\n    filesystem: ext4\n",
    )
    assert missing_mounts(planned("{/srv/models/loras: /loras}", disk), set()) == []
    assert missing_mounts(planned("{/srv/models/loras: /loras}"), set()) != []
