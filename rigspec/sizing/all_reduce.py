"""What one all-reduce of a tensor-parallel group costs, by the path between its GPUs.

Fitted to published measurements: RTX PRO 6000 over PCIe peer access (local-inference-lab/rtx6kpro),
3090s with peer access refused (noonghunna/club-3090).
"""

from __future__ import annotations

from dataclasses import replace

from rigspec.frozen import dataclass


@dataclass(frozen=True)
class Link:
    """What one all-reduce of a tensor-parallel group costs: start, steps of a ring, traffic."""

    start_us: float
    step_us: float
    bandwidth_gb_s: float
    shared: bool = False
    """All pairs cross the same memory: more GPUs get less each."""
    stall_us: float = 0.0
    """What an all-reduce may take longer where NCCL finds only a slower way; nobody prints it."""

    def all_reduce_us(self, n_bytes: float, ranks: int) -> float:
        """Microseconds of one all-reduce over `ranks` GPUs."""
        if ranks <= 1:
            return 0.0
        return self.start_us + 2 * (ranks - 1) * self.step_us + self.traffic_us(n_bytes, ranks)

    def traffic_us(self, n_bytes: float, ranks: int) -> float:
        """The part of an all-reduce that grows with its bytes: twice around the ring."""
        if ranks <= 1:
            return 0.0
        way = n_bytes * self.crowd(ranks) / (self.bandwidth_gb_s * 1e3)
        return 2 * (ranks - 1) / ranks * way

    def crowd(self, ranks: int) -> float:
        """How many times less each of so many GPUs gets than one of two."""
        return (ranks / 2) ** 0.5 if self.shared else 1.0

    def at_gen5(self) -> Link:
        """The same path over PCIe 5: the same start and steps, twice the traffic."""
        return replace(self, bandwidth_gb_s=2 * self.bandwidth_gb_s)

    def refused(self) -> Link:
        """The same path among cards that could read each other, were it granted."""
        return replace(self, stall_us=max(self.stall_us, REFUSED_STALL_US))


NVLINK = Link(6.0, 0.3, 200.0)
PEER_PCIE = Link(5.0, 1.5, 22.0)
"""NCCL over PCIe 4 peer access: 13–16 µs up to 32 KB on 4 GPUs, 24 µs on 8 (RTX PRO 6000)."""
HOST_PCIE = Link(5.0, 7.0, 6.0, shared=True)
"""Through host memory, peer access refused: 40–55 µs on 4× 3090, about 20 µs on two cards."""
REFUSED_STALL_US = 40.0
"""More per all-reduce in virtual machines, where copies to host memory are translated: 30 µs on two
A100 (7B, 32B, 72B), 42 on two RTX PRO 6000 (72B); vLLM 0.10 and 0.13, two authors."""
NETWORK = Link(7.0, 6.0, 10.0, stall_us=115.0)
"""Between machines over RoCE: 19 µs on two GB10 (4 to 8 KiB, measured), four by the speed of a 32B
model on as many. Over sockets it takes 115 µs more (half the speed of a 30B model on the same two);
two other pairs may have done that."""
