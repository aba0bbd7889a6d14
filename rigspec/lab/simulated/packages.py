"""The simulated NVIDIA packages: real names and dependency shape, stand-in contents.

Names follow NVIDIA's repository for Debian: up to branch 580 metapackages carry the branch in their
name (`nvidia-open-580`), from 590 on a pinning package fixes the branch and the names are plain
(NVIDIA driver installation guide, "Version locking").
"""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
DRIVERS = ("580.95.05", "580.105.08", "590.48.01", "595.71.05", "595.84")
TOOLKITS = ("1.18.0", "1.18.1")
SIM = "/usr/lib/nvidia-sim"
FIRST_UNVERSIONED_BRANCH = 590

# what a real package's maintainer script does for its unit, without debhelper; enabling also makes
# systemd read unit files again
POSTINST = """#!/bin/sh
set -e
if [ "$1" = configure ] && [ -d /run/systemd/system ]; then
  {steps}
fi
"""


@dataclass(frozen=True)
class Contents:
    """A file of a package."""

    text: str
    mode: int = 0o644


@dataclass(frozen=True)
class Package:
    """A binary package: its control fields and its files by path."""

    name: str
    version: str
    depends: tuple[str, ...] = ()
    files: dict[str, Contents] = field(default_factory=dict)
    postinst: str = ""
    conflicts: tuple[str, ...] = ()

    @property
    def control(self) -> str:
        """The control file."""
        fields = {
            "Package": self.name,
            "Version": self.version,
            "Architecture": "amd64",
            "Maintainer": "rigspec lab <lab@rigspec.invalid>",
            "Section": "non-free/admin",
            "Priority": "optional",
            "Depends": ", ".join(self.depends),
            "Conflicts": ", ".join(self.conflicts),
            "Description": f"simulated {self.name} of the rigspec lab",
        }
        return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


@dataclass(frozen=True)
class GpuFacts:
    """What the simulated driver knows about one kind of card; watts, MiB and MHz."""

    vendor_id: int
    device_id: int
    subsystem: tuple[int, int]
    name: str
    memory_mib: int
    power_min_w: int
    power_default_w: int
    power_max_w: int
    compute_capability: str
    max_clock_mhz: int

    @property
    def case(self) -> str:
        """One branch of the `case` by which the tools know it."""
        ids = (self.vendor_id, self.device_id, *self.subsystem)
        return (
            f"  {':'.join(f'{number:04x}' for number in ids)}) name={shlex.quote(self.name)}"
            f" memory={self.memory_mib} min={self.power_min_w} default={self.power_default_w}"
            f" max={self.power_max_w} capability={self.compute_capability}"
            f" clock={self.max_clock_mhz} ;;\n"
        )


SIM_FACTS = """\
# sim_facts KEY: sets name memory min default max capability clock; from the catalog of rigspec
sim_facts() {{
  name='NVIDIA Graphics Device' memory=0 min=0 default=0 max=0 capability=0.0 clock=0
  case $1 in
{cases}  esac
}}
"""


def _source(path: str, mode: int = 0o644) -> Contents:
    return Contents((HERE / path).read_text(), mode)


def all_packages(gpus: Iterable[GpuFacts]) -> tuple[Package, ...]:
    """Every package of the repository, for a world in which these cards exist."""
    table = SIM_FACTS.format(cases="".join(sorted({gpu.case for gpu in gpus})))
    drivers = (package for version in DRIVERS for package in driver_packages(version, table))
    toolkits = (package for version in TOOLKITS for package in toolkit_packages(version))
    # nothing is compiled here, and the real ones bring a compiler of 150 MB
    headers = Package("linux-headers-amd64", "999~simulated")
    return (headers, *drivers, *toolkits)


def driver_packages(version: str, table: str) -> Iterator[Package]:
    """The packages of one driver version."""
    full, branch = f"{version}-1", version.split(".", maxsplit=1)[0]

    def same(*names: str) -> tuple[str, ...]:
        return tuple(f"{name} (= {full})" for name in names)

    for name in ("firmware-nvidia-gsp", "nvidia-modprobe", "libnvidia-ml1", "libcuda1"):
        yield Package(name, full)
    yield from _kernel_packages(version)
    start = POSTINST.format(steps="systemctl enable -q --now nvidia-persistenced || :")
    yield Package("nvidia-persistenced", full, files=_persistence_files(), postinst=start)
    module = f"nvidia-kernel-open-dkms (= {full}) | nvidia-kernel-dkms (= {full})"
    libraries = same("libcuda1", "libnvidia-ml1", "nvidia-persistenced", "nvidia-modprobe")
    files = _tool_files(version, table)
    yield Package("nvidia-driver-cuda", full, (*libraries, module), files)
    yield Package("nvidia-driver", full, (*same("nvidia-driver-cuda"), module))
    open_parts = same("nvidia-driver", "nvidia-driver-cuda", "nvidia-kernel-open-dkms")
    closed_parts = same("nvidia-driver", "nvidia-driver-cuda", "nvidia-kernel-dkms")
    yield Package("nvidia-open", full, open_parts)
    yield Package("cuda-drivers", full, closed_parts)
    if int(branch) < FIRST_UNVERSIONED_BRANCH:
        yield Package(f"nvidia-open-{branch}", full, open_parts)
        yield Package(f"cuda-drivers-{branch}", full, closed_parts)
    for wanted in (branch, version):
        yield _pinning(wanted, full)


def _kernel_packages(version: str) -> Iterator[Package]:
    full = f"{version}-1"
    unit = "/usr/lib/systemd/system/nvidia-sim-module.service"
    load = POSTINST.format(steps=f"systemctl enable -q {unit}\n  {SIM}/load-module || :")
    flavours = {"nvidia-kernel-open-dkms": "open", "nvidia-kernel-dkms": "proprietary"}
    for name, flavour in flavours.items():
        files = {
            f"{SIM}/load-module": _source("driver/load-module", 0o755),
            f"{SIM}/module-version": Contents(f"{version}\n"),
            f"{SIM}/flavour": Contents(f"{flavour}\n"),
            f"{SIM}/lib.sh": _source("driver/lib.sh"),
            unit: _source("driver/nvidia-sim-module.service"),
        }
        others = tuple(other for other in flavours if other != name)
        firmware = (f"firmware-nvidia-gsp (= {full})",)
        yield Package(name, full, firmware, files, load, others)


def _persistence_files() -> dict[str, Contents]:
    unit = "/usr/lib/systemd/system/nvidia-persistenced.service"
    return {
        "/usr/bin/nvidia-persistenced": _source("driver/nvidia-persistenced", 0o755),
        unit: _source("driver/nvidia-persistenced.service"),
    }


def _tool_files(version: str, table: str) -> dict[str, Contents]:
    return {
        "/usr/bin/nvidia-smi": _source("driver/nvidia-smi", 0o755),
        f"{SIM}/report.sh": _source("driver/report.sh"),
        f"{SIM}/query-fields.sh": _source("driver/query-fields.sh"),
        f"{SIM}/version": Contents(f"{version}\n"),
        f"{SIM}/gpus.sh": Contents(table),
    }


def _pinning(wanted: str, full: str) -> Package:
    # globs, because NVIDIA's list of names changes from branch to branch; the toolkit stays free
    names = (
        "nvidia-open* nvidia-driver nvidia-driver-cuda nvidia-kernel-* nvidia-modprobe "
        "nvidia-persistenced libnvidia-ml1 libcuda1 cuda-drivers* firmware-nvidia-gsp"
    )
    text = (
        "# simulated by the rigspec lab\n"
        f"Package: {names}\nPin: version {wanted}*\nPin-Priority: 1000\n"
    )
    path = f"/etc/apt/preferences.d/nvidia-driver-pinning-{wanted}"
    return Package(f"nvidia-driver-pinning-{wanted}", full, files={path: Contents(text)})


def toolkit_packages(version: str) -> Iterator[Package]:
    """The four packages of one container toolkit version."""
    full = f"{version}-1"
    units = "/usr/lib/systemd/system"
    refresh = ("nvidia-cdi-refresh.service", "nvidia-cdi-refresh.path")
    files = {
        "/usr/bin/nvidia-ctk": _source("toolkit/nvidia-ctk", 0o755),
        f"{SIM}/toolkit-version": Contents(f"{version}\n"),
        **{f"{units}/{unit}": _source(f"toolkit/{unit}") for unit in refresh},
    }
    start = POSTINST.format(steps=f"systemctl enable -q --now {' '.join(reversed(refresh))} || :")
    runtime = Contents('#!/bin/sh\n# simulated\nexec runc "$@"\n', 0o755)
    yield Package("libnvidia-container1", full)
    yield Package("libnvidia-container-tools", full, (f"libnvidia-container1 (= {full})",))
    yield Package("nvidia-container-toolkit-base", full, files=files, postinst=start)
    yield Package(
        "nvidia-container-toolkit",
        full,
        (
            f"nvidia-container-toolkit-base (= {full})",
            f"libnvidia-container-tools (= {full})",
        ),
        {"/usr/bin/nvidia-container-runtime": runtime},
    )
