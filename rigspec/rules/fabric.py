"""Peer traffic between cards: peer access, ACS, IOMMU, Resizable BAR, and what each costs."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.gpus import Gpu
from rigspec.catalog.kernel_params import kernel_of
from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import a_card
from rigspec.spec.rig import Rig, all_members


def _many(rig: Rig) -> bool:
    return len(all_members(rig.gpus)) > 1


def _refused_cards(rig: Rig, facts: CheckContext) -> tuple[Gpu, ...]:
    """Kinds of card to which NVIDIA's driver refuses peer access over PCIe."""
    cards = (facts.gpu(rig, name) for name in rig.gpus)
    return tuple(card for card in cards if card is not None and card.p2p == "no")


def peers_refused(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The driver grants peer access to these cards."""
    if not rig.pcie.peer_to_peer:
        return
    for card in _refused_cards(rig, facts):
        yield error(
            "fabric.peers-refused",
            ("pcie", "peer_to_peer"),
            f"NVIDIA's driver refuses peer copies over PCIe between {card.name} cards",
            why="NCCL would be told to use a way that does not exist, and fall back or hang",
            hint="set `peer_to_peer: false`; "
            + ("an NVLink bridge works without it (`nvlink_bridge`); " if card.nvlink else "")
            + "a patched driver is not something rigspec installs",
        )


def peers_unknown(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Nobody has said whether the driver grants peer access to these cards."""
    if not rig.pcie.peer_to_peer:
        return
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        if card is not None and card.p2p == "unknown":
            yield warning(
                "fabric.peers-unknown",
                ("pcie", "peer_to_peer"),
                f"whether the driver grants peer copies to {card.name} is not known",
                why="only `nvidia-smi topo -p2p r` and a checked copy on the rig decide",
                hint="`rigspec verify` measures it",
            )


def peers_of_one(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Peer copies need two cards."""
    if rig.pcie.peer_to_peer and not _many(rig):
        yield warning(
            "fabric.peers-of-one",
            ("pcie", "peer_to_peer"),
            "a rig with one GPU has no peers to copy to",
            hint="delete `peer_to_peer`",
        )


def acs_kept(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Peer traffic with ACS redirect on goes up to the CPU."""
    if _refused_cards(rig, facts):
        return  # there is no such traffic, which has a rule of its own
    if rig.pcie.peer_to_peer and rig.pcie.acs == "keep" and _many(rig):
        yield warning(
            "fabric.acs-kept",
            ("pcie", "acs"),
            "`peer_to_peer` is wanted, `acs: keep` leaves the redirect bits as kernel and "
            "firmware set them",
            why="with redirect on, peer copies climb to the CPU"
            + (
                " instead of turning in the switch: half the bandwidth was measured on one switch"
                if rig.pcie.switches
                else " and through its IOMMU"
            )
            + ", and the first all-reduce can hang",
            hint="set `acs: off_on_gpu_paths` unless `lspci -vvv` shows `ReqRedir-` everywhere",
        )


def acs_off_cost(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What clearing ACS redirect gives up."""
    if rig.pcie.acs == "off_on_gpu_paths" and rig.pcie.peer_to_peer and _many(rig):
        yield note(
            "fabric.acs-off-cost",
            ("pcie", "acs"),
            "GPUs can then reach each other's memory without asking the IOMMU",
            why="wanted for peer copies; it rules out handing one of these cards to a virtual "
            "machine. Bridges that lead to no GPU keep their isolation",
        )


def acs_off_for_nothing(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """ACS cleared without anybody using it."""
    if rig.pcie.acs == "off_on_gpu_paths" and not (rig.pcie.peer_to_peer and _many(rig)):
        reason = "`peer_to_peer` is off" if _many(rig) else "there is only one GPU"
        cards = [facts.gpu(rig, name) for name in rig.gpus]
        can = _many(rig) and not any(card is not None and card.p2p == "no" for card in cards)
        yield warning(
            "fabric.acs-off-for-nothing",
            ("pcie", "acs"),
            f"ACS redirect is cleared although {reason}",
            why="it costs the isolation of the cards from each other and gains nothing",
            hint="set `acs: keep`" + (", or `peer_to_peer: true`" if can else ""),
        )


def acs_under_secure_boot(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """With Secure Boot the kernel refuses writes to configuration space."""
    if rig.pcie.acs != "off_on_gpu_paths" or rig.driver.secure_boot != "on":
        return
    fixed = kernel_of(rig.host.os).acs_lists_fixed
    say = note if fixed else warning
    yield say(
        "fabric.acs-under-secure-boot",
        ("pcie", "acs"),
        "with Secure Boot on only the kernel argument `pci=disable_acs_redir` can clear ACS",
        why="the locked-down kernel refuses `setpci`"
        + ("" if fixed else "; some kernels from 6.11 on read only the first bridge of a list"),
        hint="`rigspec verify` reads every bridge"
        + ("" if fixed else "; if one stays redirected, change the kernel or turn Secure Boot off"),
    )


def translated_peers(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A translating IOMMU and peer copies do not go together."""
    if rig.kernel.iommu == "on" and rig.pcie.peer_to_peer and _many(rig):
        yield warning(
            "fabric.translated-peers",
            ("kernel", "iommu"),
            "`iommu: on` translates every DMA while `peer_to_peer` is wanted",
            why="measured on an 8-GPU rig: 15 % less per flow, and all-reduce over all GPUs hung",
            hint="set `iommu: pt`: DMA protection stays available, peers keep their addresses",
        )


def bar_too_small(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Resizable BAR is expected of cards that have none."""
    if not rig.pcie.resizable_bar:
        return
    for name in rig.gpus:
        card = facts.gpu(rig, name)
        if card is not None and card.bar1_mib is not None and card.bar1_mib < card.memory_mib:
            yield warning(
                "fabric.bar-too-small",
                ("pcie", "resizable_bar"),
                f"the BAR1 of {a_card(card)} is {card.bar1_mib} MiB and does not grow to its "
                f"{card.memory_mib} MiB",
                why="verify would ask for a BIOS setting that cannot help",
                hint="set `resizable_bar: false`",
            )
