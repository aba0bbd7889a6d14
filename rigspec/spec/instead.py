"""What to write instead of a text that a field does not take: the owner's own words, if they can
be made to fit, else an example of what goes there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, get_args

from rigspec.finding import Path
from rigspec.spec.fields import section_at
from rigspec.spec.forms import NAME, Form

LONGEST_NAME = 32


def form_hint(
    path: Path, written: str | None, form: Form, pattern: str, models: Mapping[str, str | None]
) -> str:
    """One entry each, a name of this spec, the same words as a name, or an example."""
    parts = (written or "").split()
    if len(parts) > 1 and isinstance(path[-1], int) and all(re.search(pattern, p) for p in parts):
        return f"one entry each: {ticked(parts)}"
    if path[:1] == ("services",) and path[2:] == ("model",):
        return _model(written, models)
    own = _as_name(written or "") if pattern == NAME else ""
    example = own or ("RIG_API_KEY" if path[-1:] == ("api_key_env",) else form.example)
    return f"for example `{example}`" if example else ""


def _model(written: str | None, models: Mapping[str, str | None]) -> str:
    """A service names one of `models`; what to fetch stands there."""
    meant = next((name for name, hub in models.items() if hub == written), None)
    if meant is not None:
        return f"its name below `models` goes here: `{meant}`"
    if models:
        return f"one of the names below `models`: {ticked(models)}; add another one there"
    return "describe it below `models` first, under a name of your own, and write that name here"


def _as_name(written: str) -> str:
    """`My Rig` → `my-rig`; empty where no letter is left."""
    words = re.sub(r"[^a-z0-9]+", "-", written.lower()).strip("-")
    return words[:LONGEST_NAME].strip("-")


def empty_hint(path: Path) -> str:
    """What goes into a field that holds nothing; an empty text only where one is taken."""
    section = section_at(path[:-1])
    info = section.model_fields.get(str(path[-1])) if section else None
    if info is not None and info.description:
        return f"what goes there: {info.description[:1].lower()}{info.description[1:].rstrip('.')}"
    return 'write `""` if an empty text is meant' if _takes_nothing(path) else ""


def _takes_nothing(path: Path) -> bool:
    """Whether the values of a mapping, such as an environment, may be empty."""
    depth = next((d for d in range(len(path) - 1, 0, -1) if section_at(path[: d - 1])), 0)
    section = section_at(path[: depth - 1]) if depth else None
    info = section.model_fields.get(str(path[depth - 1])) if section else None
    kind: Any = info.annotation if info else None
    for _ in path[depth:]:
        kind = (get_args(kind) or (None,))[-1]
    limits = getattr(kind, "__metadata__", ())
    patterns = [pattern for limit in limits if (pattern := getattr(limit, "pattern", None))]
    return bool(patterns) and all(re.search(pattern, "") for pattern in patterns)


def ticked(words: Mapping[str, str | None] | tuple[str, ...] | list[str]) -> str:
    """Words as literals, with commas."""
    return ", ".join(f"`{word}`" for word in words)
