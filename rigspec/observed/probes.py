"""The shell text that reads a host: POSIX sh, coreutils or busybox, few processes.

Nothing here runs anything. Sections are joined by `script()` into one text, so that a whole
verify costs one round trip; `rigspec.observed.sections` takes the output apart again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rigspec.frozen import dataclass
from rigspec.observed.nvidia_smi import EXTRA_FIELDS, QUERY_FIELDS

PRELUDE = """\
LC_ALL=C; export LC_ALL
rig_has() { command -v "$1" >/dev/null 2>&1 || { echo "##RIG-ABSENT $1"; return 1; }; }
rig_end() { [ "$1" -eq 0 ] || printf '\\n##RIG-EXIT %s %s\\n' "$1" "$2"; }
rig_run() { rig_has "$1" || return 0; "$@" </dev/null 2>&1; rig_end $? "$1"; }
rig_try() {
  rig_limit=$1; shift; rig_has "$1" || return 0
  if command -v timeout >/dev/null 2>&1
  then timeout "$rig_limit" "$@" </dev/null 2>&1
  else "$@" </dev/null 2>&1
  fi
  rig_end $? "$1"
}
rig_cat() {
  if [ ! -e "$1" ]; then echo "##RIG-ABSENT $1"; return 0; fi
  cat "$1" 2>&1; rig_end $? "cat $1"
}
"""
"""What every section may use: `rig_has TOOL`, `rig_run CMD…`, `rig_try SECONDS CMD…`, `rig_cat`."""


@dataclass(frozen=True)
class Probe:
    """One section: its name in the output and the shell text that prints it."""

    name: str
    text: str


def script(probes: Iterable[Probe], beside: Iterable[Probe] = ()) -> str:
    """One shell script for many probes; a failing section does not harm the next.

    `beside` run at the same time in a second process; their sections come last. They wait for
    servers and containers, so that the rest costs no time of its own. A pipe carries them: nothing
    is written on the host.
    """
    text, meanwhile = "".join(map(_section, probes)), "".join(map(_section, beside))
    if not meanwhile:
        return PRELUDE + text
    return f"{PRELUDE}{{\n{meanwhile}}} </dev/null | {{\n{text}cat\n}}\n"


def _section(probe: Probe) -> str:
    if not re.fullmatch(r"[a-z0-9][a-z0-9._:-]*", probe.name):
        raise ValueError(f"section name `{probe.name}`")
    body = probe.text.rstrip()
    # no section may read what the ones beside it have to say
    return f"echo '##RIG {probe.name}'\n(\n{body}\n) </dev/null\nprintf '\\n##RIG-END\\n'\n"


_PCI_KEYS = (
    "vendor device subsystem_vendor subsystem_device class numa_node current_link_speed "
    "current_link_width max_link_speed max_link_width sriov_totalvfs"
)

PCI = Probe(
    "pci",
    f"""\
[ -d /sys/bus/pci/devices ] || {{ echo '##RIG-ABSENT /sys/bus/pci/devices'; exit 0; }}
exec 2>/dev/null
for d in /sys/bus/pci/devices/*; do
  cd -P "$d" || continue
  here=$PWD
  o="${{d##*/}} path=$here"
  for k in {_PCI_KEYS}; do
    v=
    [ -e "$k" ] && read -r v <"$k"
    [ -n "$v" ] && o="$o $k=${{v%% *}}"
  done
  for k in driver iommu_group; do
    if [ -d "$k" ] && cd -P "$k"; then o="$o $k=${{PWD##*/}}"; cd "$here"; fi
  done
  if [ -r resource ]; then
    i=0
    while [ $i -lt 6 ] && read -r s e f; do
      [ "$f" = 0x0000000000000000 ] || o="$o bar$i=$s,$e,$f"
      i=$((i + 1))
    done <resource
  fi
  echo "$o"
done
""",
)
"""One line per function, shell builtins only: no process per device."""

PCI_CONFIG = Probe(
    "pci-config",
    """\
[ -d /sys/bus/pci/devices ] || { echo '##RIG-ABSENT /sys/bus/pci/devices'; exit 0; }
set --
for d in /sys/bus/pci/devices/*; do
  c=; v=
  read -r c <"$d/class" || continue
  read -r v <"$d/vendor" || continue
  case "$c $v" in 0x0604*|*' 0x10de') set -- "$@" "$d/config";; esac
done
[ $# -gt 0 ] || exit 0
rig_has head || exit 0
rig_has od || exit 0
head -v -c 4096 "$@" 2>&1 | od -Ax -tx1
""",
)
"""Raw configuration space of bridges and NVIDIA functions, in two processes for all of them.

`od` without -v folds repeated rows into `*`; root reads 4096 bytes, others 64.
"""

PCI_AER = Probe(
    "pci-aer",
    """\
set -- /sys/bus/pci/devices/*/aer_dev_*
[ -e "$1" ] || { echo '##RIG-ABSENT /sys/bus/pci/devices/*/aer_dev_*'; exit 0; }
grep -H -e TOTAL_ERR -e ' [1-9]' "$@"
""",
)

PCI_PROBES = (PCI, PCI_CONFIG)

HOST = Probe(
    "host",
    """\
rig_line() { v=; [ -r "$2" ] && read -r v <"$2"; [ -n "$v" ] && echo "$1=$v"; }
echo "rig_uid=$(id -u)"
rig_line rig_boot_id /proc/sys/kernel/random/boot_id
rig_line rig_release /proc/sys/kernel/osrelease
rig_line rig_cmdline /proc/cmdline
echo "rig_machine=$(uname -m)"
echo "rig_cpus=$(grep -c '^processor' /proc/cpuinfo)"
while read -r k v rest; do [ "$k" = MemTotal: ] && echo "rig_memory_kib=$v"; done </proc/meminfo
read -r up rest </proc/uptime && echo "rig_uptime=$up"
if [ -e /run/reboot-required ] || [ -e /var/run/reboot-required ]
then echo rig_reboot_required=yes; else echo rig_reboot_required=no; fi
command -v systemd-detect-virt >/dev/null 2>&1 && echo "rig_virt=$(systemd-detect-virt)"
cat /etc/os-release
""",
)

IOMMU = Probe(
    "iommu",
    """\
for u in /sys/class/iommu/*; do [ -e "$u" ] && echo "unit ${u##*/}"; done
for t in IVRS DMAR; do [ -e "/sys/firmware/acpi/tables/$t" ] && echo "table $t"; done
for g in /sys/kernel/iommu_groups/*; do
  [ -d "$g" ] || continue
  v='?'
  [ -r "$g/type" ] && read -r v <"$g/type"
  o="group ${g##*/} $v"
  for d in "$g"/devices/*; do [ -e "$d" ] && o="$o ${d##*/}"; done
  echo "$o"
done
""",
)

MODULES = Probe(
    "modules",
    """\
rig_cat /proc/modules
set --
for m in nvidia nvidia_uvm nvidia_drm nvidia_modeset nouveau pcie_aspm; do
  for p in "/sys/module/$m/parameters/"*; do [ -r "$p" ] && set -- "$@" "$p"; done
done
[ $# -eq 0 ] || grep -s -H '' "$@"
""",
)

NVIDIA_PROC = Probe(
    "nvidia-proc", "rig_cat /proc/driver/nvidia/version\nrig_cat /proc/driver/nvidia/params\n"
)

SECURE_BOOT = Probe(
    "secure-boot",
    """\
if [ -d /sys/firmware/efi ]; then echo 'uefi yes'; else echo 'uefi no'; fi
f=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
[ -r $f ] && echo "efivar $(od -An -v -tx1 $f)"
[ -r /sys/kernel/security/lockdown ] && echo "lockdown $(cat /sys/kernel/security/lockdown)"
""",
)
"""The variable's name carries the GUID of EFI global variables (UEFI specification, 3.3)."""

ASPM = Probe("aspm", "rig_cat /sys/module/pcie_aspm/parameters/policy\n")

KERNEL_LOG_PATTERN = (
    "NVRM|nvidia|Xid|fallen off|AER:|PCIe Bus Error|AMD-Vi|DMAR|iommu:|x2apic|Unknown option|"
    "Unknown kernel command|Can't parse ACS|Malformed|can't assign|failed to assign|limited by|"
    "nomodeset|Configured ACS|BERT|module verification|Key was rejected|NCCL|Out of memory|"
    "Linux version|not permitted|not seeing messages|No journal files|"
    "_OSC: |Surprise|pciehp|lockdown|ASPM|APIC ID|[Ss]ecure boot"
)
KERNEL_LOG = Probe(
    "kernel-log",
    f"""\
if command -v journalctl >/dev/null 2>&1
then rig_log='journalctl -k -b --no-pager -o short-monotonic'; else rig_log=dmesg; fi
rig_has "${{rig_log%% *}}" || exit 0
$rig_log 2>&1 | grep -E "{KERNEL_LOG_PATTERN}" | tail -n 2000
""",
)
"""This boot's kernel log; journald keeps what the ring buffer has dropped."""

KERNEL_PROBES = (HOST, IOMMU, MODULES, NVIDIA_PROC, SECURE_BOOT, ASPM)

_SMI_LIMIT_S = 30
"""A driver that has lost a GPU can keep nvidia-smi waiting; healthy ones answer within 5 s."""


def smi_query(name: str, fields: Iterable[str]) -> Probe:
    """`nvidia-smi --query-gpu` with a time limit."""
    asked = ",".join(fields)
    return Probe(
        name,
        f"rig_try {_SMI_LIMIT_S} nvidia-smi --query-gpu={asked} --format=csv,noheader,nounits\n",
    )


SMI_LIST = Probe("smi-list", f"rig_try {_SMI_LIMIT_S} nvidia-smi -L\n")
SMI_TOPO = Probe("smi-topo", f"rig_try {_SMI_LIMIT_S} nvidia-smi topo -m\n")
SMI_P2P = Probe("smi-p2p", f"rig_try {_SMI_LIMIT_S} nvidia-smi topo -p2p r\n")
SMI = (smi_query("smi", QUERY_FIELDS), smi_query("smi-extra", EXTRA_FIELDS))
"""What `nvidia_smi.parse_smi_probe` reads."""
NVLINK = Probe("topology", "rig_run nvidia-smi topo -m\n")
"""What `topology.parse_topology_probe` reads; asked for where a bridge is planned."""
