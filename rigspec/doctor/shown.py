"""The line that proves a reading of a PCI function, or the reading where no text spells it out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from rigspec.discover.capture import Capture, Place
from rigspec.observed.pci import Acs, Link, PciFunction
from rigspec.observed.record import known


def short(address: str) -> str:
    """`06:00.0`: lspci leaves the domain 0000 out."""
    return address.removeprefix("0000:")


def at_function(capture: Capture, function: PciFunction, field: str) -> Iterator[Place]:
    """The line of a field in lspci's block; for bytes and saved looks what was decoded of them."""
    head = short(function.address)
    found = capture.find(f"{head} ", field)
    if found:
        yield found
        return
    found = capture.find(f'"address": "{function.address}"') or capture.find(head)
    if found:
        say = _DECODED.get(field)
        said = say(function) if say else ""
        yield replace(found, text=f"{function.address}: {said}") if said else found


def _link(link: Link | None) -> str:
    gen, width = (known(link.gen), known(link.width)) if link else (None, None)
    return f"Gen{gen or '?'} x{width or '?'}"


def _links(function: PciFunction) -> str:
    status, able = function.link_status, function.link_cap
    now, most = (known(link) if link else None for link in (status, able))
    return f"LnkSta {_link(now)}, LnkCap {_link(most)}"


def _acs(function: PciFunction) -> str:
    acs: Acs | None = known(function.acs) if function.acs else None
    if acs is None:
        return ""
    names = {"ReqRedir": acs.ctl.req_redir, "CmpltRedir": acs.ctl.cmplt_redir}
    names |= {"EgressCtrl": acs.ctl.egress_ctrl, "SrcValid": acs.ctl.src_valid}
    return "ACSCtl " + " ".join(f"{name}{'+' if on else '-'}" for name, on in names.items())


def _aspm(function: PciFunction) -> str:
    states = known(function.aspm_enabled) if function.aspm_enabled else None
    return f"LnkCtl ASPM {' '.join(states)} Enabled" if states else ""


def _speed(function: PciFunction) -> str:
    target = function.link_target_gen
    return f"LnkCtl2 target Gen{target} SpeedDis+, {_links(function)}"


_DECODED: Mapping[str, Callable[[PciFunction], str]] = {
    "LnkSta:": _links,
    "ACSCtl:": _acs,
    "LnkCtl:": _aspm,
    "LnkCtl2:": _speed,
    "nouveau": lambda function: f"driver {known(function.driver) if function.driver else '?'}",
}
