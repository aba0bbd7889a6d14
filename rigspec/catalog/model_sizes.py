"""Checkpoint sizes that somebody read or published, looked up by model name.

The file is `sizes.yaml` beside saved configs: `exact` rows hold header bytes, `club3090` rows hold
decimal GB as rounded on a page.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from rigspec.catalog.model_facts import ExactSizes
from rigspec.frozen import dataclass
from rigspec.units import GB, GIB

ROUNDED_ERROR = 0.03
"""Decimal GB of a page, rounded to two or three digits."""


@dataclass(frozen=True)
class SizeTable:
    """Sizes by lower-case model name; `exact` wins over rounded figures."""

    exact: Mapping[str, ExactSizes]
    rounded: Mapping[str, ExactSizes]

    def find(self, model: str) -> tuple[str, ExactSizes] | None:
        """The row's name and size, for a full name or a description that names a repository."""
        name = " ".join(re.sub(r"[()]", " ", model.lower()).split())
        for table in (self.exact, self.rounded):
            if name in table:
                return name, table[name]
        words = set(re.findall(r"[a-z0-9._-]+/[a-z0-9._-]+", name))
        for table in (self.exact, self.rounded):
            for row, sizes in table.items():
                if row in words:
                    return row, sizes
        return None


def size_table(data: object) -> SizeTable:
    """The table of a loaded `sizes.yaml`; rows that say nothing usable are left out."""
    top = data if isinstance(data, Mapping) else {}
    exact: dict[str, ExactSizes] = {}
    rounded: dict[str, ExactSizes] = {}
    for row in _rows(top.get("exact")):
        total = row.get("total_bytes")
        if isinstance(total, (int, float)) and total > 0:
            draft = row.get("mtp_bytes")
            drafts = int(draft) if isinstance(draft, (int, float)) else None
            exact[_name(row)] = ExactSizes(int(total), "header bytes", drafts)
    for row in _rows(top.get("figures")):
        checkpoint = row.get("checkpoint_gib") or row.get("file_gib")
        disk = row.get("disk_gb")
        if isinstance(checkpoint, (int, float)):
            rounded[_name(row)] = ExactSizes(
                int(checkpoint * GIB), "printed checkpoint size", None, 0.01
            )
        elif isinstance(disk, (int, float)):
            rounded[_name(row)] = ExactSizes(int(disk * GB), "published GB", None, ROUNDED_ERROR)
    club = top.get("club3090")
    for row in _rows(club.get("rows") if isinstance(club, Mapping) else None):
        size = row.get("size_gb")
        if isinstance(size, (int, float)):
            rounded.setdefault(
                _name(row), ExactSizes(int(size * GB), "published GB", None, ROUNDED_ERROR)
            )
    return SizeTable(exact, rounded)


def _rows(value: object) -> Iterable[Mapping[str, object]]:
    items = value if isinstance(value, (list, tuple)) else ()
    return [row for row in items if isinstance(row, Mapping)]


def _name(row: Mapping[str, object]) -> str:
    return str(row.get("model", "")).strip().lower()
