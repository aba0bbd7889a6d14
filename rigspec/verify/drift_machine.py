"""Drift of the machine itself: firmware settings, cards, driver."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.nvidia_smi import GpuReading
from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import Plan
from rigspec.verify.change import ACCEPT, Change
from rigspec.verify.kernel import running_fault
from rigspec.verify.kernel_line import ASPM, IOMMU
from rigspec.verify.observation import Observation
from rigspec.verify.proof import (
    CardProof,
    Proof,
    card_proof,
    firmware_of,
    iommu_units,
    library_of,
    secure_boot,
)


def firmware(plan: Plan, seen: Observation, proof: Proof) -> Iterator[Change]:
    """Several settings that only the firmware makes, changed at once, are a reset, not an edit."""
    now = firmware_of(seen)
    version = [
        f"BIOS {name}: {proof.firmware[name]} → {now[name]}"
        for name in ("version", "date", "vendor")
        if name in now and name in proof.firmware and now[name] != proof.firmware[name]
    ]
    settings = firmware_settings(plan, seen, proof)
    evidence = (*version, *(line for lines in settings.values() for line in lines))
    names = ", ".join(settings)
    if len(settings) > 1 or (settings and version):
        why = "an update" if version else "a flat battery, Clear CMOS or a failed memory training"
        yield Change(
            "firmware-reset",
            "BIOS",
            f"the firmware has lost its settings ({names}): {why} sets them to their defaults",
            evidence,
            "set them again in the BIOS, power-cycle, then `rigspec verify`",
        )
    elif settings:
        yield Change(
            "firmware-setting",
            "BIOS",
            f"one firmware setting has changed: {names}",
            evidence,
            "set it back in the BIOS; if nobody was there, look at the slot and its riser",
        )
    elif version:
        yield Change(
            "firmware-update",
            "BIOS",
            "the BIOS was updated, and the settings this rig needs are as accepted",
            evidence,
            ACCEPT,
        )
    was, is_now = proof.firmware.get("microcode"), now.get("microcode")
    if was and is_now and was != is_now:
        said = (f"microcode: {was} → {is_now}",)
        yield Change("microcode", "CPU", "the CPU runs another microcode", said, ACCEPT)


def firmware_settings(plan: Plan, seen: Observation, proof: Proof) -> dict[str, tuple[str, ...]]:
    """Settings of the firmware that differ, each with its lines; a guest's tell nothing."""
    if seen.is_guest:
        return {}
    cards = _that_stayed(seen, proof)
    line = running_fault(plan.kernel, seen)  # what it explains, the firmware did not do
    found = {
        "resizable BAR": tuple(_smaller(cards)),
        "ASPM": () if line.about(ASPM) else tuple(_sleeping(cards)),
        "IOMMU": () if line.about(IOMMU) else tuple(_iommu(cards, seen, proof)),
        "link speed": tuple(_slower(cards)),
        "Secure Boot": tuple(_signatures(seen, proof)),
    }
    return {name: lines for name, lines in found.items() if lines}


_Pairs = dict[str, tuple[CardProof, CardProof]]
"""Accepted and found, by member."""


def _that_stayed(seen: Observation, proof: Proof) -> _Pairs:
    """Cards that answer where they were accepted: of others the slot explains what differs."""
    answering = {known(card.uuid) for card in known(seen.cards) or ()}
    pairs = {m: (was, card_proof(m, seen)) for m, was in proof.cards.items() if m in seen.bound}
    return {
        member: (was, now)
        for member, (was, now) in pairs.items()
        if was.uuid in answering and was.slot == now.slot
    }


def _smaller(cards: _Pairs) -> Iterator[str]:
    for member, (was, now) in cards.items():
        if was.bar1_mib and now.bar1_mib and now.bar1_mib < was.bar1_mib:
            yield f"{member}: BAR1 {was.bar1_mib} → {now.bar1_mib} MiB"


def _sleeping(cards: _Pairs) -> Iterator[str]:
    for member, (was, now) in cards.items():
        if was.aspm is not None and now.aspm and now.aspm != was.aspm:
            yield f"{member}: ASPM {was.aspm or 'off'} → {now.aspm}"


def _slower(cards: _Pairs) -> Iterator[str]:
    for member, (was, now) in cards.items():
        old, new = was.link_generation, now.link_generation
        if old and new and new < old:
            yield f"{member}: its link can Gen{old} → Gen{new}"


def _iommu(cards: _Pairs, seen: Observation, proof: Proof) -> Iterator[str]:
    units = iommu_units(seen)
    if units is not None and proof.iommu_units is not None and units != proof.iommu_units:
        yield f"IOMMUs in use: {proof.iommu_units} → {units}"
    for member, (was, now) in cards.items():
        if was.iommu and now.iommu and was.iommu != now.iommu:
            yield f"{member}: IOMMU domain {was.iommu} → {now.iommu}"


def _signatures(seen: Observation, proof: Proof) -> Iterator[str]:
    now = secure_boot(seen)
    if now is not None and proof.secure_boot is not None and now != proof.secure_boot:
        yield f"Secure Boot: {'on' if proof.secure_boot else 'off'} → {'on' if now else 'off'}"


def cards(seen: Observation, proof: Proof | None) -> Iterator[Change]:
    """Cards that moved, were swapped, are gone or are new; VBIOS and lanes of those that stayed."""
    if isinstance(seen.cards, Unknown):
        return
    by_uuid = {uuid: card for card in seen.cards if (uuid := known(card.uuid))}
    by_slot = {slot: uuid for uuid, card in by_uuid.items() if (slot := known(card.bus_id))}
    expected = {b.member: (b.uuid, b.slot) for b in seen.binding}
    if proof is not None:
        expected |= {member: (card.uuid, card.slot) for member, card in proof.cards.items()}
    for member, (uuid, slot) in expected.items():
        yield from _one_card(member, uuid, slot, by_uuid, by_slot)
    wanted = {uuid for uuid, _ in expected.values()}
    for uuid in by_uuid.keys() - wanted:
        at = known(by_uuid[uuid].bus_id)
        if at not in {slot for _, slot in expected.values()}:
            yield Change(
                "new-card", str(at), "a card is there that the rig does not know",
                (f"{uuid} at {at}",), "describe it in the spec, or take it out",
            )  # fmt: skip
    if proof is not None:
        yield from _links(seen, proof, by_uuid)


def _one_card(
    member: str,
    uuid: str,
    slot: str,
    by_uuid: dict[str, GpuReading],
    by_slot: dict[str, str],
) -> Iterator[Change]:
    if uuid in by_uuid:
        at = known(by_uuid[uuid].bus_id)
        if at and at != slot:
            yield Change(
                "moved-card", member, f"the card of {member} sits in another slot, or a card "
                "before it on the bus was added or taken out",
                (f"{uuid}: {slot} → {at}",),
                "if it was moved on purpose, put its UUID into the spec and deploy",
            )  # fmt: skip
    elif slot in by_slot:
        yield Change(
            "swapped-card", member, f"another card sits in the slot of {member}",
            (f"{slot}: {uuid} → {by_slot[slot]}",),
            "if it was replaced on purpose, remove /etc/rigspec/gpus.tsv on the host and deploy",
        )  # fmt: skip
    else:
        yield Change(
            "missing-card", member, f"the card of {member} does not answer",
            (f"{uuid} was at {slot}, nothing answers there",),
            f"look at: lspci -s {slot}; dmesg | grep -E 'Xid|fallen off'; power cables and riser",
        )  # fmt: skip


def _links(seen: Observation, proof: Proof, by_uuid: dict[str, GpuReading]) -> Iterator[Change]:
    for member, was in proof.cards.items():
        if member not in seen.bound or was.uuid not in by_uuid:
            continue
        now = card_proof(member, seen)
        if was.vbios and now.vbios and was.vbios != now.vbios:
            said = (f"{was.vbios} → {now.vbios}",)
            yield Change("vbios", member, f"{member} runs another VBIOS", said, ACCEPT)
        if was.link_width and now.link_width and now.link_width != was.link_width:
            yield Change(
                "link-width", member, f"the link of {member} has other lanes than accepted",
                (f"x{was.link_width} → x{now.link_width}",),
                "look at: seating of card and riser, its cables, bifurcation in the BIOS",
            )  # fmt: skip


def driver(seen: Observation, proof: Proof | None) -> Iterator[Change]:
    """Half a driver upgrade, or a whole one."""
    modules = known(seen.modules)
    module = known(modules.nvidia_version) if modules else None
    half = tuple(_half(module, seen))
    if half:
        yield Change(
            "driver-half", "driver", "the driver's packages were upgraded while its module stayed "
            "loaded: programs that start now may find no GPU",
            half, "reboot; hold the driver's packages",
        )  # fmt: skip
    if proof is not None and proof.driver and module and module != proof.driver:
        yield Change(
            "driver-upgrade", "driver", "another driver is loaded than was accepted",
            (f"accepted {proof.driver}, loaded {module}",), ACCEPT,
        )  # fmt: skip


def _half(module: str | None, seen: Observation) -> Iterator[str]:
    library = library_of(seen)
    if module and library and module != library:
        yield f"module {module}, library {library}"
    if isinstance(seen.cards, Unknown):
        said = seen.cards.line or seen.cards.reason
        if "version mismatch" in said:
            yield said
