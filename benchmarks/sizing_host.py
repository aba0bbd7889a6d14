"""What of a llama.cpp run lies in host memory, as far as its notes tell."""

from __future__ import annotations

import re
from itertools import product

from rigspec.sizing.llamacpp_told import ALL_LAYERS
from rigspec.sizing.overrides import is_moved, name_of_experts, overrides_in

_COUNTED = re.compile(r"(?i)-n-?cpu-?moe[ =]?(\d+)\b|-ncmoe[ =]?(\d+)\b")
_ALL = re.compile(r"(?i)--cpu-moe\b|(?<![\w-])-cmoe\b")
_CHOSEN = re.compile(
    r"(?i)=CPU\b"
    r"|(?<!no )(?<!without )experts?\b[^.;\"]{0,40}\b(?:on|in|to) (?:the )?(?:CPU|RAM|host)\b"
)
"""An expression names the matrices, or prose says that some are there."""
_EXPRESSION = re.compile(r"([^\s,;\"'`]+)=CPU\b")
_TABLE = re.compile(r"(?:-ot |--override-tensor )?['\"]?per_layer_token_embd(?:\\?\.weight)?=CPU\b")
"""The tables by layer lie there anyway."""
_TO_CARD = re.compile(r"(?i)(?:=|\b(?:on|to) )CUDA\d")


def host_experts(notes: str, stated: int | None = None) -> int | None:
    """The first layers whose experts lie there, `stated` before what notes count; None where a part
    does, and nobody says which."""
    notes = _TABLE.sub("", notes)
    counted = {int(one or other) for one, other in _COUNTED.findall(notes)}
    counts = counted if stated is None else {stated}
    if len(counts) == 1 and "=CPU" not in notes:
        return counts.pop()
    if not counts and (_ALL.search(notes) or _is_all(notes)):
        return ALL_LAYERS
    return None if counts or _CHOSEN.search(notes) else 0


def _is_all(notes: str) -> bool:
    """Whether the one expression that is quoted takes them all, and none goes to a card."""
    quoted = set(_EXPRESSION.findall(notes))
    found = overrides_in(f"{quoted.pop()}=CPU") if len(quoted) == 1 else None
    if found is None or _TO_CARD.search(notes):
        return False
    parts = product((0, 7, 93), ("gate_proj", "up_proj", "down_proj"))
    return all(is_moved(found, name_of_experts(*part)) for part in parts)
