"""The key `_rigspec` of a saved model file: its name, revision, and exact bytes."""

from __future__ import annotations

from collections.abc import Mapping

from rigspec.catalog.model_facts import ExactSizes
from rigspec.catalog.model_faults import UnusableModel
from rigspec.catalog.model_shapes import as_record, from_record
from rigspec.letters import as_name

PIN = "_rigspec"
_PARTS = ("draft_bytes", "expert_bytes", "words_bytes")
"""Of the whole."""
_MOST_BYTES = 1 << 50
"""A pebibyte: hundreds of times beyond any published checkpoint."""


def pin_of(config: Mapping[str, object]) -> Mapping[str, object]:
    """What is pinned; empty in a config that nobody saved.

    Raises UnusableModel where the key holds something else, or sizes that cannot be: whoever
    wrote them counts on them, and the estimate from dimensions would not say that they are gone.
    """
    pin = config.get(PIN)
    if pin is None:
        return {}
    if not isinstance(pin, Mapping):
        raise UnusableModel(f"`{PIN}` is {_shown(pin)}, it holds an object")
    total = _bytes_of(pin, "total_bytes")
    if total == 0:
        raise UnusableModel(f"`{PIN}.total_bytes` is 0, a size is at least 1")
    for key in _PARTS:
        part = _bytes_of(pin, key)
        if part is not None and part > (total or 0):
            most = f"`total_bytes` is {total:,}" if total else "there are no `total_bytes`"
            raise UnusableModel(f"`{PIN}.{key}` is {part:,}, {most}")
    return pin


def pinned_sizes(pin: Mapping[str, object]) -> ExactSizes | None:
    """The bytes that are pinned; None where none are."""
    total = _bytes_of(pin, "total_bytes")
    if total is None:
        return None
    source = pinned_word(pin, "source") or "saved with the config"
    shapes = from_record(pin.get("shapes"))
    draft, experts, words = (_bytes_of(pin, key) for key in _PARTS)
    return ExactSizes(total, source, draft, shapes=shapes, expert_bytes=experts, words_bytes=words)


def pinned_word(pin: Mapping[str, object], key: str) -> str | None:
    """A name of the pin, as it may be printed."""
    value = pin.get(key)
    return as_name(str(value)) if value else None


def pin_text(name: str, revision: str | None, sizes: ExactSizes | None) -> dict[str, object]:
    """What is saved of a model beside its config."""
    pin: dict[str, object] = {"name": as_name(name), "revision": revision}
    if sizes is not None:
        pin |= {"total_bytes": sizes.total_bytes, "draft_bytes": sizes.draft_bytes}
        told = {"expert_bytes": sizes.expert_bytes, "words_bytes": sizes.words_bytes}
        pin |= {key: size for key, size in told.items() if size}
        pin |= {"source": sizes.source}
        pin |= {"shapes": as_record(sizes.shapes)} if sizes.shapes is not None else {}
    return pin


def _bytes_of(pin: Mapping[str, object], key: str) -> int | None:
    value = pin.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise UnusableModel(f"`{PIN}.{key}` is {_shown(value)}, which is no whole number of bytes")
    if value < 0:
        raise UnusableModel(f"`{PIN}.{key}` is {value}, a size is never negative")
    if value > _MOST_BYTES:
        raise UnusableModel(
            f"`{PIN}.{key}` is {value:,}, no model is beyond {_MOST_BYTES:,}: is a digit too many?"
        )
    return value


def _shown(value: object) -> str:
    return f"`{str(value)[:40]}`"
