"""The ACS script on a made-up sysfs; setpci is a stub over files. Simulated hardware throughout."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from plan_bench import Host

from rigspec.plan.pcie import plan_pcie
from rigspec.spec.rig import Rig

# setpci -s BDF ECAP_ACS+6.w[=VALUE:MASK] over one file per bridge; pciutils prints these words
SETPCI = """\
file=$STATE/acs/$2
if [ ! -e "$file" ]; then
    echo "setpci: $2: Instance #0 of Extended Capability 000d not found -" \
        "there are no capabilities with that id." >&2
    exit 1
fi
case $3 in
ECAP_ACS+6.w) cat "$file" ;;
ECAP_ACS+6.w=0000:002c)
    echo "$2" >>"$STATE/written"
    if [ -e "$STATE/locked" ]; then echo "setpci: write: Operation not permitted" >&2; exit 1; fi
    printf '%04x\\n' $((0x$(cat "$file") & ~0x2c)) >"$file" ;;
*) echo "setpci: unexpected $*" >&2; exit 9 ;;
esac"""

ROOT = "pci0000:40/0000:40:01.0"
SWITCH = f"{ROOT}/0000:41:00.0"
OTHER_ROOT = "pci0000:80/0000:80:03.1"


@pytest.fixture
def script(make_rig: Callable[..., Rig]) -> str:
    return plan_pcie(make_rig(pcie={"acs": "off_on_gpu_paths"})).files[0].content


def add_function(host: Host, path: str, vendor: str, device_class: str) -> None:
    host.file(f"/sys/devices/{path}/vendor", f"{vendor}\n")
    host.file(f"/sys/devices/{path}/class", f"{device_class}\n")
    link = host.root / "sys/bus/pci/devices" / path.rpartition("/")[2]
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(host.root / "sys/devices" / path)


def add_gpu(host: Host, path: str) -> None:
    add_function(host, path, "0x10de", "0x030000")
    add_function(host, path[:-1] + "1", "0x10de", "0x040300")  # its audio function


def set_control(host: Host, bridge: str, word: str) -> None:
    host.file(f"/acs/{bridge}", f"{word}\n")


def control(host: Host, bridge: str) -> str:
    return (host.root / "acs" / bridge).read_text().strip()


@pytest.fixture
def switched(host: Host) -> Host:
    """Two GPUs on one switch below a root port, all of whose ports redirect; an NVMe beside."""
    host.stub("setpci", SETPCI)
    for bridge in (ROOT, SWITCH, f"{SWITCH}/0000:42:00.0", f"{SWITCH}/0000:42:01.0"):
        add_function(host, bridge, "0x11f8", "0x060400")
    add_gpu(host, f"{SWITCH}/0000:42:00.0/0000:43:00.0")
    add_gpu(host, f"{SWITCH}/0000:42:01.0/0000:44:00.0")
    add_function(host, f"{OTHER_ROOT}/0000:81:00.0", "0x144d", "0x010802")
    for bridge in ("0000:40:01.0", "0000:42:00.0", "0000:42:01.0", "0000:80:03.1"):
        set_control(host, bridge, "001d")
    return host


def test_downstream_ports_lose_the_redirect_bits_and_keep_the_rest(
    switched: Host, script: str
) -> None:
    done = switched.run(script)
    assert done.returncode == 0, done.stderr
    # 001d is SrcValid, ReqRedir, CmpltRedir, UpstreamFwd; 0011 is what is left without bits 2, 3, 5
    assert control(switched, "0000:42:00.0") == control(switched, "0000:42:01.0") == "0011"


def test_a_check_says_which_bridge_redirects_and_changes_nothing(
    switched: Host, script: str
) -> None:
    done = switched.run(script, "--check")
    assert done.returncode == 1
    assert "the bridge 0000:42:00.0 redirects traffic between GPUs: ACSCtl is 001d" in done.stderr
    assert not (switched.root / "written").exists()
    switched.run(script)
    assert switched.run(script, "--check").returncode == 0


def test_bridges_common_to_all_gpus_and_those_of_other_devices_keep_their_isolation(
    switched: Host, script: str
) -> None:
    switched.run(script)
    assert control(switched, "0000:40:01.0") == control(switched, "0000:80:03.1") == "001d"


def test_root_ports_are_cleared_too_when_gpus_hang_on_different_ones(
    switched: Host, script: str
) -> None:
    add_function(switched, OTHER_ROOT, "0x1022", "0x060400")
    add_gpu(switched, f"{OTHER_ROOT}/0000:82:00.0")
    assert switched.run(script).returncode == 0
    assert control(switched, "0000:40:01.0") == control(switched, "0000:80:03.1") == "0011"


def test_egress_control_counts_as_redirect(switched: Host, script: str) -> None:
    set_control(switched, "0000:42:00.0", "0031")
    switched.run(script)
    assert control(switched, "0000:42:00.0") == "0011"


def test_a_second_run_writes_nothing(switched: Host, script: str) -> None:
    switched.run(script)
    (switched.root / "written").unlink()
    done = switched.run(script)
    assert done.returncode == 0
    assert not (switched.root / "written").exists()


def test_a_bridge_without_the_capability_is_passed_over(switched: Host, script: str) -> None:
    (switched.root / "acs" / "0000:42:01.0").unlink()
    assert switched.run(script).returncode == 0
    assert control(switched, "0000:42:00.0") == "0011"


def test_a_refused_write_fails_and_names_bridge_and_secure_boot(
    switched: Host, script: str
) -> None:
    switched.file("/locked", "")
    done = switched.run(script)
    assert done.returncode == 1
    assert "0000:42:00.0 still redirects" in done.stderr
    assert "001d" in done.stderr
    assert "Operation not permitted" in done.stderr
    assert "mokutil --sb-state" in done.stderr


def test_a_read_that_fails_otherwise_is_no_missing_capability(switched: Host, script: str) -> None:
    switched.stub("setpci", "echo 'setpci: cannot open config space' >&2; exit 1")
    done = switched.run(script)
    assert done.returncode == 1
    assert "cannot read ACSCtl" in done.stderr


def test_no_gpu_on_the_bus_fails(host: Host, script: str) -> None:
    host.stub("setpci", SETPCI)
    add_function(host, f"{ROOT}/0000:41:00.0", "0x144d", "0x010802")
    done = host.run(script)
    assert done.returncode == 1
    assert "no NVIDIA GPU answers" in done.stderr


def test_one_gpu_has_no_pair_to_clear_bridges_for(host: Host, script: str) -> None:
    host.stub("setpci", SETPCI)
    add_function(host, ROOT, "0x1022", "0x060400")
    add_gpu(host, f"{ROOT}/0000:41:00.0")
    set_control(host, "0000:40:01.0", "001d")
    assert host.run(script).returncode == 0
    assert control(host, "0000:40:01.0") == "001d"
