"""The catalog as rows for `rigspec catalog TABLE [NAME]`: plain data, printed elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path

from rigspec.catalog.boards import BoardModel, all_boards, find_board, nearest_boards
from rigspec.catalog.circuits import Circuit, all_circuits
from rigspec.catalog.data import nearest
from rigspec.catalog.gpus import Gpu, all_gpus, find_gpu, nearest_gpus
from rigspec.catalog.switches import SwitchModel, all_switches, find_switch, nearest_switches

Line = dict[str, object]
"""Column to value; None is unknown."""

TABLES = ("gpus", "switches", "boards", "circuits")


def list_table(table: str, extra: Path | None = None) -> list[Line]:
    """One short line per entry of a table."""
    by_table: Mapping[str, Callable[[], list[Line]]] = {
        "gpus": lambda: [_gpu(gpu) for gpu in all_gpus(extra)],
        "switches": lambda: [_switch(switch) for switch in all_switches(extra)],
        "boards": lambda: [_board(board) for board in all_boards(extra)],
        "circuits": lambda: [_circuit(circuit) for circuit in all_circuits(extra)],
    }
    return by_table[table]()


def list_entry(table: str, name: str, extra: Path | None = None) -> list[Line]:
    """Every field of one entry with its source; empty when there is no such entry."""
    by_table: Mapping[str, Callable[[], object]] = {
        "gpus": lambda: find_gpu(name, extra),
        "switches": lambda: find_switch(name, None, extra),
        "boards": lambda: find_board(name, extra),
        "circuits": lambda: next((c for c in all_circuits(extra) if c.name == name), None),
    }
    entry = by_table[table]()
    if not is_dataclass(entry) or isinstance(entry, type):
        return []
    sources: Mapping[str, str] = getattr(entry, "sources", {})
    whole_row = getattr(entry, "source", "")
    return [
        {
            "field": each.name,
            "value": _plain(getattr(entry, each.name), _JOINED.get(each.name, ", ")),
            "source": sources.get(_SHARED_SOURCES.get(each.name, each.name), whole_row),
        }
        for each in fields(entry)
        if each.name not in ("sources", "source")
    ]


def nearest_names(table: str, name: str, extra: Path | None = None) -> tuple[str, ...]:
    """Did-you-mean: entries of a table whose name is close to `name`."""
    by_table: Mapping[str, Callable[[], tuple[str, ...]]] = {
        "gpus": lambda: nearest_gpus(name, extra),
        "switches": lambda: nearest_switches(name, extra),
        "boards": lambda: nearest_boards(name, extra),
        "circuits": lambda: nearest(name, tuple(c.name for c in all_circuits(extra))),
    }
    return by_table[table]()


_SHARED_SOURCES = {
    "pcie_gen": "pcie",
    "pcie_width": "pcie",
    "power_min_w": "power",
    "power_default_w": "power",
    "power_max_w": "power",
    "formats": "compute_capability",
    "x16_slots": "slots",
}


_JOINED = {"compute_capability": "."}
"""What stands between the parts of a value: a version is no list."""


def _plain(value: object, between: str = ", ") -> object:
    if isinstance(value, tuple):
        return between.join(str(item) for item in value)
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {item}" for key, item in value.items())
    return value


def _gpu(gpu: Gpu) -> Line:
    return {
        "sku": gpu.sku,
        "memory MiB": gpu.memory_mib,
        "GB/s": gpu.memory_bandwidth_gb_s,
        "sm": _plain(gpu.compute_capability, "."),
        "PCIe": f"{gpu.pcie_gen} x{gpu.pcie_width}" if gpu.in_pcie_slot else None,
        "min W": gpu.power_min_w,
        "default W": gpu.power_default_w,
        "max W": gpu.power_max_w,
        "P2P": gpu.p2p,
    }


def _switch(switch: SwitchModel) -> Line:
    return {
        "model": switch.model,
        "name": switch.name,
        "gen": switch.generation,
        "GB/s one way": switch.unidirectional_gb_s,
        "GB/s both ways": switch.bidirectional_gb_s,
        "latency µs": switch.latency_us,
    }


def _board(board: BoardModel) -> Line:
    return {
        "model": board.model,
        "name": board.name,
        "cpu": board.cpu,
        "sockets": board.sockets,
        "gen": board.generation,
        "x16 slots": board.x16_slots,
        "warm reboot": board.warm_reboot,
    }


def _circuit(circuit: Circuit) -> Line:
    return {
        "name": circuit.name,
        "V": circuit.volts,
        "A": circuit.amps,
        "continuous W": circuit.continuous_w,
        "region": circuit.region,
    }
