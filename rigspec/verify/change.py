"""One explained change of a host."""

from __future__ import annotations

from rigspec.frozen import dataclass

ACCEPT = "if that was wanted: `rigspec verify`, then `rigspec accept`"


@dataclass(frozen=True)
class Change:
    """`kind` is a word that docs/drift.md explains; `subject` a card, file, unit or package."""

    kind: str
    subject: str
    what: str
    """One sentence in plain words, with the likely cause."""
    evidence: tuple[str, ...] = ()
    """What was accepted or planned, and what was found."""
    next_action: str = ""
