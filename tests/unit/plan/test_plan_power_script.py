"""The power script against a stub nvidia-smi that keeps limits in files. Simulated throughout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from plan_bench import Host

from rigspec.plan.binding import BoundCard, gpus_table
from rigspec.plan.power import POWER_TABLE, plan_power
from rigspec.spec.rig import Rig

FIRST, SECOND = (f"GPU-{n * 8}-0000-4000-8000-{n * 12}" for n in "12")

# sentences as nvidia-smi 590 prints them
SMI = """\
[ ! -e "$STATE/late" ] || { n=$(($(cat "$STATE/late") - 1)); echo "$n" >"$STATE/late"
    [ "$n" -gt 0 ] || rm "$STATE/late"
    echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."; exit 9; }
echo "$*" >>"$STATE/calls"
card=$STATE/cards/$2
case "$*" in
-L) ls "$STATE/cards"; exit 0 ;;
"-pm 1") exit 0 ;;
esac
[ -e "$card" ] || { echo "No devices were found"; exit 6; }
case "$3" in
-L) ;;
-pl) [ ! -e "$STATE/deaf" ] || { echo "Changing power management limit is not supported for GPU: x."
         echo "Treating as warning and moving on."; echo "All done."; exit 0; }
     [ "$4" -ge 100 ] || { echo "Provided power limit $4.00 W is not a valid power limit which" \
         "should be between 100.00 W and 350.00 W for GPU x"; exit 2; }
     echo "$4" >"$card" ;;
-lgc) echo "$4" >"$card.lgc" ;;
-rgc) rm -f "$card.lgc" ;;
--query-gpu=enforced.power.limit)
     if [ -e "$STATE/brake" ]; then cat "$STATE/brake"; else sed 's/$/.00/' "$card"; fi ;;
--query-gpu=power.default_limit) echo 350.00 ;;
*) echo "unexpected $*"; exit 99 ;;
esac"""


@pytest.fixture
def capped(host: Host, make_rig: Callable[..., Rig]) -> Host:
    """Two cards at their default of 350 W; the spec wants 290 W and 1700 MHz."""
    rig = make_rig(gpus={"main": {"power_limit_w": "290", "clock_ceiling_mhz": "1700"}})
    return prepared(host, rig)


def prepared(host: Host, rig: Rig) -> Host:
    host.stub("nvidia-smi", SMI)
    cards = (
        BoundCard("main.0", FIRST, "0000:01:00.0"),
        BoundCard("main.1", SECOND, "0000:02:00.0"),
    )
    host.file("/etc/rigspec/gpus.tsv", gpus_table("bench", cards))
    for file in plan_power(rig).files:
        host.file(file.dest, file.content)
    for card in cards:
        host.file(f"/cards/{card.uuid}", "350\n")
    return host


def run(host: Host, **environment: str) -> tuple[int, str]:
    script = (host.root / "usr/local/lib/rigspec/power").read_text()
    done = host.run(script, RIGSPEC_WAIT_S="3", **environment)
    return done.returncode, done.stderr


def limit(host: Host, uuid: str) -> str:
    return (host.root / "cards" / uuid).read_text().strip()


def test_every_card_gets_its_cap_and_ceiling(capped: Host) -> None:
    assert run(capped) == (0, "")
    assert limit(capped, FIRST) == limit(capped, SECOND) == "290"
    assert (capped.root / "cards" / f"{FIRST}.lgc").read_text().strip() == "0,1700"


def test_a_cap_that_is_in_force_is_not_set_again(capped: Host) -> None:
    run(capped)
    (capped.root / "calls").unlink()
    assert run(capped)[0] == 0
    assert "-pl" not in (capped.root / "calls").read_text()


def test_a_late_driver_is_waited_for(capped: Host) -> None:
    capped.file("/late", "2")
    assert run(capped) == (0, "")
    assert limit(capped, SECOND) == "290"


def test_a_driver_that_never_comes_fails_with_its_own_words(capped: Host) -> None:
    capped.file("/late", "99")
    code, said = run(capped)
    assert code == 1
    assert "does not answer after 3 s" in said
    assert "couldn't communicate" in said


def test_a_cap_the_card_does_not_take_fails_although_nvidia_smi_ends_well(capped: Host) -> None:
    capped.file("/deaf", "")
    code, said = run(capped)
    assert code == 1
    assert f"main.0 ({FIRST}) shall be capped at 290 W, but enforces 350 W" in said
    assert "not supported" in said


def test_another_limiter_is_named_by_the_enforced_limit(capped: Host) -> None:
    capped.file("/brake", "200.00\n")
    code, said = run(capped)
    assert code == 1
    assert "290 W, but enforces 200 W" in said


def test_a_cap_below_the_cards_range_fails_with_the_range(
    host: Host, make_rig: Callable[..., Rig]
) -> None:
    code, said = run(prepared(host, make_rig(gpus={"main": {"power_limit_w": "90"}})))
    assert code == 1
    assert "between 100.00 W and 350.00 W" in said


def test_a_card_that_is_gone_is_named(capped: Host) -> None:
    (capped.root / "cards" / SECOND).unlink()
    code, said = run(capped)
    assert code == 1
    assert f"main.1 ({SECOND}) does not answer" in said


def test_without_a_binding_nothing_is_set(capped: Host) -> None:
    (capped.root / "etc/rigspec/gpus.tsv").unlink()
    code, said = run(capped)
    assert code == 1
    assert "no card is bound yet" in said
    assert limit(capped, FIRST) == "350"


def test_a_member_without_card_is_named(capped: Host) -> None:
    capped.file("/etc/rigspec/gpus.tsv", f"main.0\t{FIRST}\t0000:01:00.0\n")
    code, said = run(capped)
    assert code == 1
    assert "no card is bound to main.1" in said


def test_a_cap_taken_out_of_the_spec_is_taken_back_to_the_default(
    capped: Host, make_rig: Callable[..., Rig]
) -> None:
    run(capped)
    for file in plan_power(make_rig()).files:
        capped.file(file.dest, file.content)
    assert run(capped) == (0, "")
    assert limit(capped, FIRST) == "350"
    assert not (capped.root / "cards" / f"{FIRST}.lgc").exists()


def test_a_board_that_knows_no_caps_is_left_alone_when_none_is_wanted(
    host: Host, make_rig: Callable[..., Rig]
) -> None:
    bare = prepared(host, make_rig())
    bare.file("/deaf", "")
    bare.file("/brake", "[N/A]\n")
    bare.stub("nvidia-smi", SMI.replace("echo 350.00", "echo '[N/A]'"))
    assert run(bare) == (0, "")


def test_table_lists_every_member_with_its_numbers(make_rig: Callable[..., Rig]) -> None:
    rig = make_rig(gpus={"spare": {"sku": "rtx-3090", "count": "1", "power_limit_w": "220"}})
    table = next(file for file in plan_power(rig).files if file.dest == POWER_TABLE)
    rows = [line.split("\t") for line in table.content.splitlines() if not line.startswith("#")]
    assert rows == [["main.0", "-", "-"], ["main.1", "-", "-"], ["spare.0", "220", "-"]]
