"""The fabric: ACS between GPUs, isolation, link power states, BAR sizes."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.pci import AcsBits, Kind, PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import GpuMember, Plan
from rigspec.units import count
from rigspec.verify import pcie_health, pcie_links
from rigspec.verify.gpus import functions_of
from rigspec.verify.kernel import LINE_FIRST, because_of, running_fault
from rigspec.verify.kernel_line import ASPM
from rigspec.verify.observation import Observation
from rigspec.verify.pcie_links import GUEST, NO_GPU, gpu_paths
from rigspec.verify.verdict import Check, Verdict, listed

MIB = 1 << 20


def verify_pcie(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about the fabric."""
    yield acs(plan, seen)
    yield aspm(plan, seen)
    yield groups(plan, seen)
    yield from pcie_links.links(plan.preflight.gpus, seen)
    yield from pcie_links.uplinks(plan.pcie.uplinks, seen)
    yield from bars(plan.preflight.gpus, seen)
    yield pcie_health.frozen(seen)
    yield pcie_health.flaps(seen)
    yield pcie_health.errors(seen)


def bars(members: tuple[GpuMember, ...], seen: Observation) -> Iterator[Verdict]:
    """BAR1 of every card."""
    functions = functions_of(members, seen)
    for member in members:
        yield bar(member, functions[member.member], seen)


def acs(plan: Plan, seen: Observation) -> Verdict:
    """No bridge between two GPUs sends their traffic up to the CPU."""
    check = Check(
        "pcie.acs",
        "ACS on bridges between GPUs",
        "configuration space: ACSCtl",
        "ReqRedir- CmpltRedir- EgressCtrl-",
        "pcie.acs",
    )
    if not plan.pcie.acs_off:
        return check.not_applicable("`pcie.acs: keep`: whatever the kernel set stays")
    if seen.is_guest:
        return check.unknown(GUEST)
    paths = gpu_paths(seen.tree)
    if isinstance(paths, Unknown) or isinstance(seen.tree, Unknown):
        return check.unknown(paths if isinstance(paths, Unknown) else NO_GPU)
    bridges = seen.tree.bridges_between_gpus()
    if isinstance(bridges, Unknown):
        return check.unknown(bridges)
    unread = [b.acs for b in bridges if isinstance(b.acs, Unknown)]
    if unread:
        return check.unknown(unread[0], "run as root")
    able = [(b, b.acs) for b in bridges if b.acs is not None and not isinstance(b.acs, Unknown)]
    bad = [f"{bridge.address} {_bits(bridge)}" for bridge, bits in able if bits.ctl.redirects]
    if bad:
        return check.failed(
            listed(bad),
            "peer traffic climbs to the CPU and back instead of turning round in the switch",
            "look at: systemctl status rigspec-acs; systemctl reload rigspec-acs clears them again",
        )
    without = len(bridges) - len(able)
    more = f", {without} without the capability" if without else ""
    return check.passed(f"clear on {count(len(able), 'bridge')}{more}")


def _bits(bridge: PciFunction) -> str:
    bits = known(bridge.acs)
    if bits is None:
        return ""
    names = {"ReqRedir+": bits.ctl.req_redir, "CmpltRedir+": bits.ctl.cmplt_redir}
    names["EgressCtrl+"] = bits.ctl.egress_ctrl
    return " ".join(name for name, on in names.items() if on)


_ISOLATING = AcsBits.from_word(0x1D)
"""What Linux calls isolated: SrcValid, ReqRedir, CmpltRedir, UpstreamFwd (drivers/iommu/iommu.c,
REQ_ACS_FLAGS), as far as the port can."""


def groups(plan: Plan, seen: Observation) -> Verdict:
    """Groups are made at boot from the ACS bits: where both disagree, bits were written later.

    A card is alone in its group while every port above it isolates; else the port above joins it.
    """
    check = Check(
        "pcie.groups",
        "IOMMU groups agree with ACS",
        "/sys/kernel/iommu_groups, configuration space: ACSCtl",
        "each card's group as the bits above it say",
        "pcie.acs",
    )
    if seen.is_guest:
        return check.unknown(GUEST)
    if isinstance(seen.iommu, Unknown):
        return check.unknown(seen.iommu)
    if seen.iommu.groups == ():
        return check.not_applicable("no IOMMU groups, nothing is isolated")
    if isinstance(seen.tree, Unknown) or not seen.tree.gpus:
        return check.unknown(seen.tree if isinstance(seen.tree, Unknown) else NO_GPU)
    later, too_late, judged = [], [], 0
    for gpu in seen.tree.gpus:
        isolated = _isolated(seen.tree, gpu)
        if isinstance(isolated, Unknown):
            return check.unknown(isolated)
        group = seen.iommu.group_of(gpu.address)
        if isolated is None or group is None:
            continue
        judged += 1
        alone = known(gpu.parent or "") not in group.devices
        if isolated and not alone:
            later.append(f"{gpu.address} shares group {group.number} with the port above it")
        elif alone and not isolated:
            too_late.append(f"{gpu.address} is alone in group {group.number}")
    return _agreed(check, later, too_late, judged)


def _agreed(check: Check, later: list[str], too_late: list[str], judged: int) -> Verdict:
    if later:
        return check.failed(
            listed(later),
            "the ports redirect now and did not at boot: something wrote ACSCtl on the running "
            "system",
            "look at: journalctl -b -u rigspec-acs; grep -rl setpci /etc /usr/local; a reboot "
            "makes both agree",
        )
    if too_late:
        return check.warned(
            listed(too_late),
            "the groups promise an isolation that was switched off after they were made: do not "
            "hand one of these cards to a virtual machine",
            "look at: dmesg | grep -i acs: the kernel argument had no effect, only the unit did",
        )
    if not judged:
        return check.not_applicable("a port above every card has no ACS capability")
    return check.passed(f"{judged} cards")


def _isolated(tree: PciTree, gpu: PciFunction) -> Reading[bool] | None:
    """Whether all ports above a card isolate it; None where one cannot (no ACS capability)."""
    way = tree.path(gpu.address)
    if isinstance(way, Unknown):
        return way
    answer = True
    for port in way[:-1]:
        if port.kind is Kind.UPSTREAM:
            continue  # has no say: its switch's downstream ports have
        if port.acs is None or isinstance(port.acs, Unknown):
            return port.acs
        wanted = _ISOLATING.word & port.acs.cap.word
        answer = answer and port.acs.ctl.word & wanted == wanted
    return answer


def aspm(plan: Plan, seen: Observation) -> Verdict:
    """Link power states, at both ends of every link on GPU paths, from LnkCtl."""
    check = Check(
        "pcie.aspm", "ASPM on GPU paths", "configuration space: LnkCtl", "disabled", "pcie.aspm"
    )
    if not plan.pcie.aspm_off:
        return check.not_applicable("`pcie.aspm: firmware`: what the BIOS set stays")
    if seen.is_guest:
        return check.unknown(GUEST)
    steps = gpu_paths(seen.tree)
    if isinstance(steps, Unknown):
        return check.unknown(steps)
    unread = [s.aspm_enabled for s in steps if isinstance(s.aspm_enabled, Unknown)]
    if unread:
        return check.unknown(unread[0], "run as root")
    on = [
        f"{s.address} {'+'.join(states)}" for s in steps if (states := known(s.aspm_enabled or ()))
    ]
    if not on:
        return check.passed(f"disabled at {len(steps)} link ends")
    if said := running_fault(plan.kernel, seen).about(ASPM):
        return check.failed(listed(on), because_of(said), LINE_FIRST)
    return check.failed(
        listed(on),
        "links may sleep between transfers; `pcie_aspm=off` alone leaves what the firmware set",
        "look at: /sys/module/pcie_aspm/parameters/policy; dmesg | grep -i aspm; switch it off in "
        "the BIOS",
    )


def bar(member: GpuMember, function: Reading[PciFunction], seen: Observation) -> Verdict:
    """BAR1 covers the card's memory where Resizable BAR is declared."""
    check = Check(
        f"pcie.bar.{member.member}",
        f"{member.member}: BAR1",
        "sysfs resource",
        f"at least {member.bar1_mib} MiB" if member.bar1_mib else "",
        "pcie.resizable_bar",
    )
    if not member.resizable_bar or not member.bar1_mib:
        return check.not_applicable("`pcie.resizable_bar: false`, or unknown for this card")
    if seen.is_guest:
        return check.unknown(GUEST)
    if isinstance(function, Unknown):
        return check.unknown(function)
    size = function.largest_bar_bytes
    if isinstance(size, Unknown):
        return check.unknown(size)
    found = f"{size // MIB} MiB"
    if size >= member.bar1_mib * MIB:
        return check.passed(found)
    if seen.simulated:
        return check.not_applicable("the virtual rig has no Resizable BAR", found)
    return check.failed(
        found,
        "Resizable BAR is off: copies go through a small window",
        "switch on Above 4G Decoding and Resizable BAR in the BIOS (CSM off); or set "
        "`pcie.resizable_bar: false`",
    )
