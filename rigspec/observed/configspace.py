"""PCI configuration space, decoded from raw bytes: what lspci would print, without lspci.

Offsets: PCI Express base specification 6.0, chapter 7; names as in Linux `pci_regs.h`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.frozen import dataclass
from rigspec.observed.pci import Acs, AcsBits, Kind, Link, PciFunction, ResizableBar
from rigspec.observed.record import Reading, Record, Unknown

_CAP_EXP, _EXT_ACS, _EXT_REBAR, _EXT_SRIOV = 0x10, 0x0D, 0x15, 0x10
_EXT_START, _EXT_END = 0x100, 0x1000

_KINDS = {
    0x0: Kind.ENDPOINT,
    0x1: Kind.LEGACY,
    0x4: Kind.ROOT_PORT,
    0x5: Kind.UPSTREAM,
    0x6: Kind.DOWNSTREAM,
    0x7: Kind.PCI_BRIDGE,
    0x8: Kind.PCI_BRIDGE,
    0x9: Kind.INTEGRATED,
    0xA: Kind.COLLECTOR,
}
_ASPM: dict[int, tuple[str, ...]] = {0: (), 1: ("L0s",), 2: ("L1",), 3: ("L0s", "L1")}
_CUT = Unknown("configuration space was not read in full (needs root)")


@dataclass(frozen=True)
class Express(Record):
    """The PCI Express capability; None is "has none"."""

    kind: Reading[Kind]
    link_cap: Reading[Link] | None = None
    link_status: Reading[Link] | None = None
    link_target_gen: Reading[int] | None = None
    speed_disabled: Reading[bool] | None = None
    aspm_supported: Reading[tuple[str, ...]] | None = None
    aspm_enabled: Reading[tuple[str, ...]] | None = None


@dataclass(frozen=True)
class ConfigSpace(Record):
    """What the bytes of one function say; None is "has none"."""

    vendor_id: int
    device_id: int
    class_code: int
    secondary_bus: int | None
    express: Express
    acs: Reading[Acs] | None
    resizable_bars: Reading[tuple[ResizableBar, ...]] | None
    sriov_total_vfs: Reading[int] | None

    def on(self, function: PciFunction) -> PciFunction:
        """The function with everything the bytes say."""
        express = self.express
        kind = Kind.UNKNOWN if isinstance(express.kind, Unknown) else express.kind
        return replace(
            function,
            vendor_id=self.vendor_id,
            device_id=self.device_id,
            class_code=self.class_code,
            kind=kind,
            secondary_bus=self.secondary_bus,
            link_cap=express.link_cap,
            link_status=express.link_status,
            link_target_gen=express.link_target_gen,
            speed_disabled=express.speed_disabled,
            aspm_supported=express.aspm_supported,
            aspm_enabled=express.aspm_enabled,
            acs=self.acs,
            resizable_bars=self.resizable_bars,
            sriov_total_vfs=self.sriov_total_vfs,
        )


def decode_config(data: bytes) -> Reading[ConfigSpace]:
    """Configuration space of one function: 64 bytes without root, 256 or 4096 with it."""
    if len(data) < 64:
        return Unknown(f"configuration space has {len(data)} bytes, 64 are the least")
    if data[:4] == b"\xff\xff\xff\xff":
        return Unknown("the device does not answer (configuration space reads all ones)")
    is_bridge = data[0x0E] & 0x7F == 1
    express = _express(data)
    return ConfigSpace(
        _word(data, 0),
        _word(data, 2),
        _word(data, 0x0A),
        data[0x19] if is_bridge else None,
        _decode_express(data, express),
        _acs(data, express),
        _rebar(data, express),
        _sriov(data, express),
    )


def _word(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _dword(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _capabilities(data: bytes) -> Iterator[tuple[int, int]]:
    """Id and offset of each capability; ends quietly on a loop or beyond the data."""
    at, seen = data[0x34] & 0xFC, set[int]()
    while at >= 0x40 and at not in seen and at + 2 <= len(data):
        seen.add(at)
        yield data[at], at
        at = data[at + 1] & 0xFC


def _express(data: bytes) -> Reading[int] | None:
    """Offset of the PCI Express capability."""
    if not _word(data, 6) & 0x10:
        return None
    found = next((at for cap, at in _capabilities(data) if cap == _CAP_EXP), None)
    if found is None:
        return None if len(data) >= 256 else _CUT
    return found if found + 0x14 <= len(data) else _CUT


def _extended(data: bytes, wanted: int, express: Reading[int] | None) -> Reading[int] | None:
    """Offset of an extended capability (only PCI Express functions have any)."""
    if not isinstance(express, int):
        return express
    if len(data) < _EXT_END:
        return _CUT
    at, seen = _EXT_START, set[int]()
    while at >= _EXT_START and at not in seen and at + 4 <= len(data):
        seen.add(at)
        header = _dword(data, at)
        if header in {0, 0xFFFFFFFF}:
            return None
        if header & 0xFFFF == wanted:
            return at
        at = header >> 20 & 0xFFC
    return None


def _decode_express(data: bytes, at: Reading[int] | None) -> Express:
    if at is None:
        return Express(Kind.CONVENTIONAL)
    if isinstance(at, Unknown):
        return Express(at, at, at, at, at, at, at)
    flags = _word(data, at + 2)
    kind = _KINDS.get(flags >> 4 & 0xF, Kind.UNKNOWN)
    if kind in {Kind.INTEGRATED, Kind.COLLECTOR}:
        return Express(kind)
    capability, status = _dword(data, at + 0x0C), _word(data, at + 0x12)
    has_control2 = flags & 0xF >= 2 and at + 0x32 <= len(data)
    control2 = _word(data, at + 0x30)
    return Express(
        kind,
        Link(_gen(capability), capability >> 4 & 0x3F),
        Link(_gen(status), status >> 4 & 0x3F),
        _gen(control2 & 0xF or 1) if has_control2 else None,  # 0: only 2.5 GT/s is supported
        bool(control2 & 0x20) if has_control2 else None,
        _ASPM[capability >> 10 & 3],
        _ASPM[_word(data, at + 0x10) & 3],
    )


def _gen(word: int) -> Reading[int]:
    code = word & 0xF
    return code if 1 <= code <= 7 else Unknown(f"speed code {code} means nothing")


def _acs(data: bytes, express: Reading[int] | None) -> Reading[Acs] | None:
    at = _extended(data, _EXT_ACS, express)
    if not isinstance(at, int):
        return at
    return Acs(AcsBits.from_word(_word(data, at + 4)), AcsBits.from_word(_word(data, at + 6)))


def _rebar(data: bytes, express: Reading[int] | None) -> Reading[tuple[ResizableBar, ...]] | None:
    """The physical Resizable BAR capability; sizes are powers of two from 1 MiB."""
    at = _extended(data, _EXT_REBAR, express)
    if not isinstance(at, int):
        return at
    entries = []
    for place in range(max(1, _word(data, at + 8) >> 5 & 7)):
        start = at + 4 + 8 * place
        if start + 8 > len(data):
            break
        offered, control = _dword(data, start), _dword(data, start + 4)
        powers = [bit - 4 for bit in range(4, 32) if offered >> bit & 1]
        powers += [bit + 12 for bit in range(16, 32) if control >> bit & 1]
        sizes = tuple(1 << 20 + power for power in powers)
        entries.append(ResizableBar(control & 7, 1 << 20 + (control >> 8 & 0x3F), sizes))
    return tuple(entries)


def _sriov(data: bytes, express: Reading[int] | None) -> Reading[int] | None:
    at = _extended(data, _EXT_SRIOV, express)
    return _word(data, at + 0x0E) if isinstance(at, int) else at
