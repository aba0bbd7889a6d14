"""How the boot before ended, from what journalctl, pstore and watchdogs show."""

from __future__ import annotations

import pytest

from rigspec.observed.last_boot import LastBoot, parse_last_boot_probe, parse_next_boot_probe
from rigspec.observed.record import Unknown


def parsed(*lines: str) -> LastBoot:
    found = parse_last_boot_probe({"last-boot": lines})
    assert isinstance(found, LastBoot)
    return found


@pytest.mark.parametrize(
    "line",
    [
        "Journal stopped",
        "Received SIGTERM from PID 1 (systemd-shutdow).",
        "Reached target reboot.target - System Reboot.",
        "Reached target Power-Off.",
        "Shutting down.",
    ],
)
def test_a_shutdown_is_seen_by_its_last_lines(line: str) -> None:
    assert parsed("journal", "Stopping something", line).is_clean is True


def test_a_log_that_ends_in_work_was_cut_off() -> None:
    found = parsed("journal", "INFO: 172.17.0.1 POST /v1/chat/completions", "usb 1-1: new device")
    assert found.is_clean is False
    assert found.last_line == "usb 1-1: new device"


@pytest.mark.parametrize(
    "lines",
    [
        (),
        ("Specifying boot ID or boot offset has no effect, no persistent journal was found.",),
        ("No journal boot entry found from the specified boot offset (-1).",),
        ("Data from the specified boot (-1) is not available: No such boot ID in journal",),
    ],
)
def test_no_earlier_boot_is_not_a_crash(lines: tuple[str, ...]) -> None:
    assert parsed("journal", *lines).is_clean is None


def test_what_may_not_be_read_is_unknown() -> None:
    denied = parsed("journal", "No journal files were opened due to insufficient permissions.")
    assert isinstance(denied.is_clean, Unknown)
    absent = parsed("watchdog watchdog0 0", "##RIG-ABSENT journalctl")
    assert isinstance(absent.is_clean, Unknown)
    assert isinstance(parse_last_boot_probe({}), Unknown)
    assert isinstance(parse_last_boot_probe({"last-boot": ["##RIG-ABSENT journalctl"]}), Unknown)


def test_only_a_watchdog_that_reset_the_machine_counts() -> None:
    # bit 5 is WDIOF_CARDRESET; 0x8000 (keepalive) alone is no reset
    found = parsed("watchdog watchdog0 32", "watchdog watchdog1 32768", "watchdog watchdog2 x")
    assert found.watchdogs == ("watchdog0 reset the machine (bootstatus 32)",)


def test_every_file_of_a_dying_kernel_is_named() -> None:
    found = parsed("record /sys/fs/pstore/dmesg-efi-1", "record /var/lib/systemd/pstore/17")
    assert found.crash_records == ("/sys/fs/pstore/dmesg-efi-1", "/var/lib/systemd/pstore/17")


def test_the_next_boot_is_grubs_first_entry() -> None:
    line = '\tlinux\t/boot/vmlinuz-6.12 root=UUID=1 ro iommu=pt "pci=disable_acs_redir=a;b"'
    assert parse_next_boot_probe({"next-boot": [line]}) == (
        "root=UUID=1",
        "ro",
        "iommu=pt",
        "pci=disable_acs_redir=a;b",
    )


@pytest.mark.parametrize("line", ["", '\tlinux /boot/vmlinuz "ro', "##RIG-ABSENT /boot/grub.cfg"])
def test_a_next_boot_that_cannot_be_read_is_unknown(line: str) -> None:
    assert isinstance(parse_next_boot_probe({"next-boot": [line]}), Unknown)
