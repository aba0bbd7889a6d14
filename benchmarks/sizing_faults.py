"""Values of a published run that cannot be: such a case is declined, with its key and why.

What a file of this form holds beside its figures is left alone: null and words for it ("unset"),
keys of its own, notes. A case that is used all the same would count as an error of the estimate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import NamedTuple

_NOT_STATED = frozenset(
    ("", "-", "–", "—", "?", "unset", "unknown", "not stated", "none", "null", "n/a",
     "default", "auto")
)  # fmt: skip
_SHOWN = 40
"""Characters of a value that are repeated."""

Check = Callable[[object], str]
"""Why a value that is not null cannot be; empty when it can."""


class Span(NamedTuple):
    """What a number may be, both ends included, in a word."""

    least: float
    most: float
    what: str
    whole: bool = False


def faults_of(raw: Mapping[str, object]) -> tuple[str, ...]:
    """Everything in a case that cannot be, as `key: value` and why."""
    return tuple(_faults(raw))


def _faults(raw: Mapping[str, object]) -> Iterator[str]:
    yield from _each(raw, _STATED, "")
    key = "engine_family" if raw.get("engine_family") else "engine"
    engine = raw.get(key)
    if isinstance(engine, str) and not re.search("vllm|sglang|(?<!ex)llama", engine.lower()):
        yield _fault(key, engine, "is none of vllm, sglang and llama.cpp")
    measured = raw.get("measured")
    if measured is None:
        yield from _misspelt(raw, "measured")
        return
    if not isinstance(measured, Mapping):
        yield _fault("measured", measured, "is no mapping of figures")
        return
    yield from _each(measured, _MEASURED, "measured.")
    for name, checks in _LISTS.items():
        yield from _listed(measured.get(name), checks, f"measured.{name}")


def _misspelt(raw: Mapping[str, object], key: str) -> Iterator[str]:
    """A key that is not there, where one nearly like it is."""
    near = get_close_matches(key, map(str, raw), n=1, cutoff=0.8) if key not in raw else []
    yield from (f"there is no `{key}`: is `{found}` meant so?" for found in near)


def _each(raw: Mapping[str, object], checks: Mapping[str, Check], where: str) -> Iterator[str]:
    for key, check in checks.items():
        value = raw.get(key)
        why = "" if value is None else check(value)
        if why:
            yield _fault(f"{where}{key}", value, why)


def _listed(value: object, checks: Mapping[str, Check], where: str) -> Iterator[str]:
    if value is None:
        return
    if not isinstance(value, list):
        yield _fault(where, value, "is no list of runs")
        return
    for order, entry in enumerate(value):
        if isinstance(entry, Mapping):
            yield from _each(entry, checks, f"{where}[{order}].")
        else:
            yield _fault(f"{where}[{order}]", entry, "is no mapping of figures")


def _fault(key: str, value: object, why: str) -> str:
    text = " ".join(str(value).split())
    return f"`{key}: {text if len(text) <= _SHOWN else text[:_SHOWN] + '…'}` {why}"


def _number(span: Span) -> Check:
    def check(value: object) -> str:
        if _is_unstated(value):
            return ""
        number = _figure(value)
        if number is None:
            return "is no number"
        if not math.isfinite(number):
            return "is no finite number"
        if span.whole and number != int(number):
            return "is no whole number"
        if not span.least <= number <= span.most:
            return f"is no {span.what}: {span.least:,.10g} to {span.most:,.10g}"
        return ""

    return check


def _is_unstated(value: object) -> bool:
    return isinstance(value, str) and value.strip().lower() in _NOT_STATED


def _figure(value: object) -> float | None:
    """The number, also where it is written as text."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf
    except ValueError:
        return None


def _context(value: object) -> str:
    """A number of tokens, or text that holds one: `~188K (200K-alloc)`."""
    in_words = isinstance(value, str) and _figure(value) is None and re.search(r"\d", value)
    is_auto = _figure(value) == -1  # vLLM takes what the cache holds
    return "" if in_words or is_auto else _number(_TOKENS)(value)


def _flag(value: object) -> str:
    """Other words for it ("on", 1, "10 GiB") say nothing, and nothing wrong."""
    return "is neither true nor false" if isinstance(value, list | Mapping) else ""


def _verdict(value: object) -> str:
    """What a boot is judged by: nothing else than true or false tells it."""
    return "" if isinstance(value, bool) or _is_unstated(value) else "is neither true nor false"


def _flag_or_count(value: object) -> str:
    return "" if isinstance(value, bool) else _number(_COUNT)(value)


def _text(value: object) -> str:
    """A number is taken as not stated: YAML has lost the end of a version `0.20`."""
    return "is no text" if isinstance(value, list | Mapping | bool) else ""


def _text_or_off(value: object) -> str:
    return "" if value is False else _text(value)


def _shares(value: object) -> str:
    """llama.cpp's `--tensor-split`: a list, or `3,1`."""
    if isinstance(value, str):
        apart = re.fullmatch(r"\s*\d[\d.\s]*([,/;:]\s*\d[\d.\s]*)*", value)
        return "" if apart or _is_unstated(value) else "is no list of shares"
    if not isinstance(value, list):
        return "is no list of shares"
    whys = (_number(Span(0, 1e9, "share of a split"))(item) for item in value)
    return next((why for why in whys if why), "")


_COUNT = Span(1, 4096, "number of cards or copies", whole=True)
_LENGTH = Span(1, 1e9, "count", whole=True)
_TOKENS = Span(1, 1e9, "number of tokens", whole=True)
_SHARE = Span(1e-3, 1, "share of a card's memory")
_GIB = Span(1e-3, 1e5, "size of memory in GiB")
_POOL = Span(-1e5, 1e5, "size of memory in GiB")
"""What is left for the cache is printed with its sign: it may be negative."""
_RATE = Span(1e-6, 1e9, "speed in tokens per second")
_BYTES = Span(1, 1e15, "size in bytes", whole=True)

_STATED: Mapping[str, Check] = {
    **dict.fromkeys(("gpu_count", "tp", "pp", "dp", "dcp"), _number(_COUNT)),
    "ep": _flag_or_count,
    **dict.fromkeys(("gpu_memory_utilization", "mem_fraction_static"), _number(_SHARE)),
    **dict.fromkeys(("gpu_total_gib", "gpu_free_gib"), _number(_GIB)),
    "max_model_len": _context,
    **dict.fromkeys(
        ("max_num_seqs", "max_num_batched_tokens", "block_size", "n_seq_max", "parallel",
         "n_batch", "n_ubatch"),
        _number(_LENGTH),
    ),
    "max_cudagraph_capture_size": _number(_LENGTH._replace(least=0)),
    "kv_cache_memory_bytes": _number(_BYTES),
    **dict.fromkeys(
        ("enforce_eager", "enable_prefix_caching", "language_model_only", "flash_attn",
         "cpu_offload"),
        _flag,
    ),
    **dict.fromkeys(
        ("engine", "engine_family", "engine_version", "model", "config", "arch", "quantization",
         "gpu", "kv_cache_dtype", "mamba_ssm_cache_dtype", "split_mode", "kind"),
        _text,
    ),
    "speculative": _text_or_off,
    "tensor_split": _shares,
}  # fmt: skip
_MEASURED: Mapping[str, Check] = {
    "weights_gib_per_gpu": _number(_GIB),
    "available_kv_gib": _number(_POOL),
    "cuda_graph_gib": _number(_POOL),
    "kv_cache_tokens": _number(_TOKENS),
    "oom": _verdict,
    "refused": _text_or_off,
    "stage": _text,
}
_LISTS: Mapping[str, Mapping[str, Check]] = {
    "decode": {
        "concurrency": _number(_LENGTH),
        "context": _number(_TOKENS._replace(least=0)),
        "tok_s": _number(_RATE),
    },
    "prefill": {"prompt_tokens": _number(_TOKENS), "tok_s": _number(_RATE)},
}
