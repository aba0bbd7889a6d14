"""The free text of published runs, turned into settings: versions, contexts, speculation."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from rigspec.sizing.settings import Speculation, Speculative
from rigspec.units import GB, GIB

RELEASES = (
    ((2024, 6), (0, 5)), ((2024, 9), (0, 6)), ((2025, 3), (0, 7)), ((2025, 6), (0, 9)),
    ((2025, 8), (0, 10)), ((2025, 10), (0, 11)), ((2025, 12), (0, 13)), ((2026, 1), (0, 14)),
    ((2026, 2), (0, 16)), ((2026, 3), (0, 18)), ((2026, 4), (0, 19)), ((2026, 5), (0, 20)),
    ((2026, 6), (0, 22)), ((2026, 7), (0, 24)), ((2026, 8), (0, 26)), ((2026, 9), (0, 28)),
    ((2026, 10), (0, 30)), ((2026, 11), (0, 33)),
)  # fmt: skip
"""The vLLM line of a month, for runs that state a date but no version."""
SGLANG_RELEASES = (
    ((2025, 1), (0, 4)), ((2025, 6), (0, 4, 7)), ((2025, 9), (0, 5, 2)), ((2025, 10), (0, 5, 3)),
    ((2025, 11), (0, 5, 5)), ((2025, 12), (0, 5, 6)), ((2026, 1), (0, 5, 7)),
    ((2026, 2), (0, 5, 8)), ((2026, 3), (0, 5, 9)), ((2026, 4), (0, 5, 10)),
    ((2026, 5), (0, 5, 11)), ((2026, 6), (0, 5, 13)), ((2026, 7), (0, 5, 15)),
    ((2026, 8), (0, 5, 17)), ((2026, 9), (0, 5, 20)), ((2026, 10), (0, 5, 22)),
    ((2026, 11), (0, 5, 23)),
)  # fmt: skip
"""The SGLang release of a month, by the days on which its wheels came out."""
Releases = Sequence[tuple[tuple[int, int], tuple[int, ...]]]

NEXT_LINE_COMMITS = 100
"""A build of main so many commits after a candidate counts as the next line: 0.20.2rc1.dev129
deducts and prints as 0.21 does, 0.20.1rc1.dev16 as 0.20 (two boots on two cards); 0.20.2rc1.dev9
prints as 0.20.2 (two boots)."""
_MAIN_BUILD = re.compile(r"rc\d+\.dev(\d+)\+g[0-9a-f]{7,}")
_NIGHTLY = re.compile(r"\bnightly\b", re.IGNORECASE)

_MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"]


def version_of(
    text: str | None, date: str | None, releases: Releases = RELEASES
) -> tuple[int, ...] | None:
    """`0.20.2` → (0, 20, 2), `0.20.2rc1` → (0, 20); else the line of the stated date, or the next
    one where that is the date of a nightly build.

    A candidate may lack what the release changed, so its patch is not taken. A build of the main
    branch has it, and hundreds of commits on most of the next line: patch releases are cut from
    branches.
    """
    said = text or ""
    found = re.search(
        r"(?<![\d.])([01])\.(\d{1,2})(?![\d])(?:\.(\d{1,2})(?![\d]|(\.?dev|rc)))?", said
    )
    since = _MAIN_BUILD.search(said)
    if found and (found[1], found[2]) != ("0", "1"):  # a shallow clone's build counts from 0.1
        line = int(found[1]), int(found[2])
        if since is None:
            return (*line, int(found[3])) if found[3] else line
        if int(since[1]) >= NEXT_LINE_COMMITS:
            return line[0], line[1] + 1, 0
        patch = re.search(r"\.(\d{1,2})rc", said)
        return (*line, int(patch[1])) if patch else line
    month = _month_of(date or "") or _month_of(said)
    fitting = [version for start, version in releases if month and start <= month]
    if not fitting:
        return None
    *line, last = fitting[-1]
    return *line, last + (1 if _NIGHTLY.search(said) else 0)


def _month_of(text: str) -> tuple[int, int] | None:
    stamp = re.search(r"(20\d\d)-?(0[1-9]|1[0-2])-?(?:[0-3]\d)?", text)
    if stamp:
        return int(stamp[1]), int(stamp[2])
    words = re.search(r"\b([A-Z][a-z]{2})[a-z]* (20\d\d)", text)
    if words and words[1].lower() in _MONTHS:
        return int(words[2]), _MONTHS.index(words[1].lower()) + 1
    return None


def tokens_of(value: object) -> int | None:
    """A context length: 262144, `262K`, `~188K (200K-alloc)`."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, (int, float)):
        return int(value) if value > 0 else None
    found = re.search(r"(\d+(?:[.,]\d+)*)\s*([KkMm]?)", str(value))
    if found is None:
        return None
    number = float(found[1].replace(",", ""))
    unit = {"k": 1000, "m": 1_000_000}.get(found[2].lower(), 1)
    if unit == 1000 and number in (16, 32, 64, 128, 256):
        unit = 1024
    return int(number * unit) or None


_OFF = re.compile(r"^(none|off|no|false|disabled|-|)$|no[- ]?(mtp|spec|drafter)", re.IGNORECASE)


def with_options_as_text(raw: Mapping[str, object]) -> Mapping[str, object]:
    """The case with vLLM's `--speculative-config`, where that is written as a mapping, as text."""
    options = raw.get("speculative")
    if not isinstance(options, Mapping):
        return raw
    told = (f"{key}: {value}" for key, value in options.items() if value is not None)
    return {**raw, "speculative": ", ".join(told) or None}


def speculation_of(text: str | None, compose: str | None) -> Speculative | None:
    """How a run speculated; None when it states nothing or says that it did not."""
    stated = (text or "").strip()
    if not stated or _OFF.search(stated):
        return None
    where = f"{stated} {compose or ''}"
    if "compose" in stated.lower() and _OFF.search(compose or "-x-"):
        return None
    accepted = re.search(r"acceptance length\s*([\d.]+)", where)
    draft = re.search(r"([\d.]+)\s*(GB) draft|draft of ([\d.]+) ?(Gi?B)\b", where)
    return Speculative(
        method=_method(where.lower()),
        tokens=_depth(where),
        accepted=_length(float(accepted[1].rstrip(".")), stated) if accepted else None,
        draft_gib=_gib(*(part for part in draft.groups() if part)) if draft else 0.0,
    )


def _gib(size: str, unit: str) -> float:
    return float(size) * (GB / GIB if unit == "GB" else 1.0)


def _length(printed: float, stated: str) -> float:
    """A run's own length as it is. In tables of composes it is that of code, the speed beside
    it that of prose: a quarter of the way from the usual 2.6 (eight rows of one table)."""
    return 2.6 + (printed - 2.6) / 4 if "per compose" in stated else printed


def _method(text: str) -> Speculation:
    if "dflash" in text or "dspark" in text:
        return "dflash"
    if "nextn" in text or "mtp" in text:
        return "mtp"
    if "eagle" in text:
        return "eagle"
    if "ngram" in text:
        return "ngram"
    return "unstated"


def _depth(text: str) -> int | None:
    found = re.search(
        r"\bn\s*=\s*(\d+)|steps (\d+)|depth[^\d]{0,20}(\d+)|num_speculative_tokens\W+(\d+)", text
    )
    return int(next(group for group in found.groups() if group)) if found else None


_CACHE_PARTS = (
    ("k8v4", "turboquant_k8v4"), ("turboquant_4bit", "turboquant_4bit_nc"),
    ("k3v4_nc", "turboquant_k3v4_nc"), ("turboquant_3bit", "turboquant_3bit_nc"),
    ("ultraquant", "ultraquant_4bit"), ("fp8_per_token", "fp8_per_token_head"), ("mxfp8", "mxfp8"),
    ("int8", "int8_per_token_head"), ("int4", "int4_per_token_head"),
    ("fp4_e2m1", "fp4_e2m1"), ("nvfp4_ds_mla", "nvfp4_ds_mla"), ("fp4", "nvfp4"),
    ("nf3", "nf3_ds_mla"), ("fp8_ds_mla", "fp8_ds_mla"), ("e5m2", "fp8_e5m2"),
    ("e4m3", "fp8_e4m3"), ("fp8", "fp8"), ("3bit", "tq3"), ("tq3", "tq3"), ("float32", "float32"),
)  # fmt: skip
"""A part of what a report writes → the engine's name of the type; the first that is there."""


def cache_type_of(text: str | None) -> str:
    """`fp8/e4m3` and `int8-PTH` as vLLM or SGLang name the type."""
    said = (text or "auto").lower()
    if said == "auto" or is_asked_for(text):
        return "auto"
    return next((name for part, name in _CACHE_PARTS if part in said), "bfloat16")


def is_asked_for(text: str | None) -> bool:
    """Whether an `auto` came to 8 bits because the checkpoint asks for them."""
    said = (text or "").lower()
    return said.startswith("auto") and "fp8" in said
