"""Every seeded fault: one file per subject, put together here."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

from .registry import Fault


def _all() -> Iterator[Fault]:
    """The tuple `FAULTS` of every `faults_SUBJECT.py` beside this file."""
    for file in sorted(Path(__file__).parent.glob("faults_*.py")):
        yield from import_module(f".{file.stem}", __package__).FAULTS


FAULTS: tuple[Fault, ...] = tuple(_all())
