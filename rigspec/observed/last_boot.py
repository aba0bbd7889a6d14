"""The boots around this one: how the last ended, and what the next would start with."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.probes import Probe
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import body, section

LAST_BOOT = Probe(
    "last-boot",
    """\
for f in /sys/fs/pstore/* /var/lib/systemd/pstore/*; do [ -e "$f" ] && echo "record $f"; done
for w in /sys/class/watchdog/watchdog*; do
  v=0
  [ -r "$w/bootstatus" ] && read -r v <"$w/bootstatus" && echo "watchdog ${w##*/} $v"
done
rig_has journalctl || exit 0
echo journal
journalctl -q -b -1 -n 12 --no-pager -o cat 2>&1
exit 0
""",
)

NEXT_BOOT = Probe(
    "next-boot",
    """\
g=/boot/grub/grub.cfg
[ -r $g ] || { echo "##RIG-ABSENT $g"; exit 0; }
grep -m 1 -E '^[[:space:]]*linux(efi)?[[:space:]]' $g
exit 0
""",
)
"""The first entry of GRUB's menu: what boots unless somebody chooses another."""

WDIOF_CARDRESET = 0x20
"""Linux include/uapi/linux/watchdog.h: the watchdog reset the processor."""

_ORDERLY = re.compile(
    r"Journal stopped|Received SIGTERM from PID 1|systemd-shutdown|Reached target .*"
    r"(?:Shutdown|Power-Off|Reboot|Unmount All|Late Shutdown)|Shutting down\.|reboot: "
)
_NO_EARLIER = re.compile(
    r"no persistent journal|No journal boot entry|Data from the specified boot|Boot ID|boot offset"
)
_NO_RIGHT = re.compile(r"not permitted|not seeing messages|No journal files", re.IGNORECASE)


@dataclass(frozen=True)
class LastBoot(Record):
    """The boot before this one, as far as it left traces."""

    is_clean: Reading[bool] | None
    """Whether its log ends with a shutdown; None: no earlier boot is recorded."""
    last_line: str
    crash_records: tuple[str, ...]
    """Files in pstore: what a dying kernel wrote."""
    watchdogs: tuple[str, ...]
    """Watchdogs that say they reset the machine."""


def parse_last_boot_probe(sections: Mapping[str, Sequence[str]]) -> Reading[LastBoot]:
    """The section `last-boot`."""
    lines = section(sections, "last-boot")
    if isinstance(lines, Unknown):
        return lines
    found = [line.strip() for line in body(lines) if line.strip()]
    start = found.index("journal") if "journal" in found else len(found)
    words = [line.split() for line in found[:start]]
    said = found[start + 1 :]
    return LastBoot(
        _is_clean(said, asked="journal" in found),
        said[-1] if said else "",
        tuple(w[1] for w in words if w[0] == "record" and len(w) == 2),
        tuple(
            f"{w[1]} reset the machine (bootstatus {w[2]})"
            for w in words
            if w[0] == "watchdog" and len(w) == 3 and w[2].isdigit() and _did_reset(int(w[2]))
        ),
    )


def parse_next_boot_probe(sections: Mapping[str, Sequence[str]]) -> Reading[tuple[str, ...]]:
    """The section `next-boot`: kernel arguments of the next boot; Unknown without GRUB."""
    lines = section(sections, "next-boot")
    if isinstance(lines, Unknown):
        return lines
    text = next((line.strip() for line in lines if line.strip()), "")
    if not text:
        return Unknown("grub.cfg has no entry that boots Linux")
    try:
        words = shlex.split(text)  # GRUB needs quotes around `;`
    except ValueError:
        return Unknown("the entry in grub.cfg has open quotes", text)
    return tuple(words[2:])


def _did_reset(status: int) -> bool:
    return bool(status & WDIOF_CARDRESET)


def _is_clean(said: list[str], *, asked: bool) -> Reading[bool] | None:
    if not asked:
        return Unknown("there is no journalctl")
    if not said:
        return None
    if any(_NO_RIGHT.search(line) for line in said):
        return Unknown("the journal needs root", said[0])
    if any(_NO_EARLIER.search(line) for line in said):
        return None
    return any(_ORDERLY.search(line) for line in said)
