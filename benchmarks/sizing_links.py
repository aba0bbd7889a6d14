"""The path between the cards of a published run, as its text describes it."""

from __future__ import annotations

import re

from benchmarks.sizing_cases import Case
from rigspec.sizing import all_reduce
from rigspec.sizing.links import Hop, link_of_width


def link_of(case: Case) -> all_reduce.Link:
    """NVLink or a network where the text says so, else PCIe of the card's own generation."""
    card = case.card
    if card is not None and card.unified:
        return all_reduce.NETWORK
    if card is not None and card.nvlink:
        return all_reduce.NVLINK
    slot = _slot(case)
    if slot is not None:
        return link_of_width(slot.one_way_gb_s, peer=_over_pcie(case) == all_reduce.PEER_PCIE)
    newest = card is not None and card.compute is not None and card.compute >= (10, 0)
    return _over_pcie(case).at_gen5() if newest else _over_pcie(case)


def _text(case: Case) -> str:
    stated = (case.stated.text(name) for name in ("gpu", "interconnect", "compose"))
    return " ".join(filter(None, stated)).lower()


def _slot(case: Case) -> Hop | None:
    """The slot where its lanes are told, of PCIe 3 where its generation is not: old boards and
    risers are what people write lanes of."""
    text = _text(case)
    lanes = re.search(r"\bpcie?\b[^;]*?\bx(1|2|4|8|16)\b|\bx(1|2|4) risers?\b", text)
    if lanes is None:
        return None
    generation = re.search(r"(?:pcie|gen)[ .]?([1-5])(?:\.0)?\b", text)
    return Hop("slot", int(generation[1]) if generation else 3, int(lanes[1] or lanes[2]))


def _over_pcie(case: Case) -> all_reduce.Link:
    card, text = case.card, _text(case)
    if "refused" in text or "no p2p" in text:
        granted = card is not None and card.peer_access
        return all_reduce.HOST_PCIE.refused() if granted else all_reduce.HOST_PCIE
    if "p2p" in text or (card is not None and card.peer_access):
        return all_reduce.PEER_PCIE
    return all_reduce.HOST_PCIE
