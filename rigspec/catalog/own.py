"""The owner's folder of rows as a whole: every row is read, whether or not a spec names it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

from rigspec.catalog.boards import all_boards
from rigspec.catalog.circuits import all_circuits
from rigspec.catalog.data import CatalogError
from rigspec.catalog.gpus import all_gpus
from rigspec.catalog.switches import all_switches
from rigspec.spec.beside import passed_over
from rigspec.spec.slips import PlacedFinding

TABLES: Mapping[str, Callable[[Path], object]] = {
    "gpus": all_gpus, "boards": all_boards, "switches": all_switches, "circuits": all_circuits,
}  # fmt: skip


@lru_cache(maxsize=16)
def read_own(folder: Path) -> tuple[PlacedFinding, ...]:
    """Read every table of the folder, once; files that would be tables and are none.

    CatalogError at the first row that cannot be used.
    """
    for name in _names(folder):
        read = TABLES.get(name.removesuffix(".yaml")) if name.endswith(".yaml") else None
        if read is not None:
            read(folder)
    return passed_over_in(folder)


def passed_over_in(folder: Path) -> tuple[PlacedFinding, ...]:
    """Files that would be tables and are none."""
    tables = ", ".join(f"`{table}.yaml`" for table in TABLES)
    found = (name for name in _names(folder) if _is_passed_over(name))
    return tuple(passed_over(str(folder / name), _meant(name), tables) for name in found)


def _names(folder: Path) -> list[str]:
    try:
        return sorted(file.name for file in folder.iterdir())
    except OSError as problem:
        raise CatalogError(f"cannot read catalog folder {folder}: {problem.strerror}") from problem


def _is_passed_over(name: str) -> bool:
    stem, dot, end = name.rpartition(".")
    is_table = stem in TABLES and end == "yaml"
    return bool(dot and stem) and end.lower() in ("yaml", "yml") and not is_table


def _meant(name: str) -> str:
    """The file that another one was probably to be: `gpus.yaml` of `gpus.yml` and `GPU.yaml`."""
    stem = name.rpartition(".")[0].lower()
    return next((f"{table}.yaml" for table in TABLES if stem in (table, table[:-1])), "")
