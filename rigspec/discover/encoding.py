"""From bytes to text: UTF-8, the UTF-16 that PowerShell writes, and what must be unpacked first."""

from __future__ import annotations

_PACKED = (b"\x1f\x8b", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd", b"BZh", b"PK\x03\x04", b"7z\xbc\xaf")
"""What gzip, xz, zstd, bzip2, zip and 7-Zip begin with."""
_HEAD = 4096


def is_packed(head: bytes) -> bool:
    """Whether a file is an archive, or compressed."""
    return head.startswith(_PACKED)


def is_text(head: bytes) -> bool:
    """Whether its first bytes are something that a terminal has shown."""
    return bool(head.strip()) and (b"\x00\x00" not in head or _utf16(head) is not None)


def decoded(data: bytes) -> str:
    """The text; bytes that say nothing in it become marks."""
    return data.decode(_utf16(data[:_HEAD]) or "utf-8-sig", "replace")


def _utf16(head: bytes) -> str | None:
    """The kind of UTF-16: by its mark, else by the zero in every other byte of plain words."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    low, high = head[0::2], head[1::2]
    if _zeros(high) >= _MOST and _zeros(low) <= _FEW:
        return "utf-16-le"
    return "utf-16-be" if _zeros(low) >= _MOST and _zeros(high) <= _FEW else None


_MOST, _FEW = 0.8, 0.1
"""Frames and quotation marks are no Latin letters: not every other byte is zero."""


def _zeros(half: bytes) -> float:
    """Share of zero bytes."""
    return half.count(0) / len(half) if half else 0.0
