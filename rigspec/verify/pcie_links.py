"""Links: width and generation at both ends, of cards and of the switches above them."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.pci import Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.expected import Uplink
from rigspec.plan.sections import GpuMember
from rigspec.verify.gpus import functions_of
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict

GUEST = Unknown("this is a guest: a hypervisor shows what it likes; run it on the host")
BUSY_PERCENT = 50
"""From this utilisation on a card's link must run at full speed."""


def links(members: tuple[GpuMember, ...], seen: Observation) -> Iterator[Verdict]:
    """Width and generation of every card's link."""
    functions = functions_of(members, seen)
    for member in members:
        yield width(member, functions[member.member], seen)
        yield generation(member, functions[member.member], seen)


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
        "pcie.width",
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
        "pcie.generation",
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
    busy = _busy(member, seen)
    if busy is not None:
        return check.failed(
            f"gen {busy} under load, both ends can gen {can}",
            "the link stays slow while the card works: it was trained lower, or is held there",
            "look at: cable and riser length, redriver gain; BIOS link speed of the slot; reseat",
        )
    return check.not_applicable(
        "not judged at idle: the driver slows idle links; `--load` proves it", f"gen {now}"
    )


def _busy(member: GpuMember, seen: Observation) -> int | None:
    """The generation that a working card's link was read at, if that is too low."""
    card = known(seen.card(member.member))
    if card is None or (known(card.utilization_percent) or 0) < BUSY_PERCENT:
        return None
    # asked in the same breath as the utilisation; the sysfs reading is older
    generation = known(card.link_gen)
    return generation if generation and generation < member.link_generation else None


def uplinks(declared: tuple[Uplink, ...], seen: Observation) -> Iterator[Verdict]:
    """Every declared switch reaches the processor as declared; these links do not slow at idle."""
    for uplink in declared:
        yield up(uplink, seen)


def up(uplink: Uplink, seen: Observation) -> Verdict:
    """One switch's upward link."""
    check = Check(
        f"pcie.uplink.{uplink.name}",
        f"switch {uplink.name}: link to the processor",
        "configuration space: LnkSta, both ends",
        f"gen {uplink.generation} x{uplink.width}",
        f"{uplink.origin}.upstream_width",
    )
    if seen.is_guest:
        return check.unknown(GUEST)
    if isinstance(seen.tree, Unknown):
        return check.unknown(seen.tree)
    port = _upstream_port(uplink, seen.tree, seen)
    if isinstance(port, Unknown):
        return check.unknown(port)
    if port is None:
        return check.failed(
            "no switch above its cards",
            "the cards declared behind this switch sit on processor lanes",
            "look at: lspci -tv; correct `pcie.switches`, or plug the cards into the switch",
        )
    link = link_of(port, seen.tree)
    if isinstance(link, Unknown):
        return check.unknown(link)
    return _as_declared(check, uplink, port.address, *link)


def _upstream_port(uplink: Uplink, tree: PciTree, seen: Observation) -> Reading[PciFunction] | None:
    """The switch's upstream port: so many switches above a card of its own; None: there is none."""
    members = seen.bound
    slots = [members[m].slot for m in uplink.members if m in members]
    found = [tree.by_address[slot] for slot in slots if slot in tree.by_address]
    if not found:
        return Unknown(f"no card of `{uplink.name}` is bound and on the bus")
    way = tree.path(found[0].address)
    if isinstance(way, Unknown):
        return way
    above = [step for step in reversed(way) if step.kind is Kind.UPSTREAM]
    return above[uplink.depth] if len(above) > uplink.depth else None


def _as_declared(check: Check, uplink: Uplink, address: str, now: Link, can: Link) -> Verdict:
    for reading in (now.gen, now.width):
        if isinstance(reading, Unknown):
            return check.unknown(reading)
    gen, width = known(now.gen) or 0, known(now.width) or 0
    found = f"gen {gen} x{width} at {address}"
    if width < uplink.width:
        return check.failed(
            found,
            f"both ends can x{known(can.width) or '?'}: a cable of the uplink may be off, or its "
            "slot is bifurcated",
            "look at: both cables of the uplink (each carries x8), bifurcation of its slot",
        )
    if gen < uplink.generation:
        return check.failed(
            found,
            f"the uplink was trained at gen {gen}: traffic across switches crawls",
            "look at: seating and length of the uplink's cables; BIOS link speed of its slot",
        )
    return check.passed(found)
