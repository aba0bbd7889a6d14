"""NVIDIA GPUs: what is known of a card before the machine can be asked.

What the card itself says always wins (`power.min_limit`, `memory.total`, `compute_cap`, BAR1): this
table judges a spec before the rig can be reached, and names a contradiction afterwards.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar, cast

from rigspec.catalog.data import GENERATION, Row, Span, load_table, nearest, shown
from rigspec.frozen import dataclass

_T = TypeVar("_T")
Answer = Literal["yes", "no", "unknown"]
OpenModule = Literal["required", "supported", "unsupported"]

MEMORY_TOLERANCE = 0.07
"""How far `memory.total` may be from the table: ECC takes 6 % (46068 of 49140 MiB on GA102)."""

FIGURES = (
    "pci_ids",
    "pci_class",
    "memory_mib",
    "memory_bandwidth_gb_s",
    "compute_capability",
    "pcie",
    "power",
    "nvlink",
    "p2p",
    "bar1_mib",
    "open_module",
)
"""What needs a source in each row (`pcie` is generation and lanes, `power` three watts)."""

_KEYS = ("name", "aliases", *FIGURES, "source", "sources")
_COMMON, _OTHER_VENDORS = "common", "other_vendors"

_ARCHITECTURES: Mapping[tuple[int, int], str] = {
    (6, 0): "pascal",
    (7, 0): "volta",
    (7, 5): "turing",
    (8, 0): "ampere",
    (8, 9): "ada",
    (9, 0): "hopper",
    (10, 0): "blackwell",
}
"""First compute capability of each architecture (developer.nvidia.com/cuda-gpus)."""

_FORMATS: Mapping[tuple[int, int], tuple[str, ...]] = {
    (6, 0): (),
    (7, 0): ("fp16",),
    (7, 5): ("fp16", "int8", "int4"),
    (8, 0): ("fp16", "bf16", "tf32", "int8", "int4"),
    (8, 9): ("fp16", "bf16", "tf32", "int8", "int4", "fp8"),
    (9, 0): ("fp16", "bf16", "tf32", "int8", "fp8"),
    (10, 0): ("fp16", "bf16", "tf32", "int8", "fp8", "fp6", "nvfp4", "mxfp4"),
}
"""Operand formats the tensor cores take, from each capability on (CUDA programming guide)."""


BFLOAT16_SINCE = (8, 0)
"""Compute capability; vLLM: "Bfloat16 is only supported on GPUs with compute capability of at least
8.0" (vllm/platforms/cuda.py of 0.11.2 to 0.33.0). SGLang takes float16 by itself before it."""


@dataclass(frozen=True)
class Gpu:
    """One catalog SKU. MiB are 2**20 bytes, GB/s 10**9 bytes per second."""

    sku: str
    aliases: tuple[str, ...]
    name: str
    """As nvidia-smi prints it."""
    pci_ids: tuple[str, ...]
    """Device ids of vendor 10de, lower-case hex."""
    pci_class: str
    """`0300` display controller, `0302` 3D controller."""
    memory_mib: int
    """`memory.total` of nvidia-smi."""
    memory_bandwidth_gb_s: float | None
    compute_capability: tuple[int, int]
    formats: tuple[str, ...]
    """Operand formats of the tensor cores; empty where there are none."""
    pcie_gen: int
    """0 where the GPU sits in no PCIe slot (NVLink-C2C)."""
    pcie_width: int
    power_min_w: int | None
    power_default_w: int
    power_max_w: int | None
    nvlink: str | None
    p2p: Answer
    """Peer access over PCIe with the stock driver."""
    bar1_mib: int | None
    """Size of BAR1 with Resizable BAR on."""
    open_module: OpenModule
    """Whether the open kernel modules drive it."""
    sources: Mapping[str, str]
    """Figure to source; the first word says how good it is."""

    @property
    def architecture(self) -> str:
        """`ampere`, `ada`, `hopper`, `blackwell` …, from the compute capability."""
        return _newest_below(_ARCHITECTURES, self.compute_capability) or "older"

    @property
    def in_pcie_slot(self) -> bool:
        """Whether it has a PCIe link of its own to judge."""
        return self.pcie_gen > 0


def all_gpus(extra: Path | None = None) -> tuple[Gpu, ...]:
    """Every known card: ours, then those of the owner's folder `extra`."""
    return _all_gpus(extra)


@lru_cache(maxsize=16)
def _all_gpus(extra: Path | None) -> tuple[Gpu, ...]:
    table = load_table("gpus", extra)
    common = cast(Mapping[str, str], table[_COMMON].mapping("sources"))
    special = (_COMMON, _OTHER_VENDORS)
    return tuple(_gpu(row, common) for sku, row in table.items() if sku not in special)


def find_gpu(sku_or_alias: str, extra: Path | None = None) -> Gpu | None:
    """The card of a SKU, an alias or a name as nvidia-smi prints it; None when unknown."""
    return _by_spelling(extra).get(slug(sku_or_alias))


NEARLY_EQUAL = 0.9
"""Likeness (difflib) from which a text is a misspelt name, not a name with words around it."""

SHORTEST_INSIDE = 4
"""Characters of a name that is looked for inside a longer text."""


def gpus_with_pci_id(device_id: str, extra: Path | None = None) -> tuple[Gpu, ...]:
    """All cards with a device id (`2bb3`): one id can stand for two memory sizes."""
    wanted = device_id.lower().removeprefix("0x")
    return tuple(gpu for gpu in all_gpus(extra) if wanted in gpu.pci_ids)


def nearest_gpus(text: str, extra: Path | None = None) -> tuple[str, ...]:
    """Did-you-mean: up to three SKUs whose name or alias is close to `text`."""
    spellings = _by_spelling(extra)
    wanted = slug(text)
    inside = [s for s in spellings if len(s) >= SHORTEST_INSIDE and f"-{s}-" in f"-{wanted}-"]
    misspelt = get_close_matches(wanted, spellings, 1, NEARLY_EQUAL)
    if inside and not misspelt:  # a maker's name around the card's: `EVGA RTX 3090 FTW3 Ultra 24GB`
        return (spellings[max(inside, key=len)].sku,)
    return nearest(wanted, {s: gpu.sku for s, gpu in spellings.items()})


def other_vendor(text: str, extra: Path | None = None) -> str | None:
    """The full name of a known card that is not NVIDIA's, which rigspec does not provision."""
    known = load_table("gpus", extra)[_OTHER_VENDORS].values
    wanted = slug(text)
    return next(
        (str(name) for key, name in known.items() if wanted in (key, slug(str(name)))), None
    )


def memory_fits(gpu: Gpu, memory_mib: float) -> bool:
    """Whether a `memory.total` read off a card can be this SKU's (ECC moves it by 6 %)."""
    return abs(memory_mib - gpu.memory_mib) <= MEMORY_TOLERANCE * gpu.memory_mib


def slug(name: str) -> str:
    """A name as a SKU: without vendor and `GeForce`, lower case, dashes."""
    words = name.lower().replace("_", "-").replace("-", " ").split()
    return "-".join(word for word in words if word not in ("nvidia", "geforce"))


@lru_cache(maxsize=16)
def _by_spelling(extra: Path | None) -> Mapping[str, Gpu]:
    spellings: dict[str, Gpu] = {}
    for gpu in all_gpus(extra):
        for alias in gpu.aliases:
            spellings.setdefault(alias, gpu)
    return spellings | {slug(gpu.name): gpu for gpu in all_gpus(extra)} | dict(_skus(extra))


def _skus(extra: Path | None) -> Iterator[tuple[str, Gpu]]:
    return ((gpu.sku, gpu) for gpu in all_gpus(extra))


def _gpu(row: Row, common: Mapping[str, str]) -> Gpu:
    row.allow(*_KEYS)
    capability = _pair(row, "compute_capability", (_MAJOR, _MINOR))
    generation, width = _pair(row, "pcie", (GENERATION._replace(least=0), _LANES))
    if width not in _WIDTHS:
        said = f"`pcie` has {width} lanes, which no card has"
        raise row.fail(said, row.example("pcie"), ("pcie",))
    low, default, high = _watts(row)
    module = row.optional_text("open_module") or _open_module(capability)
    if module not in ("required", "supported", "unsupported"):
        said = f"`open_module: {module}` is none of required, supported, unsupported"
        raise row.fail(said, at=("open_module",))
    return Gpu(
        sku=row.id,
        aliases=row.texts("aliases"),
        name=row.text("name"),
        pci_ids=row.device_ids("pci_ids", _DEVICE),
        pci_class=row.one_of("pci_class", ("0300", "0302")),
        memory_mib=row.whole("memory_mib", _MEMORY),
        memory_bandwidth_gb_s=row.optional_number("memory_bandwidth_gb_s", _BANDWIDTH),
        compute_capability=capability,
        formats=_newest_below(_FORMATS, capability) or (),
        pcie_gen=generation,
        pcie_width=width,
        power_min_w=low,
        power_default_w=default,
        power_max_w=high,
        nvlink=_nvlink(row),
        p2p=cast(Answer, row.one_of("p2p", ("yes", "no", "unknown"))),
        bar1_mib=row.optional_whole("bar1_mib", _BAR1),
        open_module=cast(OpenModule, module),
        sources=row.sources(FIGURES, common),
    )


_MEMORY = Span(512, 1 << 20, "memory of a card in MiB")
_BANDWIDTH = Span(10, 100_000, "memory bandwidth in GB/s")
_BAR1 = Span(64, 1 << 21, "size of BAR1 in MiB")
_MAJOR, _MINOR = Span(3, 19, "major compute capability"), Span(0, 9, "minor compute capability")
_LANES, _WIDTHS = Span(0, 32, "number of lanes"), (0, 1, 2, 4, 8, 12, 16, 32)
_WATTS = Span(5, 5000, "limit of a card in watts")


def _pair(row: Row, key: str, spans: tuple[Span, Span]) -> tuple[int, int]:
    value = row.values.get(key)
    if isinstance(value, list) and len(value) == 2 and all(type(item) is int for item in value):
        for item, span in zip(value, spans, strict=True):
            row.within(key, item, span)
        return value[0], value[1]
    raise row.fail(
        f"`{key}` must be two whole numbers, {_PAIRS[key]}, not {shown(value)}",
        row.example(key),
        (key,),
    )


_DEVICE = (r"[0-9A-Fa-f]{4}", "four hexadecimal digits, as `2204` in `10de:2204` of `lspci -nn`")
_PAIRS = {"pcie": "generation and lanes", "compute_capability": "major and minor"}


def _watts(row: Row) -> tuple[int | None, int, int | None]:
    value = row.values.get("power")
    if isinstance(value, list) and len(value) == 3 and type(value[1]) is int:
        low, default, high = value
        if all(item is None or type(item) is int for item in (low, high)):
            ordered = [item for item in (low, default, high) if item is not None]
            for item in ordered:
                row.within("power", item, _WATTS)
            if ordered == sorted(ordered):
                return low, default, high
            written = ", ".join("null" if item is None else str(item) for item in value)
            raise row.fail(
                f"`power: [{written}]` is out of order: lowest, default, highest",
                f"as numbers rise it is `power: {sorted(ordered)}`"
                if len(ordered) == 3
                else row.example("power"),
                ("power",),
            )
    raise row.fail(
        f"`power` must be [lowest, default, highest] in watts, not {shown(value)}",
        "write null for an end nobody has seen: `power: [null, 300, null]`",
        ("power",),
    )


def _nvlink(row: Row) -> str | None:
    """What joins such cards; any other word would be taken for none."""
    joins = row.values.get("nvlink")
    text = None if isinstance(joins, bool) else row.optional_text("nvlink")
    if joins is None or (text is not None and re.search(r"bridge|switch|\d links|C2C", text)):
        return text
    raise row.fail(
        f"`nvlink: {joins}` says neither `bridge` nor `switch`, nor how many links there are",
        "`NV4 bridge` for cards that a bridge joins, `NV18 switch` for a board; null for none",
        ("nvlink",),
    )


def _open_module(capability: tuple[int, int]) -> OpenModule:
    if capability >= (10, 0):
        return "required"
    return "supported" if capability >= (7, 5) else "unsupported"


def _newest_below(steps: Mapping[tuple[int, int], _T], capability: tuple[int, int]) -> _T | None:
    reached = [value for step, value in steps.items() if step <= capability]
    return reached[-1] if reached else None
