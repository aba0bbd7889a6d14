"""What a case lets be known: its model and its card, or the reason that there is none."""

from __future__ import annotations

from benchmarks.sizing_cases import Case
from rigspec.catalog.model_facts import ModelFacts
from rigspec.sizing.cards import Card


class Unknown(Exception):
    """A prediction cannot be made; the message is the reason printed."""


def facts_of(case: Case) -> ModelFacts:
    """The case's model, or the reason there is none."""
    if case.facts is None:
        raise Unknown(case.no_facts)
    return case.facts


def card_of(case: Case) -> Card:
    """The case's smallest card, or the reason there is none."""
    if case.card is None:
        raise Unknown(case.no_card)
    return case.card
