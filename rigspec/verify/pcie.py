"""The fabric: ACS between GPUs, link states, widths at both ends, BAR sizes."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.pci import Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.sections import GpuMember, Plan
from rigspec.verify.gpus import functions_of
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

GUEST = Unknown("this is a guest: a hypervisor shows what it likes; run it on the host")
MIB = 1 << 20


def verify_pcie(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about the fabric."""
    yield acs(plan, seen)
    yield aspm(plan, seen)
    yield from links(plan.preflight.gpus, seen)
    yield uplinks(seen)
    yield from bars(plan.preflight.gpus, seen)


def links(members: tuple[GpuMember, ...], seen: Observation) -> Iterator[Verdict]:
    """Width and generation of every card's link."""
    functions = functions_of(members, seen)
    for member in members:
        yield width(member, functions[member.member], seen)
        yield generation(member, functions[member.member], seen)


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
    return check.passed(f"clear on {len(able)} bridges{more}")


def _bits(bridge: PciFunction) -> str:
    bits = known(bridge.acs)
    if bits is None:
        return ""
    names = {"ReqRedir+": bits.ctl.req_redir, "CmpltRedir+": bits.ctl.cmplt_redir}
    names["EgressCtrl+"] = bits.ctl.egress_ctrl
    return " ".join(name for name, on in names.items() if on)


def aspm(plan: Plan, seen: Observation) -> Verdict:
    """Link power states, at both ends of every link on GPU paths, from LnkCtl."""
    check = Check("pcie.aspm", "ASPM on GPU paths", "configuration space: LnkCtl", "disabled")
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
    return check.failed(
        listed(on),
        "links may sleep between transfers; `pcie_aspm=off` alone leaves what the firmware set",
        "look at: /sys/module/pcie_aspm/parameters/policy; dmesg | grep -i aspm; switch it off in "
        "the BIOS",
    )


NO_GPU = Unknown("no GPU is on the PCI bus")


def gpu_paths(tree: Reading[PciTree]) -> Reading[tuple[PciFunction, ...]]:
    """Every function on the way from a root port to a GPU, once."""
    if isinstance(tree, Unknown):
        return tree
    if not tree.gpus:
        return NO_GPU
    found: dict[str, PciFunction] = {}
    for gpu in tree.gpus:
        way = tree.path(gpu.address)
        if isinstance(way, Unknown):
            return way
        found |= {step.address: step for step in way}
    return tuple(found.values())


def link_of(function: PciFunction, tree: PciTree) -> Reading[tuple[Link, Link]]:
    """What a function's link runs at (status) and what both its ends can (the smaller)."""
    parent = tree.by_address.get(known(function.parent or "") or "")
    ends = [end for end in (function, parent) if end is not None and end.link_cap is not None]
    states: list[Link] = []
    for end in ends:
        for link in (end.link_status, end.link_cap):
            if link is None or isinstance(link, Unknown):
                return link or Unknown(f"{end.address} has no PCI Express link")
            states.append(link)
    if not states:
        return Unknown(f"{function.address} has no PCI Express link")
    status, cap = states[0::2], states[1::2]
    return _smallest(status), _smallest(cap)


def _smallest(links: list[Link]) -> Link:
    def least(values: list[Reading[int]]) -> Reading[int]:
        numbers = [v for v in values if not isinstance(v, Unknown)]
        return min(numbers) if len(numbers) == len(values) else Unknown("link register unread")

    return Link(least([link.gen for link in links]), least([link.width for link in links]))


def width(member: GpuMember, function: Reading[PciFunction], seen: Observation) -> Verdict:
    """Lanes as declared; they never drop at idle, so this is judged always."""
    check = Check(
        f"pcie.width.{member.member}",
        f"{member.member}: link width",
        "sysfs current_link_width, both ends",
        f"x{member.link_width}",
    )
    link = _link(function, seen)
    if isinstance(link, Unknown):
        return check.unknown(link)
    found = link[0].width
    if isinstance(found, Unknown):
        return check.unknown(found)
    slot = "" if isinstance(function, Unknown) else f" at {function.address}"
    if found >= member.link_width:
        return check.passed(f"x{found}{slot}")
    can = known(link[1].width)
    if can is not None and can < member.link_width:
        reason = f"one end of the link can only x{can}: slot, riser or bifurcation is narrower"
        return check.failed(
            f"x{found}{slot}",
            reason,
            "look at: the board's slot table, BIOS bifurcation; or correct `pcie.width`",
        )
    return check.failed(
        f"x{found}{slot}",
        f"both ends can x{can or '?'}, but lanes are missing: bad contact, cable or riser",
        "look at: seating of card and riser, SlimSAS or MCIO cables (each carries x8); then a cold "
        "start",
    )


def _link(function: Reading[PciFunction], seen: Observation) -> Reading[tuple[Link, Link]]:
    if seen.is_guest:
        return GUEST
    if isinstance(function, Unknown):
        return function
    if isinstance(seen.tree, Unknown):
        return seen.tree
    return link_of(function, seen.tree)


def generation(member: GpuMember, function: Reading[PciFunction], seen: Observation) -> Verdict:
    """Speed: idle cards slow their links down, so a low one proves nothing without load."""
    check = Check(
        f"pcie.generation.{member.member}",
        f"{member.member}: link generation",
        "sysfs current_link_speed and max_link_speed, both ends",
        f"gen {member.link_generation}",
    )
    link = _link(function, seen)
    if isinstance(link, Unknown):
        return check.unknown(link)
    now, can = link[0].gen, link[1].gen
    if isinstance(now, Unknown):
        return check.unknown(now)
    if isinstance(can, Unknown):
        return check.unknown(can)
    if now >= member.link_generation:
        return check.passed(f"gen {now}")
    if can < member.link_generation:
        return check.failed(
            f"gen {now}, both ends can gen {can}",
            "one end of the link is slower than declared",
            "look at: BIOS link speed setting of the slot, riser; or correct `pcie.generation`",
        )
    return check.not_applicable("not judged at idle: the driver slows idle links", f"gen {now}")


def uplinks(seen: Observation) -> Verdict:
    """Links between switches and CPU run as wide as both their ends can."""
    check = Check(
        "pcie.uplinks", "links above the GPUs", "sysfs link attributes", "as wide as both ends can"
    )
    if seen.is_guest:
        return check.unknown(GUEST)
    steps = gpu_paths(seen.tree)
    if isinstance(steps, Unknown) or isinstance(seen.tree, Unknown):
        return check.unknown(steps if isinstance(steps, Unknown) else "no tree")
    narrow, count = [], 0
    for step in steps:
        # a link belongs to its lower end; the cards' own links are judged by themselves
        if step.kind is not Kind.UPSTREAM:
            continue
        link = link_of(step, seen.tree)
        if isinstance(link, Unknown):
            return check.unknown(link)
        now, can = known(link[0].width), known(link[1].width)
        if now and can:
            count += 1
            if now < can:
                narrow.append(f"{step.address} x{now} of x{can}")
    if not count:
        return check.not_applicable("no switch between CPU and GPUs")
    if not narrow:
        return check.passed(f"{count} links")
    return check.warned(
        listed(narrow),
        "a switch has fewer lanes to the CPU than it could: a cable may be off",
        "look at: both cables of the uplink, bifurcation of its slot",
    )


def bar(member: GpuMember, function: Reading[PciFunction], seen: Observation) -> Verdict:
    """BAR1 covers the card's memory where Resizable BAR is declared."""
    check = Check(
        f"pcie.bar.{member.member}",
        f"{member.member}: BAR1",
        "sysfs resource",
        f"at least {member.bar1_mib} MiB" if member.bar1_mib else "",
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
