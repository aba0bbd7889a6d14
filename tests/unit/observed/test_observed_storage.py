"""Mounts, block devices and space: absent and unreadable are two things."""

from __future__ import annotations

from rigspec.observed import storage
from rigspec.observed.record import Unknown


def test_storage_mounts_devices_and_space() -> None:
    found = storage.parse_storage_probe(
        {
            "findmnt": [
                'TARGET="/" SOURCE="/dev/md0" FSTYPE="ext4" OPTIONS="rw" SIZE="100" AVAIL="9"',
                'TARGET="/srv/my\\x20models" SOURCE="tank/models" FSTYPE="zfs" SIZE="" AV',
            ],
            "lsblk": [
                'NAME="nvme0n1" PATH="/dev/nvme0n1" TYPE="disk" SIZE="2000398934016" FSTYPE="" '
                'LABEL="" UUID="" MODEL="Samsung SSD 990 PRO" MOUNTPOINT=""'
            ],
            "df": [
                "Filesystem 1024-blocks Used Available Capacity Mounted on",
                "tank/models  3906250 1953125 1953125  50% /srv/my models",
            ],
        }
    )
    mount = found.mount_of("/srv/my models/q/config.json")
    assert mount is not None and not isinstance(mount, Unknown)
    assert mount.fstype == "zfs" and isinstance(mount.size_bytes, Unknown)
    root = found.mount_of("/srv/mymodels")
    assert root is not None and not isinstance(root, Unknown) and root.target == "/"
    assert not isinstance(found.devices, Unknown)
    assert found.devices[0].model == "Samsung SSD 990 PRO"
    assert not isinstance(found.space, Unknown)
    assert found.space[0].available_bytes == 1953125 * 1024
    assert isinstance(storage.parse_storage_probe({}).mounts, Unknown)


def test_blkid_lines() -> None:
    tags = storage.parse_blkid('/dev/sda1: LABEL="my disk" UUID="1-2" TYPE="ext4"\nrubbish\n')
    assert tags == {"/dev/sda1": {"LABEL": "my disk", "UUID": "1-2", "TYPE": "ext4"}}


def test_df_counts_in_the_blocks_of_its_head_and_inodes_are_no_bytes() -> None:
    row = "/dev/vda3 62031 49197 9680 84% /\n"
    (mega,) = storage.parse_df(f"Filesystem     2MB-blocks  Used Available Use% Mounted on\n{row}")
    assert (mega.size_bytes, mega.available_bytes) == (62031 * 2_000_000, 9680 * 2_000_000)
    assert storage.parse_df(row)[0].size_bytes == 62031 * 1024
    assert storage.parse_df(f"Filesystem Inodes  IUsed IFree IUse% Mounted on\n{row}") == ()
    typed = "Filesystem Type 1024-blocks Used Available Capacity Mounted on\n"
    (space,) = storage.parse_df(typed + "/dev/mapper/vg-lv ext4 6030784 1147932 4571556 21% /srv\n")
    assert (space.source, space.size_bytes) == ("/dev/mapper/vg-lv", 6030784 * 1024)
