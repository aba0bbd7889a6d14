"""The script an owner runs on a host to capture it: it reads, changes nothing, prints no secret."""

from __future__ import annotations

from collections.abc import Iterable

from rigspec.observed import host_probes
from rigspec.observed.probes import (
    KERNEL_LOG,
    KERNEL_PROBES,
    PCI_AER,
    PCI_PROBES,
    SMI,
    SMI_LIST,
    SMI_P2P,
    SMI_TOPO,
    Probe,
    script,
)
from rigspec.observed.units import UNIT_PROPERTIES

OUT_VARIABLE = "RIGSPEC_PROBE_OUT"
"""Environment variable: the probe deploy saves what the host printed in the file of this name."""

UNITS = (
    "docker.service",
    "podman.service",
    "nvidia-persistenced.service",
    "nvidia-powerd.service",
    "nvidia-cdi-refresh.service",
    "lactd.service",
    "rigspec-acs.service",
    "rigspec-power.service",
)
PACKAGES = ("nvidia-*", "libnvidia-*", "cuda-drivers*", "docker*", "podman", "linux-headers-*")
LAST_WORDS = "aer_uncor_status|Surprise|pciehp|soft lockup|blocked for more|PCIe Bus Error|Xid"
"""What the boot before this one may have said last: why a machine has reset."""
_UNIT_PROPERTIES = ",".join(name for name in UNIT_PROPERTIES if name != "Environment")
_SIMULATED = "/usr/share/rigspec-lab/SIMULATED"

OWN: tuple[Probe, ...] = (
    Probe("machine", f"[ ! -e {_SIMULATED} ] || echo simulated\n"),
    Probe(
        "dmi",
        """\
for k in board_vendor board_name product_name bios_version; do
  v=; [ -r /sys/class/dmi/id/$k ] && read -r v </sys/class/dmi/id/$k; [ -n "$v" ] && echo "$k=$v"
done
exit 0
""",
    ),
    Probe("cpu", "rig_run lscpu\n"),
    Probe("smi-memory", "rig_try 30 nvidia-smi -q -d MEMORY\n"),
    Probe(
        "smi-apps",
        "rig_try 30 nvidia-smi --query-compute-apps=gpu_uuid,pid,used_memory "
        "--format=csv,noheader\n",
    ),
    Probe("dkms", "rig_run dkms status\n"),
    Probe(
        "last-boot",
        f"""\
rig_has journalctl || exit 0
journalctl -b -1 -k --no-pager -o short-monotonic -n 20000 2>/dev/null |
grep -E '{LAST_WORDS}' | tail -n 40
journalctl -b -u systemd-journald --no-pager -o short-monotonic 2>/dev/null |
grep -m 3 'uncleanly shut down'
exit 0
""",
    ),
    Probe(
        "container-list",
        """\
for e in docker podman; do
  command -v $e >/dev/null 2>&1 || continue
  ids=$($e ps -aq 2>/dev/null); [ -n "$ids" ] || continue
  f='container {{.Name}} image={{.Config.Image}} state={{.State.Status}}'
  f="$f ipc={{.HostConfig.IpcMode}} shm={{.HostConfig.ShmSize}}"
  timeout 20 $e inspect --format "$f" $ids 2>&1
done
exit 0
""",
    ),
    Probe("grub", "grep -sH GRUB_CMDLINE /etc/default/grub /etc/default/grub.d/*.cfg\nexit 0\n"),
    Probe(
        "planned",
        "[ ! -e /etc/rigspec/plan.json ] ||\n"
        """grep -E '^  "(rig|digest|spec)": "' /etc/rigspec/plan.json\n""",
    ),
    Probe(
        "rigspec-units",
        f"""\
rig_has systemctl || exit 0
cd /etc/systemd/system 2>/dev/null || exit 0
set -- rigspec-*.service
[ -e "$1" ] || exit 0
rig_run systemctl show --no-pager -p {_UNIT_PROPERTIES} -- "$@"
""",
    ),
    Probe(
        "limit-writers",
        "grep -rlsE 'nvidia-smi.*(-pl|--power-limit)' /etc/systemd/system /etc/rc.local "
        "/etc/cron.d /usr/local/bin /usr/local/sbin\nexit 0\n",
    ),
)
"""Sections that only discover and doctor read; container environments stay unread (secrets)."""


def probes() -> Iterable[Probe]:
    """Every section, cheapest first."""
    yield from (*KERNEL_PROBES, *OWN, *PCI_PROBES, PCI_AER, KERNEL_LOG)
    yield from (*SMI, SMI_LIST, SMI_TOPO, SMI_P2P)
    yield from host_probes.packages(PACKAGES)
    yield host_probes.units(UNITS)
    yield from (*host_probes.CDI, *host_probes.STORAGE, host_probes.NUMA)


def probe_script() -> str:
    """The shell text; run it as root, its output is one file of a capture."""
    return script(probes())
