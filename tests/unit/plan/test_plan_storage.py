from __future__ import annotations

import subprocess
from collections.abc import Callable

import pytest
from plan_bench import tool

from rigspec.plan.storage import device_path, mount_unit, plan_storage
from rigspec.spec.rig import Rig


@pytest.mark.parametrize(
    "path",
    ["/", "/srv/models", "/srv//models/", "/srv/my-models", "/.hidden", "/a/.b", "/x@y+z=1_2.3"],
)
def test_mount_unit_is_named_as_systemd_names_it(path: str) -> None:
    done = subprocess.run(
        [tool("systemd-escape", "systemd"), "--path", "--suffix=mount", path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert mount_unit(path) == done.stdout.strip()


@pytest.mark.parametrize(
    ("device", "path"),
    [
        # systemd.device(5) and udev's 60-persistent-storage.rules: where the links are
        ("LABEL=weights", "/dev/disk/by-label/weights"),
        ("UUID=0a1b-2c3d", "/dev/disk/by-uuid/0a1b-2c3d"),
        ("PARTUUID=0a1b", "/dev/disk/by-partuuid/0a1b"),
        ("LABEL=a/b", r"/dev/disk/by-label/a\x2fb"),
        ("/dev/nvme0n1p2", "/dev/nvme0n1p2"),
    ],
)
def test_device_is_a_path_systemd_can_wait_for(device: str, path: str) -> None:
    assert device_path(device) == path


def test_folder_on_a_mounted_disk_needs_no_unit(make_rig: Callable[..., Rig]) -> None:
    (mount,) = plan_storage(make_rig())
    assert (mount.unit, mount.files) == (None, ())


@pytest.mark.parametrize(
    ("options", "pulled_by"),
    [("defaults,nofail", "WantedBy=multi-user.target"), ("noatime", "RequiredBy=local-fs.target")],
)
def test_missing_disk_stops_the_boot_only_without_nofail(
    make_rig: Callable[..., Rig], options: str, pulled_by: str
) -> None:
    weights = {"device": "LABEL=weights", "options": options}
    (mount,) = plan_storage(make_rig(storage={"weights": weights}))
    assert mount.unit == "srv-models.mount"
    assert pulled_by in mount.files[0].content
    assert f"Options={options}" in mount.files[0].content
