"""The machine itself: operating system, CPU, rights, room on the disk, Secure Boot."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.record import Unknown
from rigspec.plan.preflight import INSTALLED_FREE_GIB
from rigspec.plan.sections import Plan
from rigspec.units import GIB
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict

_VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}

ENROL = """\
    apt-get install dkms mokutil && dkms generate_mok
    mokutil --import /var/lib/dkms/mok.pub     (choose a one-time password)
    reboot, and at the console: Enroll MOK, Continue, Yes, the password
this step needs a screen or a BMC: it cannot be done over SSH"""
"""How an owner makes the firmware trust the key that DKMS signs modules with."""


def verify_host(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about the machine itself."""
    yield operating_system(plan, seen)
    yield architecture(seen)
    yield cpu(plan, seen)
    yield rights(seen)
    yield root_space(plan, seen)
    yield secure_boot(plan, seen)
    yield signing_key(plan, seen)


def operating_system(plan: Plan, seen: Observation) -> Verdict:
    """The OS is the declared one: package names and files follow from it."""
    check = Check("host.os", "operating system", "/etc/os-release", plan.preflight.os, "host.os")
    if isinstance(seen.host, Unknown):
        return check.unknown(seen.host)
    name, version = seen.host.os.id, seen.host.os.version_id
    for reading in (name, version):
        if isinstance(reading, Unknown):
            return check.unknown(reading)
    found = f"{name}-{version}"
    if found == plan.preflight.os:
        return check.passed(found)
    return check.failed(
        found,
        "the spec was planned for another system",
        "correct `host.os` if rigspec supports this one (`rigspec schema` lists them), or install "
        f"{plan.preflight.os}",
    )


def architecture(seen: Observation) -> Verdict:
    """Drivers and images are planned for x86_64."""
    check = Check("host.arch", "architecture", "uname -m", "x86_64")
    if isinstance(seen.host, Unknown):
        return check.unknown(seen.host)
    machine = seen.host.machine
    if isinstance(machine, Unknown):
        return check.unknown(machine)
    if machine == "x86_64":
        return check.passed(machine)
    return check.failed(machine, "only x86_64 is supported", "use another machine")


def cpu(plan: Plan, seen: Observation) -> Verdict:
    """The CPU vendor decides which IOMMU words the kernel understands."""
    check = Check("host.cpu", "CPU vendor", "/proc/cpuinfo", plan.preflight.cpu, "host.cpu")
    if isinstance(seen.cpu_vendor, Unknown):
        return check.unknown(seen.cpu_vendor)
    found = _VENDORS.get(seen.cpu_vendor, seen.cpu_vendor)
    if found == plan.preflight.cpu:
        return check.passed(found)
    if seen.simulated:
        return check.not_applicable("the virtual rig's CPU is emulated", found)
    return check.failed(
        found, "the kernel would not understand its arguments", "correct `host.cpu`"
    )


def rights(seen: Observation) -> Verdict:
    """Without root, half of what is read would be missing."""
    check = Check("host.root", "runs as root", "id -u", "0", "host.sudo")
    if isinstance(seen.host, Unknown):
        return check.unknown(seen.host)
    if isinstance(seen.host.uid, Unknown):
        return check.unknown(seen.host.uid)
    if seen.host.uid == 0:
        return check.passed("0")
    return check.failed(
        str(seen.host.uid), "the commands do not run as root", "set `host.sudo: true` in the spec"
    )


def root_space(plan: Plan, seen: Observation) -> Verdict:
    """Room for what is still to be installed."""
    wanted = INSTALLED_FREE_GIB if _is_installed(plan, seen) else plan.preflight.min_root_free_gib
    check = Check("host.space", "room on /", "df -P -k", f"at least {wanted} GiB free")
    if isinstance(seen.storage.space, Unknown):
        return check.unknown(seen.storage.space)
    root = next((space for space in seen.storage.space if space.target == "/"), None)
    if root is None:
        return check.unknown("df does not list /")
    if isinstance(root.available_bytes, Unknown):
        return check.unknown(root.available_bytes)
    found = f"{root.available_bytes / GIB:.1f} GiB free"
    if root.available_bytes >= wanted * GIB:
        return check.passed(found)
    return check.failed(
        found,
        f"the disk {root.source} is nearly full",
        "look at: du -xh -d 1 / | sort -h; apt-get clean; docker system df",
    )


def _is_installed(plan: Plan, seen: Observation) -> bool:
    if isinstance(seen.packages, Unknown):
        return False
    names = [*plan.driver.packages, *plan.containers.packages]
    return all(seen.packages.version(package.name) for package in names)


def secure_boot(plan: Plan, seen: Observation) -> Verdict:
    """Found as declared: a driver without an enrolled key does not load under Secure Boot."""
    wanted = plan.preflight.secure_boot
    field = "driver.secure_boot"
    check = Check("host.secure-boot", "Secure Boot", "EFI variable SecureBoot", wanted, field)
    if isinstance(seen.secure_boot, Unknown):
        return check.unknown(seen.secure_boot)
    if isinstance(seen.secure_boot.enabled, Unknown):
        return check.unknown(seen.secure_boot.enabled)
    found = "on" if seen.secure_boot.enabled else "off"
    if found == wanted:
        return check.passed(found)
    if found == "off":
        return check.failed(
            found,
            "the firmware does not check signatures",
            "switch it on in the BIOS, or set `driver.secure_boot: off`",
        )
    return check.failed(
        found,
        "the kernel refuses drivers that are not signed by an enrolled key, and ACS cannot be "
        "changed at run time",
        "either switch Secure Boot off in the BIOS, or enrol a key and set "
        f"`driver.secure_boot: on`:\n{ENROL}",
    )


def signing_key(plan: Plan, seen: Observation) -> Verdict:
    """Under Secure Boot, the key that signs the driver must be trusted before it is built."""
    check = Check(
        "host.signing-key",
        "driver's signing key",
        "mokutil --test-key",
        "enrolled",
        "driver.secure_boot",
    )
    if plan.preflight.secure_boot == "off":
        return check.not_applicable("`driver.secure_boot: off`")
    if seen.simulated:
        return check.not_applicable("the virtual rig builds no kernel module")
    if isinstance(seen.key_enrolled, Unknown):
        return check.unknown(seen.key_enrolled)
    if seen.key_enrolled:
        return check.passed("enrolled")
    return check.failed("not enrolled", "the driver would not load", ENROL)
