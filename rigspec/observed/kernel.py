"""The running kernel: command line, IOMMU, modules, Secure Boot, and what it refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from rigspec.frozen import dataclass
from rigspec.observed.dressing import bare_lines
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.sections import section, trouble
from rigspec.observed.text import clean_lines, normal_bdf, read_bool

Sections = Mapping[str, Sequence[str]]


def split_cmdline(text: str) -> tuple[str, ...]:
    """Words of a kernel command line; blanks inside double quotes stay (`dyndbg="a b"`)."""
    words = re.findall(r'(?:[^\s"]|"[^"]*"?)+', text.strip())
    return tuple(words)


def cmdline_values(words: Iterable[str], key: str) -> tuple[str, ...]:
    """All values given to a parameter, in order; `-` and `_` are one in parameter names.

    A bare word counts as the empty value. Quotes around the value are dropped.
    """
    wanted = key.replace("-", "_")
    found = []
    for word in words:
        bare = word.strip('"') if word.count('"') == 2 and word[:1] == '"' else word
        name, _, value = bare.partition("=")
        if name.replace("-", "_") == wanted:
            found.append(value.strip('"'))
    return tuple(found)


@dataclass(frozen=True)
class OsRelease(Record):
    """`ID` and `VERSION_ID` of os-release: `debian` and `13`, `ubuntu` and `24.04`."""

    id: Reading[str]
    version_id: Reading[str]
    codename: Reading[str]


@dataclass(frozen=True)
class Host(Record):
    """What a host says about itself without root."""

    boot_id: Reading[str]
    release: Reading[str]
    machine: Reading[str]
    cmdline: Reading[tuple[str, ...]]
    os: OsRelease
    cpus_online: Reading[int]
    memory_total_kib: Reading[int]
    uptime_s: Reading[float]
    reboot_required: Reading[bool]
    uid: Reading[int]
    """User the probe ran as; 0 is root."""
    virtualization: Reading[str]
    """`none` on bare metal; in a guest PCI widths, ACS and BARs are not to be trusted."""


def parse_host_probe(sections: Sections) -> Reading[Host]:
    """The section `host`: `key=value` lines, then os-release as it is."""
    lines = section(sections, "host")
    if isinstance(lines, Unknown):
        return lines
    pairs = dict(line.split("=", 1) for line in lines if "=" in line)

    def get(key: str) -> Reading[str]:
        value = pairs.get(key, "").strip()
        return value or Unknown(f"`{key}` was not printed")

    cmdline = get("rig_cmdline")
    return Host(
        boot_id=get("rig_boot_id"),
        release=get("rig_release"),
        machine=get("rig_machine"),
        cmdline=cmdline if isinstance(cmdline, Unknown) else split_cmdline(cmdline),
        os=parse_os_release(lines),
        cpus_online=_number(get("rig_cpus")),
        memory_total_kib=_number(get("rig_memory_kib")),
        uptime_s=_decimal(get("rig_uptime")),
        reboot_required=_yes(get("rig_reboot_required")),
        uid=_number(get("rig_uid")),
        virtualization=get("rig_virt"),
    )


def _number(value: Reading[str]) -> Reading[int]:
    if isinstance(value, Unknown):
        return value
    return int(value) if value.isdecimal() else Unknown("not a number", value)


def _decimal(value: Reading[str]) -> Reading[float]:
    if isinstance(value, Unknown):
        return value
    try:
        return float(value)
    except ValueError:
        return Unknown("not a number", value)


def _yes(value: Reading[str]) -> Reading[bool]:
    return value if isinstance(value, Unknown) else read_bool(value)


def parse_os_release(text: str | Iterable[str]) -> OsRelease:
    """`/etc/os-release`, quotes dropped."""
    pairs = dict(line.split("=", 1) for line in bare_lines(text) if "=" in line)

    def get(key: str) -> Reading[str]:
        value = pairs.get(key, "").strip().strip("\"'")
        return value or Unknown(f"os-release has no {key}")

    return OsRelease(get("ID"), get("VERSION_ID"), get("VERSION_CODENAME"))


@dataclass(frozen=True)
class IommuGroup(Record):
    """One IOMMU group: `identity` is passthrough, `DMA` or `DMA-FQ` is translated."""

    number: int
    type: Reading[str]
    devices: tuple[str, ...]


@dataclass(frozen=True)
class Iommu(Record):
    """The IOMMU in effect: units in /sys/class/iommu, firmware tables, groups."""

    units: Reading[tuple[str, ...]]
    """`ivhd0`, `dmar0`, …; empty is off."""
    firmware_tables: Reading[tuple[str, ...]]
    """`IVRS`, `DMAR` where the firmware offers an IOMMU."""
    groups: Reading[tuple[IommuGroup, ...]]

    def group_of(self, address: str) -> IommuGroup | None:
        """The group of a PCI function, None without one."""
        groups = () if isinstance(self.groups, Unknown) else self.groups
        return next((group for group in groups if address in group.devices), None)


def parse_iommu_probe(sections: Sections) -> Reading[Iommu]:
    """The section `iommu`: lines `unit X`, `table X`, `group N TYPE DEVICE…`."""
    lines = section(sections, "iommu")
    if isinstance(lines, Unknown):
        return lines
    words = [line.split() for line in lines if line.strip()]
    groups = [
        IommuGroup(
            int(w[1]),
            w[2] if w[2] != "?" else Unknown("group has no readable type"),
            tuple(normal_bdf(device) or device for device in w[3:]),
        )
        for w in words
        if len(w) >= 3 and w[0] == "group" and w[1].isdecimal()
    ]
    return Iommu(
        units=tuple(w[1] for w in words if w[0] == "unit" and len(w) > 1),
        firmware_tables=tuple(w[1] for w in words if w[0] == "table" and len(w) > 1),
        groups=tuple(sorted(groups, key=lambda group: group.number)),
    )


@dataclass(frozen=True)
class Modules(Record):
    """Loaded modules, their parameters, and the NVIDIA driver's own words."""

    loaded: Reading[tuple[str, ...]]
    parameters: Mapping[str, str]
    """`nvidia_uvm.uvm_disable_hmm` to its value, for modules of interest."""
    nvidia_version: Reading[str] | None
    """Version of the loaded NVIDIA module; None: it is not loaded."""
    nvidia_is_open: Reading[bool] | None
    nvidia_params: Mapping[str, str]
    """`/proc/driver/nvidia/params`: the only place where RegistryDwords can be read back."""


_NVRM = re.compile(r"(?:^NVRM version:|NVRM: loading NVIDIA UNIX)\s*(.*)")
_VERSION = re.compile(r"\b(\d{3}\.\d{2,3}(?:\.\d{2})?)\b")


def parse_modules_probe(sections: Sections) -> Reading[Modules]:
    """The sections `modules` (/proc/modules and parameters) and `nvidia-proc`."""
    lines = section(sections, "modules")
    if isinstance(lines, Unknown):
        return lines
    loaded, parameters = [], {}
    for line in lines:
        match = re.match(r"^/sys/module/(\w+)/parameters/(\w+):(.*)$", line)
        if match:
            parameters[f"{match.group(1)}.{match.group(2)}"] = match.group(3).strip()
        elif re.match(r"^\w+ \d+ \d+ ", line):
            loaded.append(line.split()[0])
    seen: Reading[tuple[str, ...]] = tuple(loaded) or trouble(sections["modules"]) or ()
    driver = sections.get("nvidia-proc")
    if driver is None:
        unread = Unknown("section `nvidia-proc` was not printed")
        return Modules(seen, parameters, unread, unread, {})
    version, is_open = parse_driver_version(driver)
    params = dict(line.split(": ", 1) for line in driver if re.match(r"^\w+: ", line))
    return Modules(seen, parameters, version, is_open, params)


def parse_driver_version(
    text: str | Iterable[str],
) -> tuple[Reading[str] | None, Reading[bool] | None]:
    """`/proc/driver/nvidia/version`, or the driver's first line in the kernel log.

    Its version, and whether it is the open kernel module.
    """
    for line in bare_lines(text):
        match = _NVRM.search(line.strip())
        if match:
            version = _VERSION.search(match.group(1))
            found = version.group(1) if version else Unknown("no version in the line", line)
            return found, "Open Kernel Module" in line
    return None, None


@dataclass(frozen=True)
class SecureBoot(Record):
    """Secure Boot of the firmware and the kernel's lockdown."""

    enabled: Reading[bool]
    """False also where there is no UEFI: legacy BIOS cannot verify anything."""
    is_uefi: Reading[bool]
    lockdown: Reading[str]
    """`none`, `integrity` or `confidentiality`; other than none, setpci writes are refused."""


def parse_secure_boot_probe(sections: Sections) -> Reading[SecureBoot]:
    """The section `secure-boot`: `uefi yes|no`, `efivar 06 00 00 00 01`, `lockdown …`."""
    lines = section(sections, "secure-boot")
    if isinstance(lines, Unknown):
        return lines
    found = {w[0]: w[1:] for line in lines if (w := line.split())}
    uefi = found.get("uefi", [])
    is_uefi: Reading[bool] = uefi == ["yes"] if uefi else Unknown("`uefi` was not printed")
    lockdown = re.search(r"\[(\w+)\]", " ".join(found.get("lockdown", [])))
    variable = found.get("efivar", [])
    enabled: Reading[bool] = Unknown("SecureBoot variable cannot be read", " ".join(variable))
    if len(variable) == 5:  # four bytes of attributes, then the value
        enabled = variable[4] == "01"
    elif is_uefi is False:
        enabled = False
    return SecureBoot(
        enabled,
        is_uefi,
        lockdown.group(1) if lockdown else Unknown("kernel has no lockdown file"),
    )


def parse_aspm_policy(text: str | Iterable[str]) -> Reading[str]:
    """`/sys/module/pcie_aspm/parameters/policy`: the word in brackets."""
    flat = " ".join(clean_lines(text))
    match = re.search(r"\[(\w+)\]", flat)
    return match.group(1) if match else Unknown("no policy is marked", flat.strip())


@dataclass(frozen=True)
class RefusedOption(Record):
    """A line in which the kernel says that it did not understand an option."""

    option: str
    line: str
    is_proof: bool
    """False for "Unknown kernel command line parameters": working options appear there too."""


_REFUSED = (
    (re.compile(r"PCI: Unknown option [`'\"]?([^'\"`]*)"), True),
    (re.compile(r"AMD-Vi: Unknown option - ['\"]?([^'\"]*)"), True),
    (re.compile(r"(?:DMAR|Intel-IOMMU): Unknown option - ['\"]?([^'\"]*)"), True),
    (re.compile(r"PCI: Can't parse ACS command line parameter\s*(.*)"), True),
    (re.compile(r"Malformed (?:early )?option '([^']*)"), True),
    (re.compile(r'Unknown kernel command line parameters? "([^"]*)"'), False),
)


def find_refused_options(text: str | Iterable[str]) -> tuple[RefusedOption, ...]:
    """What the kernel log says about options it did not take."""
    found = []
    for line in clean_lines(text):
        for pattern, is_proof in _REFUSED:
            match = pattern.search(line)
            if match:
                options = [match.group(1).strip()] if is_proof else split_cmdline(match.group(1))
                found += [RefusedOption(option, line.strip(), is_proof) for option in options]
                break
    return tuple(found)
