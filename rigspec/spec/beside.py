"""What is wrong with files that lie beside a spec: these findings have no place in its text."""

from __future__ import annotations

from rigspec.finding import Severity
from rigspec.spec.slips import PlacedFinding


def unusable_catalog(message: str, hint: str) -> PlacedFinding:
    """The owner's own catalog beside the spec cannot be used, so nothing could be checked."""
    why = "its rows may replace any of ours, so nothing can be judged without them"
    return PlacedFinding(Severity.ERROR, "catalog.unusable", (), message, why, hint)


def unusable_faults(message: str, hint: str) -> PlacedFinding:
    """The list of measured faults beside the spec cannot be used, so the plan is not known."""
    return PlacedFinding(Severity.ERROR, "fabric.faults-unusable", (), message, hint=hint)


def passed_over(file: str, meant: str, tables: str) -> PlacedFinding:
    """A file among the owner's tables that nothing reads."""
    return PlacedFinding(
        Severity.WARNING,
        "catalog.passed-over",
        (),
        f"nothing reads {file}: the tables here are {tables}",
        "its rows are as good as not written, and ours hold",
        f"rename it to `{meant}`" if meant else "move it out of the folder",
    )
