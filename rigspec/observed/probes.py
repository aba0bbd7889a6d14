"""The shell text that reads a host: POSIX sh, coreutils or busybox, few processes.

Nothing here runs anything. Sections are joined by `script()` into one text, so that a whole
verify costs one round trip; `rigspec.observed.sections` takes the output apart again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

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


def script(probes: Iterable[Probe]) -> str:
    """One shell script for many probes; a failing section does not harm the next."""
    parts = [PRELUDE]
    for probe in probes:
        if not re.fullmatch(r"[a-z0-9][a-z0-9._:-]*", probe.name):
            raise ValueError(f"section name `{probe.name}`")
        parts.append(
            f"echo '##RIG {probe.name}'\n(\n{probe.text.rstrip()}\n)\nprintf '\\n##RIG-END\\n'\n"
        )
    return "".join(parts)


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
