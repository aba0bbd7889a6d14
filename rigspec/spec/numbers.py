"""What to write instead of a number with a unit, separators, or a percentage."""

from __future__ import annotations

import re
from typing import Any

from rigspec.finding import Path
from rigspec.spec.fields import section_at, type_at

VERSION = re.compile(r"([0-9]{3})\.[0-9]{2,3}(\.[0-9]{2})?")


LEAST_PERCENT = 0.05
"""`1.5` is hardly 1.5 percent: below this a number is a slip of another kind."""


_IN_WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight")


def number_hint(path: Path, written: str | None) -> str:
    """Units, thousands separators, percentages, `k` and whole versions are the usual slips."""
    text = (written or "").replace(" ", "").replace("_", "")
    if path == ("driver", "branch") and (version := VERSION.fullmatch(text)):
        return f"write `branch: {version[1]}` and `version: {text}`"
    if text.lower() in _IN_WORDS:
        return f"write `{_IN_WORDS.index(text.lower()) + 1}`"
    told = _in_figures(path, text) or _of_unit(path, text)
    if told:
        return told
    digits = text.replace(",", "")
    if _GROUPED.fullmatch(text):
        return f"write it without separators: `{digits}`"
    if "," in text and not _GROUPED.match(text):
        return ""
    head = digits.rstrip("WwAaVvGgMmKkBbIiHhZzSsTt%")
    tail = digits[len(head) :].lower()
    if not head or not tail or not head.replace(".", "", 1).isdecimal():
        return ""
    if tail == "k" and head.isdecimal():
        return f"write the number out: `{int(head) * 1000}` (or `{int(head) * 1024}`)"
    if tail in ("k", "kw"):
        return f"write the number out: `{round(float(head) * 1000)}`"
    share = share_hint(path, head) if tail == "%" else ""
    return share or (
        f"write the number alone, its unit is in the key's name or its description: `{head}`"
    )


_GROUPED = re.compile(r"[1-9]\d{0,2}(,\d{3})+")
_LANES_OR_PORT = re.compile(r"[xX](\d+)|(\d+)[xX]|(\d+)/(?:tcp|udp)", re.IGNORECASE)
_GENERATION = re.compile(r"(?:pcie|gen)*\.?(\d)(?:\.0)?", re.IGNORECASE)
_POWER_OF_TEN = re.compile(r"\d+(?:\.\d+)?[eE]\+?\d{1,2}")
_LONGEST = ("max", "maximum", "full", "longest")
_POINT = "decimals follow a point"
MOST_KW = 10.0
"""A number with a point below this, where whole watts belong, is one of kilowatts."""


def _in_figures(path: Path, text: str) -> str:
    """A decimal comma where a share or a number with a point belongs, and powers of ten."""
    if type_at(path) is float and re.fullmatch(r"\d+,\d+", text):
        number = float(text.replace(",", "."))
        least, most = _bounds(path)
        if most is not None and most <= 1:
            fits = least <= number <= most
            return f"{_POINT}: `{number:g}`" if fits else share_hint(path, str(number))
        if not _GROUPED.fullmatch(text):
            return f"{_POINT}: `{number:g}`"
    if _POWER_OF_TEN.fullmatch(text) and float(text).is_integer():
        return f"write the number out: `{int(float(text))}`"
    return ""


def _of_unit(path: Path, text: str) -> str:
    """Lanes, ports and generations with what belongs to them, kilowatts, the longest context."""
    key = str(path[-1]) if path else ""
    if plain := _LANES_OR_PORT.fullmatch(text):
        return f"write `{plain[1] or plain[2] or plain[3]}`"
    if key == "generation" and (plain := _GENERATION.fullmatch(text)):
        return f"write `{plain[1]}`"
    if key == "context_length" and text.lower() in _LONGEST:
        return (
            "`auto` is the longest that the cache holds (vLLM); without the line it is the model's"
        )
    if (key == "watts" or key.endswith("_w")) and re.fullmatch(r"\d+\.\d+", text):
        watts = float(text) * 1000 if float(text) < MOST_KW else float(text)
        return f"in whole watts: `{watts:.0f}`"
    return ""


def share_hint(path: Path, written: str | None) -> str:
    """`92` where a share of 1 belongs → `0.92`; nothing where that would be out of range too."""
    least, most = _bounds(path)
    try:
        share = float(written or "") / 100
    except ValueError:
        return ""
    if most is None or most > 1 or not LEAST_PERCENT <= share <= most or share < least:
        return ""
    return f"a share of 1, not percent: `{share:g}`"


def _bounds(path: Path) -> tuple[float, float | None]:
    """The least and the largest value that the field takes, as its model says."""
    section = section_at(path[:-1])
    info = section.model_fields.get(str(path[-1])) if section and path else None
    limits: list[Any] = _metadata(info) if info else []
    least = [v for m in limits if (v := getattr(m, "ge", getattr(m, "gt", None))) is not None]
    most = [v for m in limits if (v := getattr(m, "le", getattr(m, "lt", None))) is not None]
    return (least[0] if least else 0.0), (most[0] if most else None)


def _metadata(info: Any) -> list[Any]:
    """The limits of a field, also below `… | None`."""
    found = list(info.metadata)
    for part in (info.annotation, *getattr(info.annotation, "__args__", ())):
        found += getattr(part, "__metadata__", ())
    return [inner for m in found for inner in (getattr(m, "metadata", None) or [m])]
