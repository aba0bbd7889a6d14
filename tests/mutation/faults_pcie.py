"""Faults of the fabric: registers as the host's configuration space would show them."""

from __future__ import annotations

from .raw import ACS, EXPRESS, Raw
from .registry import Fault

LNKCTL, LNKSTA, LNKCAP, LNKCTL2, ACSCTL = 0x10, 0x12, 0x0C, 0x30, 0x06
REQ_REDIR, CMPLT_REDIR, EGRESS_CTRL = 0x04, 0x08, 0x20


def link(raw: Raw, address: str, generation: int, width: int) -> Raw:
    """LnkSta of one function."""
    word = raw.read_word(address, EXPRESS, LNKSTA) & ~0x3FF
    return raw.word(address, EXPRESS, LNKSTA, word | width << 4 | generation)


def acs(raw: Raw, bits: int) -> Raw:
    """Bits set in ACSCtl of the bridge above the second card."""
    bridge = raw.above(raw.slots[1])
    return raw.word(bridge, ACS, ACSCTL, raw.read_word(bridge, ACS, ACSCTL) | bits)


def x4(raw: Raw) -> Raw:
    """The third card's link trained at four lanes, as both its ends show."""
    slot = raw.slots[2]
    return link(link(raw, slot, 4, 4), raw.above(slot), 4, 4)


def narrow_slot(raw: Raw) -> Raw:
    """The slot itself has eight lanes: LnkCap says so, too."""
    slot = raw.slots[0]
    bridge = raw.above(slot)
    cap = raw.read_word(bridge, EXPRESS, LNKCAP) & ~0x3F0
    raw = raw.word(bridge, EXPRESS, LNKCAP, cap | 8 << 4)
    return link(link(raw, slot, 4, 8), bridge, 4, 8)


def gen3_slot(raw: Raw) -> Raw:
    """The BIOS limits a slot to 8 GT/s."""
    slot = raw.slots[1]
    bridge = raw.above(slot)
    cap = raw.read_word(bridge, EXPRESS, LNKCAP) & ~0xF
    raw = raw.word(bridge, EXPRESS, LNKCAP, cap | 3)
    return link(link(raw, slot, 3, 16), bridge, 3, 16)


def aspm(raw: Raw) -> Raw:
    """L1 switched on again at one end."""
    bridge = raw.above(raw.slots[3])
    word = raw.read_word(bridge, EXPRESS, LNKCTL)
    return raw.word(bridge, EXPRESS, LNKCTL, word | 2)


def half_uplink(raw: Raw) -> Raw:
    """One of the uplink's two cables fell off."""
    upstream = raw.above(raw.above(raw.slots[0]))
    root = raw.above(upstream)
    return link(link(raw, upstream, 4, 8), root, 4, 8)


def small_bar(raw: Raw) -> Raw:
    """BAR1 as without Resizable BAR: 256 MiB."""
    slot = raw.slots[0]
    start = 0x1000000000
    size = 256 << 20
    return raw.sub(
        "pci",
        rf"^({slot} .*\bbar(?:1|2)=)0x[0-9a-f]+,0x[0-9a-f]+,(\S+)",
        rf"\g<1>{start:#018x},{start + size - 1:#018x},\2",
    )


def bits_after_boot(raw: Raw) -> Raw:
    """All ports above the first card isolate it now; its group is still that of the boot."""
    bridge = raw.above(raw.slots[0])
    while bridge:
        if raw.has(bridge, ACS):
            isolating = raw.read_word(bridge, ACS, 0x04) & 0x1D
            if raw.read_word(bridge, ACS, ACSCTL) != isolating:
                raw = raw.word(bridge, ACS, ACSCTL, isolating)
        bridge = raw.above(bridge)
    return raw


def gen2_uplink(raw: Raw) -> Raw:
    """The uplink trained at 5 GT/s."""
    upstream = raw.above(raw.above(raw.slots[0]))
    return link(link(raw, upstream, 2, 16), raw.above(upstream), 2, 16)


def frozen(raw: Raw) -> Raw:
    """A speed lock was set while the link ran at 5 GT/s."""
    bridge = raw.above(raw.slots[2])
    word = raw.read_word(bridge, EXPRESS, LNKCTL2) & ~0xF
    raw = raw.word(bridge, EXPRESS, LNKCTL2, word | 0x20 | 4)
    return link(raw, bridge, 2, 16)


def slow_under_load(raw: Raw) -> Raw:
    """A card that works while its link stays at Gen1."""
    slot = raw.slots[3]
    raw = link(link(raw, slot, 1, 16), raw.above(slot), 1, 16)
    raw = raw.cell("utilization.gpu", "98", card=3)
    return raw.cell("pcie.link.gen.current", "1", card=3)


def counters(raw: Raw, severity: str, name: str, count: int) -> Raw:
    """A line of sysfs `aer_dev_*` of the port above the second card."""
    place = f"/sys/bus/pci/devices/{raw.above(raw.slots[1])}/aer_dev_{severity}"
    return raw.append("pci-aer", f"{place}:{name} {count}")


FAULTS = (
    Fault(
        "pcie.acs",
        "request redirect set on one bridge after boot",
        lambda raw: acs(raw, REQ_REDIR),
        ".0 ReqRedir+",
    ),
    Fault(
        "pcie.acs",
        "completion redirect set on one bridge after boot",
        lambda raw: acs(raw, CMPLT_REDIR),
        ".0 CmpltRedir+",
    ),
    Fault(
        "pcie.acs",
        "egress control set on one bridge after boot",
        lambda raw: acs(raw, EGRESS_CTRL),
        ".0 EgressCtrl+",
    ),
    Fault(
        "pcie.groups",
        "isolation was written after the groups were made",
        bits_after_boot,
        "something wrote ACSCtl",
        also=("pcie.acs",),
    ),
    Fault("pcie.aspm", "the firmware left L1 on at one end", aspm, "links may sleep"),
    Fault("pcie.width", "a link trained at x4", x4, "lanes are missing"),
    Fault("pcie.width", "a slot is narrower than declared", narrow_slot, "can only x8"),
    Fault("pcie.generation", "a slot is limited to Gen3", gen3_slot, "slower than declared"),
    Fault(
        "pcie.generation", "a link stays slow under load", slow_under_load, "while the card works"
    ),
    Fault(
        "pcie.uplink", "half of the switch's uplink is off", half_uplink, "a cable of the uplink"
    ),
    Fault("pcie.uplink", "the uplink trained at Gen2", gen2_uplink, "trained at gen 2"),
    Fault("pcie.bar", "Resizable BAR is off", small_bar, "Resizable BAR is off", rig="metal"),
    Fault("pcie.frozen", "a speed lock froze a link at Gen2", frozen, "SpeedDis+ at gen 2 of 4"),
    Fault(
        "pcie.flaps",
        "a link went down and came back",
        lambda raw: raw.append(
            "kernel-log",
            "[  812.100000] rig kernel: pcieport 0000:02:01.0: pciehp: Slot(1): Link Down",
            "[  812.900000] rig kernel: pcieport 0000:02:01.0: pciehp: Slot(1): Link Up",
        ),
        "drops out and comes back",
    ),
    Fault(
        "pcie.errors",
        "a storm of corrected errors",
        lambda raw: counters(raw, "correctable", "BadTLP", 51234),
        "BadTLP 51234",
    ),
    Fault(
        "pcie.errors",
        "a completion timed out",
        lambda raw: counters(raw, "nonfatal", "CmpltTO", 1),
        "nonfatal CmpltTO 1",
    ),
)
