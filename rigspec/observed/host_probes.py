"""Probes of what is configured: packages, units, files, containers, storage, the endpoint."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from rigspec.observed.packages import DPKG_FORMAT
from rigspec.observed.probes import Probe
from rigspec.observed.units import UNIT_PROPERTIES

_ENGINE_LIMIT_S = 20
"""A container daemon that hangs must not hang the probe."""


def packages(patterns: Iterable[str]) -> tuple[Probe, ...]:
    """Packages by dpkg name or pattern (`nvidia-*`), holds and consistency."""
    names = shlex.join(patterns)
    return (
        Probe(
            "packages",
            f"rig_has dpkg-query || exit 0\ndpkg-query -W -f '{DPKG_FORMAT}' {names} 2>/dev/null\n"
            "rig_end $? dpkg-query\n",
        ),
        # as `apt-mark showhold`, which reads the lists of every source for it: a second and more
        Probe(
            "holds",
            "rig_has dpkg-query || exit 0\n"
            "dpkg-query -W -f '${db:Status-Abbrev} ${Package}\\n' | sed -n 's/^h.. //p'\n",
        ),
        Probe("dpkg-audit", "rig_run dpkg --audit\n"),
    )


def apt_policy(names: Iterable[str]) -> Probe:
    """What apt would install."""
    return Probe("apt-policy", f"rig_run apt-cache policy {shlex.join(names)}\n")


def units(names: Iterable[str]) -> Probe:
    """`systemctl show` of all units in one call."""
    return Probe(
        "units",
        f"rig_run systemctl show --no-pager -p {','.join(UNIT_PROPERTIES)} -- "
        f"{shlex.join(names)}\n",
    )


def files(paths: Iterable[str]) -> Probe:
    """State and content hash of each path: one stat and one sha256sum for all."""
    asked = shlex.join(paths)
    return Probe(
        "files",
        f"""\
set -- {asked}
for p in "$@"; do
  if [ -L "$p" ]; then echo "link $p -> $(readlink "$p")"; set -- "$@" "$p"
  elif [ -e "$p" ]; then set -- "$@" "$p"
  else
    d=$p
    while [ -n "$d" ] && [ ! -d "$d" ]; do d=${{d%/*}}; done
    if [ -x "${{d:-/}}" ]; then echo "absent $p"; else echo "$p: Permission denied"; fi
  fi
  shift
done
[ $# -gt 0 ] || exit 0
stat -c 'stat %a %U %G %s %F %n' -- "$@" 2>&1
for p in "$@"; do
  shift
  if [ -f "$p" ] && [ ! -L "$p" ]; then set -- "$@" "$p"; fi
done
[ $# -eq 0 ] || sha256sum -- "$@" 2>&1
exit 0
""",
    )


DOCKER = Probe("docker", f"rig_try {_ENGINE_LIMIT_S} docker info --format '{{{{json .}}}}'\n")
PODMAN = Probe("podman", f"rig_try {_ENGINE_LIMIT_S} podman info --format json\n")


def images(engine: str, references: Iterable[str]) -> Probe:
    """`docker` or `podman` image inspect; ends with 1 where one is missing."""
    return Probe(
        "images", f"rig_try {_ENGINE_LIMIT_S} {engine} image inspect {shlex.join(references)}\n"
    )


def containers(engine: str, names: Iterable[str]) -> Probe:
    """`docker` or `podman` inspect of containers by name."""
    return Probe(
        "containers",
        f"rig_try {_ENGINE_LIMIT_S} {engine} container inspect {shlex.join(names)}\n",
    )


CDI = (
    Probe("cdi", f"rig_try {_ENGINE_LIMIT_S} nvidia-ctk cdi list\n"),
    Probe(
        "cdi-files",
        'for f in /etc/cdi/* /var/run/cdi/*; do [ -f "$f" ] && echo "$f"; done\nexit 0\n',
    ),
)

STORAGE = (
    Probe(
        "findmnt",
        "rig_run findmnt -P -b --real -o TARGET,SOURCE,FSTYPE,OPTIONS,SIZE,AVAIL\n",
    ),
    Probe(
        "lsblk",
        "rig_run lsblk -P -b -o NAME,PATH,TYPE,SIZE,FSTYPE,LABEL,UUID,MODEL,MOUNTPOINT\n",
    ),
    Probe("df", "rig_has df || exit 0\ndf -P -k 2>/dev/null\nexit 0\n"),
)

NUMA = Probe(
    "numa",
    """\
for n in /sys/devices/system/node/node[0-9]*; do
  [ -d "$n" ] || continue
  c=; d=; t=
  read -r c <"$n/cpulist"
  read -r d <"$n/distance"
  while read -r a b k v r; do [ "$k" = MemTotal: ] && t=$v; done <"$n/meminfo"
  echo "node ${n##*/node} kib=$t cpus=$c distances=$d"
done
""",
)


def http(
    name: str,
    url: str,
    *,
    limit_s: int,
    header_file: str | None = None,
    json_body: str | None = None,
) -> Probe:
    """One request from the host itself; secrets come from a header file there, never from argv."""
    words = ["curl", "-sS", "-N", "-m", str(limit_s)]
    words += ["-w", "\\n##RIG-HTTP %{http_code} %{time_total}\\n"]
    if header_file:
        words += ["-H", f"@{header_file}"]
    if json_body is not None:
        words += ["-H", "Content-Type: application/json", "--data-binary", json_body]
    return Probe(name, f"rig_run {shlex.join([*words, url])}\n")
