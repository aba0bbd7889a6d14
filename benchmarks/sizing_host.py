"""What of a llama.cpp run lies in host memory, as far as its notes tell."""

from __future__ import annotations

import re

from rigspec.sizing.llamacpp_told import ALL_LAYERS

_COUNTED = re.compile(r"(?i)-n-?cpu-?moe[ =]?(\d+)\b|-ncmoe[ =]?(\d+)\b")
_ALL = re.compile(r"(?i)--cpu-moe\b|(?<![\w-])-cmoe\b")
_CHOSEN = re.compile(
    r"(?i)=CPU\b"
    r"|(?<!no )(?<!without )experts?\b[^.;\"]{0,40}\b(?:on|in|to) (?:the )?(?:CPU|RAM|host)\b"
)
"""An expression names the matrices, or prose says that some are there."""


def host_experts(notes: str) -> int | None:
    """The first layers whose experts lie there; None where a part does, and nobody says which."""
    counts = {int(one or other) for one, other in _COUNTED.findall(notes)}
    if len(counts) == 1 and "=CPU" not in notes:
        return counts.pop()
    if not counts and _ALL.search(notes):
        return ALL_LAYERS
    return None if counts or _CHOSEN.search(notes) else 0
