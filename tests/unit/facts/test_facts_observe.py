"""The look that verify takes: what is asked only where a plan needs it, and where answers go."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rigspec.facts.observe import Everything, of, probe_digest
from rigspec.observed.record import Unknown
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import Plan
from rigspec.rules.run import check_file


@pytest.fixture(scope="module")
def home() -> Plan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig)


def bridged(plan: Plan) -> Plan:
    first, *rest = plan.preflight.gpus
    gpus = (replace(first, nvlink_peer="main.1"), *rest)
    return replace(plan, preflight=replace(plan.preflight, gpus=gpus))


def mounting(plan: Plan) -> Plan:
    first, *rest = plan.services
    return replace(plan, services=(replace(first, mounts=("/srv/loras",)), *rest))


def test_bridges_and_mounts_are_asked_for_where_there_are_any(home: Plan) -> None:
    text = str(Everything().command(of(home)))
    assert "nvidia-smi topo -m" not in text
    assert "nvidia-smi topo -m" in str(Everything().command(of(bridged(home))))
    assert "/srv/loras" not in text
    assert "/srv/loras" in str(Everything().command(of(mounting(home))))
    assert len({probe_digest(plan) for plan in (home, bridged(home), mounting(home))}) == 3


def test_answers_arrive_where_the_rows_look_for_them(home: Plan) -> None:
    fact = Everything()
    fact.command(of(mounting(bridged(home))))
    seen = fact.parse(
        {
            "models": ["there glm", "lacks glm a.gguf is missing"],
            "topology": ["\tGPU0\tGPU1", "GPU0\t X \tNV4", "GPU1\tNV4\t X "],
            "mounted": ["empty /srv/loras"],
        }
    )
    assert seen.weights_lack == {"glm": ("a.gguf is missing",)}
    assert not isinstance(seen.topology, Unknown)
    assert seen.topology.between(0, 1) == "NV4"
    assert seen.upkeep.mounted == {"/srv/loras": "empty"}
