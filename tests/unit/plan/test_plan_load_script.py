"""The load script against stubs: refusals, services stopped and started, samples, the heat stop."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from plan_bench import Host

from rigspec.observed.fabric_run import FAILED, parse_fabric
from rigspec.observed.load import LinkErrors, LoadReading, parse_load
from rigspec.observed.pairs import FabricReading
from rigspec.observed.record import Unknown
from rigspec.plan.binding import BoundCard, gpus_environment
from rigspec.plan.fabric import BENCH, LOAD
from rigspec.plan.rig import all_files, plan_rig
from rigspec.spec.rig import Rig

FIRST, SECOND = (f"GPU-{n * 8}-0000-4000-8000-{n * 12}" for n in "12")

SMI = """\
echo "$*" >>"$STATE/smi-calls"
case "$*" in
*query-compute-apps*) cat "$STATE/apps" 2>/dev/null; exit 0 ;;
*-d\\ TEMPERATURE*)
    echo "    GPU Slowdown Temp : $(cat "$STATE/slowdown" 2>/dev/null || echo 95) C" ;;
*-q\\ -i*) echo "    Replays Since Reset : $(cat "$STATE/replays")" ;;
*gpu=clocks_event_reasons.active*)
    [ ! -e "$STATE/old-driver" ] || { echo "is not a valid field"; exit 2; } ;;
*gpu=uuid,temperature*)
    n=$(cat "$STATE/sample" 2>/dev/null || echo 0); echo $((n + 1)) >"$STATE/sample"
    for uuid in %(first)s %(second)s; do
        echo "$uuid, $((60 + n)), $((200 + n)).50, 1800, $((n > 0 ? 4 : 1)), 16, 0x0000000000000004"
    done ;;
esac
exit 0""" % {"first": FIRST, "second": SECOND}  # noqa: UP031 - shell text is full of braces

SYSTEMCTL = """\
echo "$*" >>"$STATE/systemctl-calls"
case "$*" in
"-q is-active "*) [ -e "$STATE/active/$3" ] ;;
"stop "*) rm -f "$STATE/active/$2" ;;
"start "*) mkdir -p "$STATE/active"; : >"$STATE/active/$3" ;;
esac"""

DOCKER = """\
echo "$*" >>"$STATE/docker-calls"
case "$1" in
rm) [ ! -e "$STATE/pid" ] || kill "$(cat "$STATE/pid")"; exit 0 ;;
esac
echo $$ >"$STATE/pid"
. "$STATE/benchmark"
rm -f "$STATE/pid"
"""

PAIR = (
    '{"event": "begin", "device": "cuda", "torch": "2.9", "cards": []}\n'
    f'{{"event": "pair", "source": "{FIRST}", "target": "{SECOND}", "granted": true, '
    '"moved": true, "values_ok": true, "one_way_gb_s": 26.1, "ended": "measured"}\n'
)
AER = "0000:03:00.0/aer_dev_"


@pytest.fixture
def rig_host(host: Host, make_rig: Callable[..., Rig]) -> Host:
    for name, text in (("nvidia-smi", SMI), ("systemctl", SYSTEMCTL), ("docker", DOCKER)):
        host.stub(name, text)
    cards = (BoundCard("main.0", FIRST, "a"), BoundCard("main.1", SECOND, "b"))
    host.file("/etc/rigspec/gpus.env", gpus_environment("bench", cards))
    host.file("/replays", "3\n")
    host.file("/benchmark", f"cat <<'END'\n{PAIR}END\nsleep 0.4")
    for kind, name in (("correctable", "COR"), ("nonfatal", "NONFATAL"), ("fatal", "FATAL")):
        host.file(f"/sys/bus/pci/devices/{AER}{kind}", f"RxErr 7\nTOTAL_ERR_{name} 7\n")
    for file in all_files(plan_rig(make_rig())):
        if file.dest in (LOAD, BENCH):
            host.file(file.dest, file.content)
    return host


def load(host: Host, *words: str) -> subprocess.CompletedProcess[str]:
    script = (host.root / LOAD.lstrip("/")).read_text()
    return host.run(script, *words, RIGSPEC_SAMPLE_S="0.1")


def written(host: Host, kind: str = "fabric") -> list[str]:
    return (host.root / f"var/lib/rigspec/{kind}.jsonl").read_text().splitlines()


def calls(host: Host, name: str) -> str:
    file = host.root / f"{name}-calls"
    return file.read_text() if file.exists() else ""


def reading(host: Host, kind: str = "fabric") -> LoadReading:
    found = parse_load(written(host, kind))
    assert isinstance(found, LoadReading)
    return found


def test_a_run_leaves_pairs_samples_and_counters(rig_host: Host) -> None:
    rig_host.file(
        "/benchmark",
        f"cat <<'END'\n{PAIR}END\n"
        f'echo "TOTAL_ERR_COR 9" >"$STATE/sys/bus/pci/devices/{AER}correctable"\n'
        'echo 5 >"$STATE/replays"\nsleep 0.6',
    )
    done = load(rig_host, "fabric")
    assert done.returncode == 0, done.stderr
    found = reading(rig_host)
    assert (found.kind, found.ended, found.words, found.limit_c) == ("fabric", "done", "", 90)
    assert found.link_errors == (LinkErrors("0000:03:00.0", 2, 0, 0),)
    assert [card.member for card in found.cards] == ["main.0", "main.1"]
    card = found.cards[0]
    assert card.replays == 2 and card.held_down_by == ()
    assert not isinstance(card.temperature_c, Unknown) and card.temperature_c.least == 60
    assert not isinstance(card.link_gen, Unknown)
    assert (card.link_gen.least, card.link_gen.greatest) == (1, 4)
    fabric = parse_fabric(written(rig_host))
    assert isinstance(fabric, FabricReading)
    assert fabric.pairs[0].one_way_gb_s == 26.1
    assert len((rig_host.root / "var/lib/rigspec/fabric-samples.csv").read_text().split("\n")) > 4
    assert list((rig_host.root / "run/rigspec").iterdir()) == []


def test_the_container_gets_no_network_and_no_rights(rig_host: Host) -> None:
    assert load(rig_host, "fabric").returncode == 0
    runs = [line for line in calls(rig_host, "docker").splitlines() if line.startswith("run ")]
    # pairs; all-reduce (the driver refuses peers to this card, so through the host); work
    assert len(runs) == 3
    for line in runs:
        for words in ("--network none", "--read-only", "--cap-drop ALL", "no-new-privileges"):
            assert words in line
        assert f"--device nvidia.com/gpu={FIRST}" in line
        assert f"--uuids {FIRST},{SECOND}" in line
        assert "--privileged" not in line
    assert "--pairs" in runs[0] and "--env-file" not in runs[0]
    assert "--env-file /etc/rigspec/services/chat.env" in runs[1]
    assert "--all-reduce chat=0,1 --without-peer" in runs[1]


def test_it_refuses_while_a_service_runs_and_touches_nothing(rig_host: Host) -> None:
    rig_host.file("/active/rigspec-chat.service", "")
    done = load(rig_host, "fabric")
    assert done.returncode == 3
    assert "rigspec-chat.service runs on these cards" in done.stderr
    assert "--stop-services" in done.stderr
    assert "run " not in calls(rig_host, "docker")
    assert "stop " not in calls(rig_host, "systemctl")


def test_services_are_stopped_on_request_and_started_again(rig_host: Host) -> None:
    rig_host.file("/active/rigspec-chat.service", "")
    assert load(rig_host, "fabric", "--stop-services").returncode == 0
    said = calls(rig_host, "systemctl").splitlines()
    assert said[1:] == ["stop rigspec-chat.service", "start --no-block rigspec-chat.service"]


def test_services_come_back_when_other_programs_hold_the_cards(rig_host: Host) -> None:
    rig_host.file("/active/rigspec-chat.service", "")
    rig_host.file("/apps", "4711, python3\n")
    done = load(rig_host, "fabric", "--stop-services")
    assert done.returncode == 3
    assert "other programs use the cards: 4711, python3" in done.stderr
    assert (rig_host.root / "active/rigspec-chat.service").exists()


def test_a_hot_card_ends_the_load(rig_host: Host) -> None:
    rig_host.file("/slowdown", "66")  # minus five: 61
    rig_host.file("/benchmark", "sleep 60 & wait")
    begun = time.monotonic()
    done = load(rig_host, "burn", "5")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - begun < 30
    found = reading(rig_host, "burn")
    assert (found.ended, found.minutes, found.limit_c) == ("temperature", 5, 61)
    assert found.words == "a card reached 61 degrees, the limit is 61"
    assert "rm -f rigspec-load" in calls(rig_host, "docker")
    assert "--burn-s 300" in calls(rig_host, "docker")


def test_a_slowdown_temperature_as_offset_is_no_limit(rig_host: Host) -> None:
    rig_host.file("/slowdown", "-2")
    assert load(rig_host, "fabric").returncode == 0
    assert reading(rig_host).limit_c == 90


def test_an_image_without_torch_is_a_reason_not_a_crash(rig_host: Host) -> None:
    rig_host.file(
        "/benchmark", 'echo \'{"event":"error","error":"this image has no torch: x"}\'; exit 3'
    )
    assert load(rig_host, "fabric").returncode == 0
    assert parse_fabric(written(rig_host)) == Unknown(FAILED, "this image has no torch: x")
    assert reading(rig_host).ended == "error"


def test_words_with_quotes_and_escapes_stay_json(rig_host: Host) -> None:
    rig_host.file("/benchmark", "printf 'no \"such\" \\\\ \\033[1mimage\\n' >&2; exit 125")
    assert load(rig_host, "fabric").returncode == 0
    found = reading(rig_host)
    assert found.ended == "error"
    assert "run_work ended with status 125: no  such" in found.words


def test_an_older_driver_is_asked_by_the_older_name(rig_host: Host) -> None:
    rig_host.file("/old-driver", "")
    assert load(rig_host, "fabric").returncode == 0
    assert "link.width.current,clocks_throttle_reasons.active" in calls(rig_host, "smi")


def test_nvbandwidth_is_asked_where_it_is_installed(rig_host: Host) -> None:
    name = "device_to_device_memcpy_write_ce"
    rig_host.stub(
        "nvbandwidth",
        'echo "$CUDA_VISIBLE_DEVICES $*" >"$STATE/asked"\n'
        f"cat <<'END'\nRunning {name}.\nmemcpy CE GPU(row) <- GPU(column) bandwidth (GB/s)\n"
        f"           0         1\n 0       N/A     27.10\n 1     27.20       N/A\n\n"
        f"SUM {name} 54.30\nEND",
    )
    assert load(rig_host, "fabric").returncode == 0
    assert (rig_host.root / "asked").read_text().startswith(f"{FIRST},{SECOND} -t {name}")
    text = (rig_host.root / "var/lib/rigspec/nvbandwidth.txt").read_text()
    found = parse_fabric(written(rig_host), text.splitlines())
    assert isinstance(found, FabricReading)
    forth, back = found.pair(FIRST, SECOND), found.pair(SECOND, FIRST)
    assert forth and forth.one_way_gb_s == 27.1 and forth.values_ok is True
    assert back and back.one_way_gb_s == 27.2
    assert found.tool == "nvbandwidth, values by torch"


def test_an_interrupted_run_ends_its_container_and_starts_the_services(rig_host: Host) -> None:
    rig_host.file("/active/rigspec-chat.service", "")
    rig_host.file("/benchmark", "sleep 60 & wait")
    script = rig_host.file("/script", (rig_host.root / LOAD.lstrip("/")).read_text(), 0o755)
    environment = {
        "PATH": f"{rig_host.root}/stubs:/usr/sbin:/usr/bin:/sbin:/bin",
        "RIGSPEC_ROOT": str(rig_host.root),
        "STATE": str(rig_host.root),
        "RIGSPEC_SAMPLE_S": "0.1",
    }
    words = ["/bin/sh", str(script), "burn", "5", "--stop-services"]
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE) as run:
        until = time.monotonic() + 20
        while not (rig_host.root / "sample").exists() and time.monotonic() < until:
            time.sleep(0.05)
        run.terminate()
        assert run.wait(timeout=20) == 143
    assert (rig_host.root / "active/rigspec-chat.service").exists()
    assert calls(rig_host, "docker").splitlines()[-1] == "rm -f rigspec-load"
    assert not Path(f"{rig_host.root}/var/lib/rigspec/burn.jsonl").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to do"),
        (("burn",), "burn wants whole minutes"),
        (("burn", "ten"), "burn wants whole minutes"),
        (("fabric", "--now"), "unknown word: --now"),
    ],
)
def test_wrong_words_are_answered(rig_host: Host, words: tuple[str, ...], said: str) -> None:
    done = load(rig_host, *words)
    assert done.returncode == 3
    assert said in done.stderr


def test_an_unbound_card_is_named(rig_host: Host) -> None:
    cards = (BoundCard("main.0", FIRST, "a"),)
    rig_host.file("/etc/rigspec/gpus.env", gpus_environment("bench", cards))
    assert "no card is bound to main.1" in load(rig_host, "fabric").stderr
    (rig_host.root / "etc/rigspec/gpus.env").unlink()
    assert "no card is bound yet" in load(rig_host, "fabric").stderr
