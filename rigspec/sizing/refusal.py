"""One reason why an engine does not start, whatever memory there is."""

from __future__ import annotations

from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Refusal:
    """A rule that is broken, and the arithmetic of it."""

    rule: str
    message: str
    surely: bool = True
    """Whether it is certain; else a release or a kernel of it may take the shape."""
