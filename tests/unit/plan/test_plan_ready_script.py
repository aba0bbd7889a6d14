"""The gate before the servers, against stub nvidia-smi and nvidia-ctk. Simulated throughout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from plan_bench import Host

from rigspec.plan.binding import BoundCard, gpus_table
from rigspec.plan.ready import ready_files
from rigspec.spec.rig import Rig

FIRST, SECOND = (f"GPU-{n * 8}-0000-4000-8000-{n * 12}" for n in "12")
SMI = 'cat "$STATE/answering"'
CTK = """\
case "$*" in
"cdi list") cat "$STATE/listed" ;;
"cdi generate --output="*) [ ! -e "$STATE/broken" ] || { echo "failed to create nvml" >&2; exit 1; }
    echo made >"${3#--output=}"
    sed 's|.*UUID: \\(.*\\))|nvidia.com/gpu=\\1|' "$STATE/answering" >"$STATE/listed" ;;
*) exit 99 ;;
esac"""


@pytest.fixture
def ready(host: Host, make_rig: Callable[..., Rig]) -> Host:
    """Two cards that answer and are offered to containers."""
    script, _unit = ready_files(make_rig())
    host.file(script.dest, script.content)
    host.stub("nvidia-smi", SMI)
    host.stub("nvidia-ctk", CTK)
    cards = (
        BoundCard("main.0", FIRST, "0000:01:00.0"),
        BoundCard("main.1", SECOND, "0000:02:00.0"),
    )
    host.file("/etc/rigspec/gpus.tsv", gpus_table("bench", cards))
    host.file("/answering", f"GPU 0: X (UUID: {FIRST})\nGPU 1: X (UUID: {SECOND})\n")
    host.file("/listed", f"nvidia.com/gpu={FIRST}\nnvidia.com/gpu={SECOND}\n")
    return host


def run(host: Host) -> tuple[int, str]:
    done = host.run((host.root / "usr/local/lib/rigspec/ready").read_text())
    return done.returncode, done.stderr


GENERATED = "var/run/cdi/nvidia.yaml"


def test_cards_that_are_offered_pass_without_writing(ready: Host) -> None:
    assert run(ready)[0] == 0
    assert not (ready.root / GENERATED).exists()


def test_a_missing_description_is_made(ready: Host) -> None:
    ready.file("/listed", "")
    assert run(ready)[0] == 0
    assert (ready.root / GENERATED).exists()


def test_a_card_that_does_not_answer_is_named_with_its_slot(ready: Host) -> None:
    ready.file("/answering", f"GPU 0: X (UUID: {FIRST})\n")
    code, said = run(ready)
    assert code == 1
    assert f"main.1 ({SECOND}, last seen at 0000:02:00.0) does not answer" in said


def test_a_card_that_cannot_be_described_fails(ready: Host) -> None:
    ready.file("/listed", f"nvidia.com/gpu={FIRST}\n")
    ready.file("/broken", "")
    code, said = run(ready)
    assert code == 1
    assert "failed to create nvml" in said


def test_a_card_that_stays_unlisted_fails_by_uuid(ready: Host) -> None:
    ready.file("/listed", f"nvidia.com/gpu={FIRST}\n")
    ready.stub("nvidia-ctk", '[ "$2" != list ] || cat "$STATE/listed"')
    code, said = run(ready)
    assert code == 1
    assert SECOND in said
    assert FIRST not in said


def test_a_hand_made_description_is_complained_about_and_kept(ready: Host) -> None:
    ready.file("/etc/cdi/nvidia.yaml", "old")
    code, said = run(ready)
    assert code == 0
    assert "/etc/cdi/nvidia.yaml" in said
    assert (ready.root / "etc/cdi/nvidia.yaml").read_text() == "old"


def test_without_a_binding_nothing_passes(ready: Host) -> None:
    (ready.root / "etc/rigspec/gpus.tsv").unlink()
    code, said = run(ready)
    assert code == 1
    assert "no card is bound yet" in said


@pytest.mark.parametrize("acs", ["keep", "off_on_gpu_paths"])
def test_gate_requires_the_units_there_are(make_rig: Callable[..., Rig], acs: str) -> None:
    unit = ready_files(make_rig(pcie={"acs": acs}))[1].content
    assert ("Requires=rigspec-acs.service rigspec-power.service" in unit) == (acs != "keep")
    assert "rigspec-power.service" in unit
