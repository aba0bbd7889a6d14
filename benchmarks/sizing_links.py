"""The path between the cards of a published run, as its text describes it."""

from __future__ import annotations

from benchmarks.sizing_cases import Case
from rigspec.sizing import all_reduce


def link_of(case: Case) -> all_reduce.Link:
    """NVLink or a network where the text says so, else PCIe of the card's own generation."""
    card = case.card
    if card is not None and card.unified:
        return all_reduce.NETWORK
    if card is not None and card.nvlink:
        return all_reduce.NVLINK
    newest = card is not None and card.compute is not None and card.compute >= (10, 0)
    return _over_pcie(case).at_gen5() if newest else _over_pcie(case)


def _over_pcie(case: Case) -> all_reduce.Link:
    keys, card = case.stated, case.card
    stated = (keys.text("gpu"), keys.text("interconnect"), keys.text("compose"))
    text = " ".join(filter(None, stated)).lower()
    if "refused" in text or "no p2p" in text:
        granted = card is not None and card.peer_access
        return all_reduce.HOST_PCIE.refused() if granted else all_reduce.HOST_PCIE
    if "p2p" in text or (card is not None and card.peer_access):
        return all_reduce.PEER_PCIE
    return all_reduce.HOST_PCIE
