"""Units, in one place: parsing, conversion, and one formatter each.

Names carry the unit everywhere else (`power_limit_w`, `memory_mib`, `bandwidth_gb_s`): W is watts,
GiB is 2**30 bytes, GB/s is 10**9 bytes per second.
"""

from __future__ import annotations

import math

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
GB = 10**9


def gib(n_bytes: float) -> float:
    """Bytes to GiB."""
    return n_bytes / GIB


def text_gib(n_bytes: float) -> str:
    """Bytes as `12.3 GiB`."""
    return f"{n_bytes / GIB:.1f} GiB"


def with_article(name: str) -> str:
    """`an NVIDIA A40`, `a Tesla T4`, `an L4`: as it is spoken."""
    spelled = name.startswith("NV") or (name[:1] in "FHLMNRSX" and name[1:2].isdigit())
    spelled = spelled or name.startswith("fp8")
    return f"{'an' if spelled or name[:1] in 'AEIOaeio' else 'a'} {name}"


def count(amount: int, noun: str) -> str:
    """`1 stream`, `8 streams`."""
    return f"{amount:,} {noun}{'' if amount == 1 else 's'}"


def tenths_of(requests: float) -> float:
    """Whole tenths, never rounded up: 7.96 requests at once are no eight."""
    return math.floor(requests * 10 + 1e-9) / 10


def text_w(watts: float) -> str:
    """Watts as `1400 W`."""
    return f"{watts:.0f} W"
