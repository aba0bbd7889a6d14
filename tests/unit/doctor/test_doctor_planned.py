"""A host that carries its plan is judged by it: as declared is healthy, anything else is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from rigspec.cli import main
from rigspec.discover.capture import capture_text, read_capture
from rigspec.discover.seen import read_seen
from rigspec.doctor.diagnose import diagnose, is_cause
from rigspec.doctor.planned import is_declared
from rigspec.observed.nvidia_smi import EXTRA_FIELDS, QUERY_FIELDS
from rigspec.observed.pci import Kind, PciFunction
from rigspec.plan.rig import plan_rig, to_json
from rigspec.report.doctor import as_text
from rigspec.rules.run import check_file

STARTER = Path(__file__).parents[3] / "rigs" / "starter.yaml"
LINE = "rig_cmdline=root=UUID=1 ro quiet intel_iommu=on iommu=pt pcie_aspm.policy=performance"
LIMIT = (
    "63.008 Gb/s available PCIe bandwidth, limited by 16.0 GT/s PCIe x8 link at 0000:00:01.0 "
    "(capable of 252.048 Gb/s with 16.0 GT/s PCIe x16 link)"
)
UNITS = ("docker", "rigspec-power", "rigspec-ready", "rigspec-qwen")


def card(
    n: int, watts: int = 290, fields: tuple[str, ...] = QUERY_FIELDS, busy: str = "[N/A]"
) -> str:
    own = {
        "index": str(n), "uuid": f"GPU-{n}", "pci.bus_id": f"00000000:0{n}:00.0",
        "name": "NVIDIA GeForce RTX 3090", "driver_version": "580.95.05", "power.limit": str(watts),
        "power.default_limit": "350", "power.min_limit": "100", "power.max_limit": "350",
        "enforced.power.limit": str(watts), "addressing_mode": "HMM", "utilization.gpu": busy,
    }  # fmt: skip
    return ", ".join(own.get(name, "[N/A]") for name in fields)


def slot(n: int, width: int = 8) -> str:
    link = "max_link_speed=16.0 max_link_width=16 current_link_speed=16.0"
    root = f"/sys/devices/pci0000:00/0000:00:0{n}.0"
    return (
        f"0000:00:0{n}.0 path={root} vendor=0x8086 device=0x1901 class=0x060400 {link} "
        f"current_link_width={width}\n"
        f"0000:0{n}:00.0 path={root}/0000:0{n}:00.0 vendor=0x10de device=0x2204 class=0x030000 "
        f"{link} current_link_width={width} bar1=0x600000000,0xdffffffff,0x14220c"
    )


def unit(name: str, active: str = "active", sub: str = "running", restarts: int = 0) -> str:
    result = "exit-code" if active == "failed" else "success"
    return (
        f"Id={name}.service\nLoadState=loaded\nActiveState={active}\nSubState={sub}\n"
        f"Result={result}\nNRestarts={restarts}\n"
    )


def plan_of(spec: Path) -> str:
    """The line of plan.json that the probe prints."""
    rig = check_file(str(spec)).rig
    assert rig is not None
    return next(x for x in to_json(plan_rig(rig)).splitlines() if x.startswith('  "spec"'))


def probe(**changed: str) -> str:
    """What the probe says of the starter rig in order, with some sections otherwise."""
    sections = {
        "host": LINE,
        "cpu": "Architecture: x86_64\nCPU(s): 16\nOn-line CPU(s) list: 0-15",
        "pci": f"{slot(1)}\n{slot(2)}",
        "smi": f"{card(1)}\n{card(2)}",
        "smi-extra": "\n".join(card(n, fields=EXTRA_FIELDS) for n in (1, 2)),
        "smi-p2p": "\tGPU0\tGPU1\n GPU0\tX\tCNS\n GPU1\tCNS\tX\n",
        "kernel-log": f"[ 0.0] Linux version 6.12\n[ 1.0] pci 0000:01:00.0: {LIMIT}",
        "units": "\n".join(unit(name) for name in UNITS[:2]),
        "rigspec-units": "\n".join(unit(name) for name in UNITS[1:]),
        "container-list": "container /x image=vllm/x state=running ipc=private shm=67108864",
        "planned": plan_of(STARTER),
    } | {name.replace("_", "-"): text for name, text in changed.items()}
    return "".join(f"##RIG {name}\n{text}\n##RIG-END\n" for name, text in sections.items())


def causes(text: str) -> dict[str, str]:
    """Cause to its first line."""
    found = diagnose(capture_text("rig", text))
    return {d.symptom.id: d.evidence[0].text for d in found if is_cause(d)}


def test_rig_that_is_as_planned_has_no_cause_and_ends_with_nought(tmp_path: Path) -> None:
    assert causes(probe()) == {}
    for planned, said in ((probe(), True), (probe(planned="", container_list=""), False)):
        (tmp_path / "probe.txt").write_text(planned)
        result = CliRunner().invoke(main, ["doctor", "--from", str(tmp_path)])
        assert result.exit_code == (0 if said else 1)
        last = result.stdout.splitlines()[-1]
        assert ("`rigspec verify` and `rigspec drift`" in last) is said
        assert ("whether its servers answer is judged by `rigspec verify`" in last) is said


def test_the_same_texts_without_a_plan_are_a_cause() -> None:
    found = causes(probe(planned=""))
    assert set(found) == {"narrow-link", "limited-by", "p2p-geforce", "hmm", "shm-small"}


def test_refused_copies_that_nobody_wants_are_a_note_at_most() -> None:
    found = diagnose(capture_text("rig", probe()))
    assert "p2p-unwanted" in {d.symptom.id for d in found if not is_cause(d)}


@pytest.mark.parametrize(
    ("changed", "cause", "shown"),
    [
        ({"pci": f"{slot(1, 4)}\n{slot(2)}"}, "narrow-link", "0000:01:00.0"),
        ({"pci": slot(1)}, "unplugged-gpus", "the plan has 2 GPUs, PCI shows 1"),
        ({"smi": f"{card(1)}\n{card(2, 350)}"}, "cap-differs", "350 W, the plan has 290 W"),
        ({"host": f"{LINE} iommu=off"}, "kernel-line", "`iommu=off` is on the running line"),
        ({"host": LINE.replace(" iommu=pt", "")}, "kernel-line", "`iommu=pt` is planned, but not"),
        ({"units": unit("docker", "failed", "failed")}, "unit-down", "docker.service is failed"),
        (
            {"rigspec_units": unit("rigspec-qwen", "inactive", "dead")},
            "unit-down",
            "rigspec-qwen.service is inactive (result: success)",
        ),
        (
            {"rigspec_units": unit("rigspec-qwen", "activating", "auto-restart", 17)},
            "unit-loops",
            "rigspec-qwen.service was restarted 17 times since boot, now auto-restart",
        ),
        (
            {"rigspec_units": unit("rigspec-qwen", "active", "running", 3)},
            "unit-loops",
            "was restarted 3 times since boot, now running",
        ),
        (
            {"rigspec_units": unit("rigspec-qwen", "activating", "auto-restart", 1)},
            "unit-loops",
            "was restarted 1 time since boot",
        ),
        (
            {"rigspec_units": unit("rigspec-qwen", "activating", "auto-restart")},
            "unit-loops",
            "rigspec-qwen.service ended, now auto-restart",
        ),
        (
            {
                "units": f"{unit('docker')}\n{unit('rigspec-power', 'inactive', 'dead')}",
                "rigspec_units": "\n".join(unit(name) for name in UNITS[2:]),
            },
            "unit-down",
            "rigspec-power.service is inactive (result: success)",
        ),
        (
            {
                "units": f"{unit('docker')}\n{unit('rigspec-power', 'failed', 'failed')}",
                "rigspec_units": "\n".join(unit(name) for name in UNITS[2:]),
                "smi": "",
            },
            "cap-gone",
            "rigspec-power.service is failed",
        ),
        (
            {"container_list": "container /rigspec-qwen image=x ipc=private shm=67108864"},
            "shm-small",
            "/rigspec-qwen",
        ),
    ],
)  # fmt: skip
def test_what_is_otherwise_than_planned_is_named(
    changed: dict[str, str], cause: str, shown: str
) -> None:
    found = causes(probe(**changed))
    assert set(found) == {cause}
    assert shown in found[cause]


def df(root_kib: int, models_kib: int, boot_kib: int = 9) -> str:
    return "Filesystem 1024-blocks Used Available Capacity Mounted on\n" + "\n".join(
        f"/dev/sda{n} 99999999 9 {free} 1% {target}"
        for n, (free, target) in enumerate(
            ((boot_kib, "/boot"), (root_kib, "/"), (models_kib, "/srv/models"))
        )
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (df(1 << 20, 1 << 20), None),
        (df((1 << 20) - 1, 1 << 20), "/ has 1023 MiB free, on /dev/sda1"),
        (df(1 << 20, 1 << 18), "/srv/models has 256 MiB free, on /dev/sda2"),
    ],
    ids=["room", "no room on /", "no room for models"],
)
def test_a_file_system_of_the_plan_without_room_is_a_full_disk(text: str, said: str | None) -> None:
    mounts = 'TARGET="/" SOURCE="/dev/sda1" FSTYPE="ext4" OPTIONS="rw"'
    assert causes(probe(df=text, findmnt=mounts)).get("disk-full") == said


def test_advice_names_the_units_that_the_evidence_names() -> None:
    down = [unit("docker", "failed", "failed"), unit("rigspec-qwen", "inactive", "dead")]
    text = probe(units=down[0], rigspec_units=down[1])
    (found,) = (d for d in diagnose(capture_text("rig", text)) if is_cause(d))
    assert found.do.startswith("`journalctl -b -u docker.service -u rigspec-qwen.service` says")
    assert "`systemctl start docker.service rigspec-qwen.service`" in found.do
    assert "`systemctl is-active docker.service rigspec-qwen.service`" in found.proof
    assert "UNIT" not in as_text((found,))


def changed_spec(tmp_path: Path, old: str, new: str) -> Path:
    text = STARTER.read_text()
    assert old in text
    (tmp_path / "starter.yaml").write_text(text.replace(old, new))
    return tmp_path / "starter.yaml"


def test_plan_that_wants_peers_makes_their_refusal_a_cause(tmp_path: Path) -> None:
    spec = changed_spec(tmp_path, "aspm: off", "aspm: off\n  peer_to_peer: true")
    assert "p2p-geforce" in causes(probe(planned=plan_of(spec)))


CAPTURES = Path(__file__).parents[2] / "captures"
ASUS = CAPTURES / "voipmonitor-rtx6kpro-asus-8x-pro6000-server"


def test_whole_rig_behind_a_switch_is_healthy_by_its_plan_only() -> None:
    folder = CAPTURES / "virtual-rig-home"
    home = plan_of(STARTER.with_name("home.yaml"))
    said = [f"##RIG {f.stem}\n{f.read_text()}\n##RIG-END\n" for f in folder.glob("*.txt")]
    assert causes("".join(said) + f"##RIG planned\n{home}\n##RIG-END\n") == {}
    assert set(causes("".join(said))) == {"limited-generation"}  # Gen5 cards, Gen4 switch


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("acs: keep", "acs: keep", set()),
        ("acs: keep", "acs: off_on_gpu_paths", {"acs-set-again"}),
        ("acs: keep", "acs: keep\n  peer_to_peer: true", {"acs-redirect"}),
    ],
)
def test_redirect_that_the_plan_keeps_is_no_cause(
    old: str, new: str, named: set[str], tmp_path: Path
) -> None:
    lspci = (ASUS / "lspci-gpus-and-bridges.txt").read_text()
    (tmp_path / "lspci.txt").write_text(lspci.replace("ReqRedir-", "ReqRedir+"))
    spec = plan_of(changed_spec(tmp_path, old, new))
    (tmp_path / "starter.yaml").unlink()
    (tmp_path / "probe.txt").write_text(f"##RIG planned\n{spec}\n##RIG-END\n")
    found = {d.symptom.id: d for d in diagnose(read_capture(tmp_path))}
    assert found.keys() & {"acs-redirect", "acs-set-again"} == named
    for name in named:  # what the plan has already is no advice
        assert ("off_on_gpu_paths" in found[name].do) is (name == "acs-redirect")


CHIPSET = slot(1).replace("vendor=0x8086 device=0x1901", "vendor=0x1022 device=0x43e9")
BUSY = "\n".join(card(n, busy="99") for n in (1, 2))
SLOW = f"{slot(1)}\n{slot(2)}".replace("current_link_speed=16.0", "current_link_speed=8.0")
BAR = "GPU 00000000:01:00.0\n    BAR1 Memory Usage\n        Total                     : 256 MiB"
DMA = "group 1 DMA-FQ 0000:01:00.0\ngroup 2 DMA-FQ 0000:02:00.0"
OTHERWISE = LINE.replace("iommu=pt", "iommu.passthrough=0")


@pytest.mark.parametrize(
    ("old", "new", "changed", "cause"),
    [
        ("width: 8", "width: 2", {"pci": f"{slot(1, 2)}\n{slot(2)}"}, "mixed-links"),
        ("generation: 4", "generation: 3", {"smi": BUSY, "pci": SLOW}, "slow-under-load"),
        ("acs: keep", "acs: keep\n  resizable_bar: false", {"smi_memory": BAR}, "small-bar"),
        (
            "driver:\n",
            'kernel:\n  iommu: "on"\ndriver:\n',
            {"iommu": DMA, "host": OTHERWISE},
            "iommu-translated",
        ),
        ("acs: keep", "acs: keep", {"pci": f"{CHIPSET}\n{slot(2)}"}, "chipset-slot"),
    ],
)
def test_what_the_spec_declares_is_a_cause_without_its_plan_alone(
    old: str, new: str, changed: dict[str, str], cause: str, tmp_path: Path
) -> None:
    planned = plan_of(changed_spec(tmp_path, old, new))
    assert causes(probe(**changed, planned=planned)) == {}
    assert cause in causes(probe(**changed, planned=""))


@pytest.mark.parametrize(
    ("gen", "width", "declared"), [(4, 16, True), (3, 16, False), (4, 8, False)]
)
def test_uplink_of_a_switch_is_judged_by_the_switch_of_the_plan(
    gen: int, width: int, declared: bool
) -> None:
    home = plan_of(STARTER.with_name("home.yaml"))
    seen = read_seen(capture_text("rig", f"##RIG planned\n{home}\n##RIG-END\n"))
    port = PciFunction("0000:01:00.0", kind=Kind.UPSTREAM)
    assert is_declared(seen, port, gen, width) is declared


def test_card_in_a_named_slot_has_the_cap_of_that_member_only(tmp_path: Path) -> None:
    one = "count: 1\n    slots: ['0000:01:00.0']"
    two = "  two: {sku: rtx-3090, count: 1, slots: ['0000:02:00.0'], power_limit_w: 200}\n"
    spec = changed_spec(tmp_path, "count: 2", one)
    text = spec.read_text().replace("\npcie:", f"{two}\npcie:")
    spec.write_text(text.replace("[pair]", "[pair, two]"))
    planned = plan_of(spec)
    right = f"{card(1)}\n{card(2, 200)}"
    assert "cap-differs" not in causes(probe(planned=planned, smi=right))
    swapped = f"{card(1, 200)}\n{card(2)}"
    assert "cap-differs" in causes(probe(planned=planned, smi=swapped))


SLOWER = "".join(
    f"Unidirectional P2P={state} Bandwidth Matrix (GB/s)\n   D\\D     0      1\n"
    f"     0 900.00  {speed}\n     1  {speed} 900.00\n"
    for state, speed in (("Disabled", "22.10"), ("Enabled", "12.90"))
)


def test_what_tells_of_peer_copies_is_no_cause_where_none_are_wanted(tmp_path: Path) -> None:
    lspci, topo = (ASUS / name for name in ("lspci-gpus-and-bridges.txt", "nvidia-smi-topo.txt"))
    (tmp_path / "lspci.txt").write_text(lspci.read_text())
    (tmp_path / "topo.txt").write_text(topo.read_text().replace("PIX", "PHB"))
    (tmp_path / "bandwidth.txt").write_text(SLOWER)
    about_peers = {"topology-differs", "p2p-slower"}
    without = {d.symptom.id for d in diagnose(read_capture(tmp_path))}
    (tmp_path / "probe.txt").write_text(f"##RIG planned\n{plan_of(STARTER)}\n##RIG-END\n")
    planned = {d.symptom.id for d in diagnose(read_capture(tmp_path))}
    assert (without & about_peers, planned & about_peers) == (about_peers, set())


def test_acs_that_was_cleared_after_docker_but_before_the_server_is_no_cause() -> None:
    def units(server: int) -> str:
        return "\n".join(
            unit(name) + f"ActiveEnterTimestampMonotonic={start}\n"
            for name, start in (("docker", 10), ("rigspec-acs", 90), ("rigspec-qwen", server))
        )

    assert "acs-late" not in causes(probe(units=units(95), rigspec_units=""))
    assert "acs-late" in causes(probe(units=units(50), rigspec_units=""))


def test_server_that_started_before_its_gate_and_runs_is_no_cause() -> None:
    early = unit("rigspec-qwen") + "ActiveEnterTimestampMonotonic=1000\n"
    gate = unit("nvidia-persistenced") + "ActiveEnterTimestampMonotonic=9000\n"
    units = f"{unit('docker')}\n{gate}"
    assert causes(probe(units=units, rigspec_units=early)) == {}
    again = early.replace("NRestarts=0", "NRestarts=1")
    assert set(causes(probe(units=units, rigspec_units=again))) == {"started-early"}


def test_link_of_a_lower_generation_is_possible_and_of_fewer_lanes_likely() -> None:
    line = "[    1.000000] pci 0000:01:00.0: {} Gb/s available PCIe bandwidth, limited by "
    line += "8.0 GT/s PCIe x{} link at 0000:00:01.0 "
    line += "(capable of 252.048 Gb/s with 16.0 GT/s PCIe x16 link)\n"
    found = {
        width: diagnose(capture_text("log", line.format("126.016", width))) for width in (16, 8)
    }
    assert [(d.symptom.id, d.symptom.likelihood) for d in found[16]] == [
        ("limited-generation", "possible")
    ]
    assert "bifurcation" not in found[16][0].setting
    assert [d.symptom.id for d in found[8]] == ["limited-by"]
    assert "bifurcation" in found[8][0].setting


@pytest.mark.parametrize(
    ("glm", "stt", "down"),
    [
        ("active", "inactive", None),
        ("inactive", "active", None),
        ("inactive", "activating", None),
        ("inactive", "inactive", "rigspec-glm.service is inactive (result: success)"),
        ("inactive", "failed", "rigspec-glm.service is inactive (result: success)"),
    ],
)
def test_server_stands_still_only_while_its_rival_is_up(
    glm: str, stt: str, down: str | None
) -> None:
    planned = plan_of(STARTER.with_name("home.yaml"))
    units = unit("rigspec-glm", glm, "dead") + "\n" + unit("rigspec-stt", stt, "dead")
    found = causes(f"##RIG rigspec-units\n{units}##RIG-END\n##RIG planned\n{planned}\n##RIG-END\n")
    assert found.get("unit-down") == down
