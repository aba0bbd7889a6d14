"""The shell text behind `operations/apt.py`: waiting for locks, and saying what failed.

POSIX sh. `rig_try COMMAND…` runs quietly and waits while somebody else holds a lock;
`rig_apt ARGS…` is that for apt-get, and on failure prints the lines that matter, and a hint.
"""

from __future__ import annotations

from rigspec.facts.managed import UPDATED_STAMP

LOCK_WAIT_S = 900
"""How long an unattended upgrade may keep apt before the run gives up."""

RIG_APT = f"""\
set -u
DEBIAN_FRONTEND=noninteractive; NEEDRESTART_MODE=l; LC_ALL=C
export DEBIAN_FRONTEND NEEDRESTART_MODE LC_ALL
rig_log=$(mktemp) || exit 1
trap 'rm -f "$rig_log"' EXIT
rig_holder() {{
  for rig_lock in /var/lib/dpkg/lock-frontend /var/lib/dpkg/lock /var/lib/apt/lists/lock; do
    rig_inode=$(stat -c %i "$rig_lock" 2>/dev/null) || continue
    rig_pid=$(awk -v i=":$rig_inode" '$6 ~ i"$" {{print $5; exit}}' /proc/locks)
    [ -n "$rig_pid" ] || continue
    echo "$(cat /proc/"$rig_pid"/comm 2>/dev/null) (pid $rig_pid)"
    return
  done
  echo "another process"
}}
rig_locked() {{
  grep -q -e 'Could not get lock' -e 'Unable to lock' -e 'Unable to acquire' \\
    -e 'frontend lock was locked' -e 'is locked by another process' "$rig_log"
}}
rig_hint() {{
  if grep -q -e 'No space left' -e 'enough free space' "$rig_log"; then
    echo "the disk is full: look at df -h / /var /boot"
  elif grep -q -e 'NO_PUBKEY' -e 'is not signed' -e 'BADSIG' -e 'EXPKEYSIG' "$rig_log"; then
    echo "a source is not signed by its key: look at its Signed-By line below \
/etc/apt/sources.list.d, and at the key's fingerprint in the spec"
  elif grep -q -e 'Could not resolve' -e 'Temporary failure resolving' "$rig_log"; then
    echo "a name does not resolve: look at DNS on the host (getent hosts NAME)"
  elif grep -q -e 'Could not connect' -e 'Connection timed out' -e ' 404 ' -e 'Failed to fetch' \
    -e 'does not have a Release file' "$rig_log"; then
    echo "a package source does not answer: look at the URL above, below /etc/apt/sources.list.d"
  elif grep -q -e 'was not found' -e 'Unable to locate package' "$rig_log"; then
    echo "no source offers that version: look at apt-cache policy PACKAGE and the spec's version"
  elif grep -q -e 'unmet dependencies' -e 'held broken packages' "$rig_log"; then
    echo "packages contradict each other: look at apt-mark showhold and apt-cache policy"
  elif grep -q -e 'dpkg returned an error' -e 'Sub-process' "$rig_log"; then
    echo "a package did not configure: look at the lines above; the next run repairs and goes on"
  fi
}}
rig_fail() {{
  echo "$1 failed:" >&2
  {{ grep -E '^(E|W|Err)[: ]|^dpkg: error|error:' "$rig_log" | grep -v 'is configured multiple'
    tail -n 5 "$rig_log"; }} | awk '!seen[$0]++' | head -n 20 >&2
  rig_hint >&2
}}
rig_try() {{
  rig_until=$(($(date +%s) + {LOCK_WAIT_S}))
  until "$@" </dev/null >"$rig_log" 2>&1; do
    rig_locked || return 1
    if [ "$(date +%s)" -ge "$rig_until" ]; then
      echo "apt is in use by $(rig_holder) for more than {LOCK_WAIT_S // 60} minutes" >&2
      return 1
    fi
    sleep 10
  done
}}
rig_try_apt() {{
  rig_try apt-get -q -y -o DPkg::Lock::Timeout=60 -o Dpkg::Options::=--force-confdef \\
    -o Dpkg::Options::=--force-confold "$@"
}}
rig_apt() {{ rig_try_apt "$@" || {{ rig_fail "apt-get $rig_what"; exit 1; }}; }}
rig_try_update() {{
  rig_try_apt update -o APT::Update::Error-Mode=any || return 1
  mkdir -p {UPDATED_STAMP.rpartition("/")[0]} && touch {UPDATED_STAMP}
}}
rig_update() {{ rig_try_update || {{ rig_fail "apt-get update"; exit 1; }}; }}
"""

REPAIR = (
    RIG_APT
    + """\
rig_try dpkg --force-confdef --force-confold --configure -a || {
  rig_fail "dpkg --configure -a"
  exit 1
}
rig_what='install -f'; rig_apt install -f
"""
)
"""Finish what an interrupted dpkg began."""

MARK = (
    RIG_APT
    + """\
rig_verb=$1; shift
rig_try apt-mark "$rig_verb" -- "$@" || { rig_fail "apt-mark $rig_verb $*"; exit 1; }
"""
)
"""`hold` or `unhold` packages: `VERB NAME…`."""

UPDATE = (
    RIG_APT
    + f"""\
for source in "$@"; do
  [ ! "$source" -nt {UPDATED_STAMP} ] || {{ rig_update; exit; }}
done
"""
)
"""`apt-get update`, if a source file of `$@` was written since the last one."""

INSTALL = (
    RIG_APT
    + """\
# lists may be older than the wanted version or name files that are gone: that try changes nothing
rig_try_apt install "$@" || { rig_update; rig_what="install $*"; rig_apt install "$@"; }
"""
)
"""Install `$@` in one call (`name=version*` pins, `name-` removes)."""

FETCH_KEY = """\
set -u
url=$1; want=$2; ring=$3
new=$(mktemp) || exit 1
trap 'rm -f "$new" "$new.out"' EXIT
if ! curl -fsSL --retry 3 --retry-delay 2 --connect-timeout 20 -o "$new" "$url" 2>"$new.out"; then
  echo "the signing key $url cannot be fetched: $(tail -n 1 "$new.out")" >&2
  echo "look at the host's network and at key_url in the spec" >&2
  exit 1
fi
found=$(gpg --show-keys --with-colons "$new" 2>/dev/null |
  awk -F: '$1 == "pub" {p=1} $1 == "fpr" && p {printf "%s ", $10; p=0}')
case " $found" in
*" $want "*) ;;
*)
  echo "the key at $url has fingerprint ${found:-none}, expected $want" >&2
  echo "nothing was installed; either the repository's key was changed (see its owner's \
announcement, then key_fingerprint in the spec), or somebody is in between" >&2
  exit 1;;
esac
mkdir -p "${ring%/*}"
chmod 644 "$new" && mv -f "$new" "$ring.new" && mv -f "$ring.new" "$ring"
"""
"""Fetch a key, compare its fingerprint, put it in place: `URL FINGERPRINT KEYRING`."""
