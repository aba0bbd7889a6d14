"""One GPU as the estimates need it, and what CUDA sees of its memory.

CUDA reports less than nvidia-smi's `memory.total`: 0.43–0.47 GiB less on 24–32 GB cards and an
H100, 0.46–0.75 GiB on larger ones (boot logs of vLLM 0.19–0.33, 12 SKUs: 23.56 of 24.00 on a 3090,
23.52 of 23.99 on a 4090, 31.37 of 31.84 on a 5090, 94.97 of 95.59 on an RTX PRO 6000).
"""

from __future__ import annotations

import re

from rigspec.catalog.gpus import Gpu
from rigspec.frozen import dataclass
from rigspec.sizing.amount import Amount, about, exact

_RESERVED_SMALL_GIB = 0.45
_RESERVED_LARGE_GIB = 0.58
_LARGE_GIB = 40.0

_DROPPED = re.compile(
    r"\b(nvidia|geforce|tesla|generation|blackwell|edition|workstation|server|max q|sxm4|hbm3|"
    r"40gb|80gb|72gb|gb)\b|(?<=\d\d)gb\b"
)


@dataclass(frozen=True)
class Card:
    """One GPU: memory as CUDA reports it, bandwidth, compute capability, power cap."""

    name: str
    total: Amount
    """GiB."""
    bandwidth_gb_s: float | None
    compute: tuple[int, int] | None
    nvlink: bool = False
    peer_access: bool = False
    """Whether the stock driver lets such cards read each other over PCIe."""
    free_gib: float | None = None
    held_gib: float = 0.0
    """What services beside it hold of it when llama.cpp starts."""
    power_limit_w: float | None = None
    power_default_w: float | None = None
    pcie: tuple[int, int] | None = None
    """Generation and lanes of the card itself; None for a module that has no slot."""

    @property
    def unified(self) -> bool:
        """Whether it shares its memory with the host: Thor and GB10."""
        return self.compute in ((11, 0), (12, 1))

    @property
    def chip(self) -> str:
        """Its name without maker, edition and memory: `rtx 3090`, `h100 pcie`."""
        flat = re.sub(r"[^a-z0-9]+", " ", self.name.lower())
        return " ".join(_DROPPED.sub(" ", flat).split())

    @property
    def is_large(self) -> bool:
        """Whether vLLM picks its large batch defaults: 70 GiB and more, but not an A100."""
        return self.total.value >= 70 and self.compute != (8, 0)


def card_of(
    gpu: Gpu,
    *,
    total_gib: float | None = None,
    free_gib: float | None = None,
    power_limit_w: float | None = None,
    nvlink: bool | None = None,
) -> Card:
    """A card of a known SKU; `total_gib` is what CUDA printed, when somebody saw it.

    `nvlink` says whether a bridge is fitted; boards on an NVLink switch need no saying.
    """
    switched = "switch" in (gpu.nvlink or "")
    return Card(
        name=gpu.name,
        total=exact(total_gib) if total_gib else visible_gib(gpu.memory_mib),
        bandwidth_gb_s=gpu.memory_bandwidth_gb_s,
        compute=gpu.compute_capability,
        nvlink=switched if nvlink is None else nvlink,
        peer_access=gpu.p2p == "yes",
        free_gib=free_gib,
        power_limit_w=power_limit_w,
        power_default_w=gpu.power_default_w,
        pcie=(gpu.pcie_gen, gpu.pcie_width) if gpu.in_pcie_slot else None,
    )


def visible_gib(memory_mib: float) -> Amount:
    """GiB that CUDA reports of a card with this `memory.total`."""
    nominal = memory_mib / 1024
    reserved = _RESERVED_SMALL_GIB if nominal < _LARGE_GIB else _RESERVED_LARGE_GIB
    return about(nominal - reserved, 0.15)
