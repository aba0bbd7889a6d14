"""Causes of a capture's trouble, likeliest first, each with the lines that speak for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice

from rigspec.discover.capture import Capture, Place
from rigspec.discover.draft_host import board_name, known_board
from rigspec.discover.seen import Seen, read_seen
from rigspec.doctor import boot, bus_log, by_plan, cards, host, pci
from rigspec.doctor.table import Likelihood, Symptom, all_symptoms
from rigspec.frozen import dataclass

Check = Callable[[Capture, Seen], Iterator[Place]]
CHECKS: Mapping[str, Check] = {
    check.__name__: check
    for check in (
        pci.acs_redirect, pci.acs_set_again, pci.acs_harmless, pci.acs_lines,
        pci.narrow_link, pci.narrow_card, pci.slow_busy_link, pci.slow_idle_link,
        pci.slow_uplink, pci.mixed_links,
        pci.frozen_speed, pci.aspm_left_on,
        pci.bar_disagrees, pci.small_bar, pci.nouveau, pci.behind_chipset, pci.topology_differs,
        cards.nccl_hang, cards.busy_without_process, cards.thermal_slowdown, cards.power_brake,
        cards.slow_card, cards.idle_clocks, cards.hmm_on, cards.memory_errors,
        cards.recovery_wanted, cards.p2p_narrow, cards.needs_open_module, cards.gpu_count,
        cards.container_order, cards.p2p_gns, cards.p2p_refused, cards.p2p_geforce,
        cards.p2p_unwanted, cards.p2p_slower, cards.alltoall_collapse,
        boot.cpus_lost, boot.x2apic_off, boot.noacs_running, boot.noacs_written,
        by_plan.unit_down, by_plan.unit_loops, by_plan.cap_differs, by_plan.cards_missing,
        by_plan.kernel_line_differs, by_plan.cap_unit_failed, by_plan.disk_full,
        host.generation_limited,
        host.fallen_without_xid, host.xid79_many,
        bus_log.bar_no_room, bus_log.aer_corrected, bus_log.aer_uncorrected,
        host.bandwidth_limited,
        host.version_mismatch, host.iommu_translated, host.acs_late,
        host.started_early, host.small_shm, host.two_writers, host.cdi_twice,
    )
}  # fmt: skip
MAX_EVIDENCE = 3
_RANK = {likelihood: rank for rank, likelihood in enumerate(Likelihood)}


_UNIT = re.compile(r"(?<![\w@.-])[\w@-][\w@.-]*\.(?:service|mount|timer)(?![\w@.-])")


@dataclass(frozen=True)
class Diagnosis:
    """One symptom that was found, with up to three lines of evidence."""

    symptom: Symptom
    evidence: tuple[Place, ...]
    setting: str = ""
    """The BIOS setting in the board's own words; empty where none helps."""
    simulated: bool = False
    xids: tuple[int, ...] = ()
    """The Xid numbers that were seen; a row stands for several."""

    @property
    def do(self) -> str:
        """The cure, with the units that the evidence names in place of `UNIT`."""
        return self._of_units(self.symptom.do)

    @property
    def proof(self) -> str:
        """How to know that it worked, with the same names."""
        return self._of_units(self.symptom.proof)

    def _of_units(self, text: str) -> str:
        units = tuple(dict.fromkeys(u for p in self.evidence for u in _UNIT.findall(p.text)))
        if not units:
            return text
        flags = " ".join(f"-u {unit}" for unit in units)  # journalctl takes one unit each
        return text.replace("-u UNIT", flags).replace("UNIT", " ".join(units))


def is_cause(diagnosis: Diagnosis) -> bool:
    """Whether it is a fault; harmless ones only explain."""
    return diagnosis.symptom.likelihood is not Likelihood.HARMLESS


def diagnose(capture: Capture, seen: Seen | None = None) -> tuple[Diagnosis, ...]:
    """Everything found, likeliest first, in the table's order among equals."""
    seen = seen or read_seen(capture)
    found = []
    for symptom in all_symptoms():
        lines = dict.fromkeys(islice(_evidence(symptom, capture, seen), MAX_EVIDENCE * 2))
        if lines:
            evidence = tuple(lines)[:MAX_EVIDENCE]
            setting = bios_setting(symptom, seen)
            numbers = _xids_in(evidence, symptom)
            found.append(Diagnosis(symptom, evidence, setting, seen.simulated, numbers))
    names = {diagnosis.symptom.id for diagnosis in found}
    kept = [diagnosis for diagnosis in found if names.isdisjoint(diagnosis.symptom.unless)]
    return tuple(sorted(kept, key=lambda d: _RANK[d.symptom.likelihood]))


_XID = re.compile(r"Xid(?: \([^)]*\):|:| (?=\d)) ?(\d+)")


def _xids_in(evidence: Iterable[Place], symptom: Symptom) -> tuple[int, ...]:
    """Numbers of the row that the lines shown name, each once."""
    said = (int(match[1]) for place in evidence for match in _XID.finditer(place.text))
    return tuple(dict.fromkeys(number for number in said if number in symptom.xids))


def _evidence(symptom: Symptom, capture: Capture, seen: Seen) -> Iterator[Place]:
    if symptom.check:
        yield from CHECKS[symptom.check](capture, seen)
    if symptom.xids:
        yield from host.xids(capture, seen, symptom.xids)
    if symptom.any_of:
        for file, number, line in capture.places():
            if any(pattern.search(line) for pattern in symptom.any_of):
                yield file.place(number)
    if symptom.all_of:
        yield from _every(symptom, capture)


def _every(symptom: Symptom, capture: Capture) -> Iterator[Place]:
    """One line per sentence; nothing unless each is there."""
    found: list[Place] = []
    for pattern in symptom.all_of:
        hit = next((f.place(n) for f, n, line in capture.places() if pattern.search(line)), None)
        if hit is None:
            return
        found.append(hit)
    yield from found


_GENERAL = {
    "above_4g": "Above 4G Decoding: enabled",
    "resizable_bar": "Re-Size BAR Support: enabled",
    "bifurcation": "PCIe slot bifurcation: x16",
    "link_speed": "PCIe slot link speed: the slowest part's generation instead of Auto",
    "iommu": "IOMMU (AMD) or VT-d (Intel)",
    "aspm": "ASPM Support: disabled",
    "hot_plug": "PCIe hot plug: disabled",
    "secure_boot": "Secure Boot",
}
"""How most setups call it, for boards nobody has described."""


def bios_setting(symptom: Symptom, seen: Seen) -> str:
    """The setting to look for: in the board's words where the catalog has them."""
    if symptom.bios is None:
        return ""
    board = known_board(seen)
    words = board.bios.get(symptom.bios) if board else None
    if board and words:
        return f"{words} ({board.name})"
    name = board_name(seen)
    why = f"the catalog has no words for `{name}`" if name else "the board was not read"
    return f"{_GENERAL[symptom.bios]} (the usual name; {why})"
