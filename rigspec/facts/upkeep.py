"""Probes of what may drift: firmware, kernels, managed files, secrets, other writers of caps.

Secrets are compared on the host: a value stays in a shell variable and in pipes, and what comes
back is only where it was found.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Iterable, Iterator

from rigspec.observed import host_probes
from rigspec.observed.probes import Probe
from rigspec.plan.asking import value_program
from rigspec.plan.relied import mounted_paths
from rigspec.plan.rig import PLAN_FILE, all_files
from rigspec.plan.sections import Plan, RenderedFile

FIRMWARE = Probe(
    "firmware",
    """\
for k in bios_vendor bios_version bios_date board_vendor board_name; do
  v=; [ -r /sys/class/dmi/id/$k ] && read -r v </sys/class/dmi/id/$k
  echo "$k=$v"
done
grep -m 1 '^microcode' /proc/cpuinfo
exit 0
""",
)

KERNELS = Probe(
    "kernels",
    """\
for f in /boot/vmlinuz-*; do
  [ -e "$f" ] || continue
  r=${f#/boot/vmlinuz-}; i=no
  [ ! -s "/boot/initrd.img-$r" ] || i=yes
  echo "kernel $r $i"
done | sort -V
exit 0
""",
)

CAP_WRITERS = Probe(
    "cap-writers",
    """\
grep -lIsE 'nvidia-smi.*(-pl|--power-limit|-lgc|--lock-gpu-clocks)|nvmlDeviceSetPowerManagement' \
  /etc/crontab /etc/cron.*/* /var/spool/cron/crontabs/* /etc/rc.local \
  /etc/systemd/system/*.service /etc/systemd/system/*/*.conf /lib/systemd/system/*.service \
  /usr/local/bin/* /usr/local/sbin/* /opt/*.sh /opt/*/*.sh /root/*.sh 2>/dev/null |
  grep -v '/rigspec'
set -- nvidia-powerd.service tuned.service nvidia-dcgm.service power-profiles-daemon.service
systemctl is-active "$@" 2>/dev/null | while read -r state; do
  [ "$state" != active ] || echo "$1"
  shift
done
exit 0
""",
)
"""Where owners put such lines; our own files are named rigspec-*. Daemons that may set caps too."""

_LARGEST = 65536
"""Bytes of an edited file that are brought back: ours are a few KiB."""


def managed_paths(plan: Plan) -> tuple[str, ...]:
    """Every file that the plan writes whole, and the host's copy of the plan."""
    return (*(file.dest for file in all_files(plan)), PLAN_FILE)


def _secrets(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Path and line form of each secret; two models may share one."""
    found = {s.secret_path: s.secret_line for s in plan.services if s.secret_path}
    tokens = {m.secret_path: "Authorization: Bearer {}" for m in plan.models if m.secret_path}
    return tuple((found | tokens).items())


def upkeep_probes(plan: Plan) -> Iterator[Probe]:
    """All of them, for one plan."""
    yield from (FIRMWARE, KERNELS, CAP_WRITERS)
    yield host_probes.files(managed_paths(plan))
    yield edited_probe(all_files(plan))
    if _secrets(plan):
        yield secrets_probe(plan)
    if mounted_paths(plan):
        yield mounted_probe(mounted_paths(plan))


def edited_probe(files: Iterable[RenderedFile]) -> Probe:
    """The text of files whose content is not the planned one."""
    sums = "".join(
        f"{hashlib.sha256(file.content.encode()).hexdigest()}  {file.dest}\n" for file in files
    )
    return Probe(
        "edited",
        f"sha256sum -c - <<'RIG_SUMS' 2>/dev/null | sed -n 's/: FAILED$//p' |\n{sums}RIG_SUMS\n"
        "while IFS= read -r p; do\n"
        f'  echo "edited $p"; head -c {_LARGEST} -- "$p" | sed \'s/^/> /\'; echo\n'
        "done\nexit 0\n",
    )


_MOUNTED = """\
for p; do
  s=there
  if [ ! -e "$p" ]; then s=absent
  elif [ -d "$p" ] && [ -z "$(ls -A -- "$p" | head -n 1)" ]; then s=empty; fi
  echo "$s $p"
done
"""


def mounted_probe(paths: Iterable[str]) -> Probe:
    """Whether what servers read of the host is there; it may be large, so nobody hashes it."""
    return Probe("mounted", f"set -- {shlex.join(paths)}\n{_MOUNTED}")


_SCAN = """\
rig_find() { printf '%s\\n' "$rig_value" | grep -lFs -f - -- "$@" 2>/dev/null; }
rig_stream() { exec 3<&0; printf '%s\\n' "$rig_value" | grep -qaFs -f - /dev/fd/3; }
rig_scan() { # PATH PROGRAM
  [ -e "$1" ] || return 0
  echo "file $1 $(stat -c '%a %U:%G' -- "$1")"
  rig_value=$(sed -n "$2;p;q" "$1")
  [ ${#rig_value} -ge 8 ] || return 0
  printf '%s\\n' "$rig_value" | grep -laFs -f - /proc/[0-9]*/cmdline 2>/dev/null |
  while IFS=/ read -r _ _ pid _; do
    name=; read -r name 2>/dev/null <"/proc/$pid/comm"; echo "place $1 argv $pid $name"
  done
  rig_find $rig_files | while IFS= read -r f; do echo "place $1 file $f"; done
  for c in $rig_containers; do
    ! $rig_engine container inspect --format "$rig_format" "$c" 2>/dev/null | rig_stream ||
      echo "place $1 container $c"
  done
  for u in $rig_units; do
    ! journalctl -q -b --no-pager -o cat -n 5000 -u "$u" 2>/dev/null | rig_stream ||
      echo "place $1 log $u"
  done
  echo "searched $1"
}
"""
_FORMAT = (
    "{{json .Path}} {{json .Args}} {{json .Config.Cmd}} {{json .Config.Entrypoint}} "
    "{{json .Config.Labels}}"
)
"""Of a container only what `ps` and unprivileged tools show; its environment is root's."""


def secrets_probe(plan: Plan) -> Probe:
    """Modes of secret files, and whether a value stands where others can read it."""
    globs = "/etc/systemd/system/rigspec-*.d/* /run/systemd/system/rigspec-*/*"
    files = shlex.join(managed_paths(plan))
    names = {
        "rig_engine": plan.containers.engine,
        "rig_format": _FORMAT,
        "rig_containers": " ".join(s.container for s in plan.services),
        "rig_units": " ".join(s.unit for s in plan.services),
        "rig_files": f"{files} {globs}",
    }
    lines = [f"{name}={shlex.quote(value)}" for name, value in names.items()]
    lines += [
        f"rig_scan {shlex.quote(path)} {shlex.quote(value_program(line))}"
        for path, line in _secrets(plan)
    ]
    return Probe("secrets", _SCAN + "\n".join(lines) + "\nexit 0\n")
