"""What a published run says of fitting: that it booted, ran out of memory, or was refused."""

from __future__ import annotations

import re

from benchmarks.sizing_cases import Case
from rigspec.catalog.model_keys import Keys
from rigspec.sizing.settings import Engine


def fits_measured(case: Case) -> str | None:
    """`yes` for a boot, `no` for a memory refusal, None when the case is about something else.

    Memory that ran out nobody says where may have been that of a request, long after the boot; and
    what ran out while requests were served is no boot's.
    """
    found = Keys((case.measured,))
    stage = found.text("stage") or ""
    if shape_refusal(case) or stage == "not stated" or _SERVING.match(stage):
        return None
    refused = found.text("refused")
    if refused and found.flag("oom") is False and not _MEMORY.search(refused):
        return None  # it stopped for something else
    if found.flag("oom") is True or refused:
        return "no"
    printed = ("available_kv_gib", "kv_cache_tokens", "cuda_graph_gib")
    booted = case.kind == "budget" and found.flag("oom") is False
    logged = case.kind != "refusal" and any(found.number(name) is not None for name in printed)
    return "yes" if booted or logged else None


_SERVING = re.compile(r"(?i)run[- ]?time\b")
_MEMORY = re.compile(
    r"(?i)memory|\bkv\b|\bcache\b|pool|blocks?\b|\boom\b|mamba|alloc|larger than|max_num_seqs"
    r"|\bfits?\b|\d [GM]iB\b|exceeds"
)
"""Words of refusals that are about memory, where a run says that it did not run out of it."""


def shape_refusal(case: Case) -> bool:
    """Whether the engine refused the shape of the request, not its memory."""
    reason = (Keys((case.measured,)).text("refused") or "").lower()
    words = ("divisib", "above the model", "max_position", "heads", "not supported", "unsupported")
    return any(word in reason for word in words)


def accepted_measured(case: Case) -> str | None:
    """`no` for a shape refusal, `yes` for a run that got past it."""
    if shape_refusal(case):
        return "no"
    if case.settings.engine is Engine.LLAMA_CPP:
        return None
    return "yes" if fits_measured(case) == "yes" else None
