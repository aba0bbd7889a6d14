from __future__ import annotations

import pytest

from rigspec.lab.topology import GpuEndpoint, Link, MachineTree, Port, Socket, Switch


def gpu(slot: int) -> GpuEndpoint:
    return GpuEndpoint(
        slot=slot,
        name="NVIDIA Test Card",
        device_id=0x2684,
        memory_mib=24564,
        power_min_w=150,
        power_default_w=450,
        power_max_w=600,
        link=Link(4, 16),
        bar1_mib=32768,
    )


@pytest.fixture
def switch4() -> MachineTree:
    """Four cards below one switch at the first root port."""
    switch = Switch(tuple(Port(gpu(slot)) for slot in range(4)))
    return MachineTree((Socket((Port(switch),)),))


@pytest.fixture
def two_sockets() -> MachineTree:
    """A nested switch on node 0, a direct card on node 1."""
    inner = Switch((Port(gpu(1)), Port(gpu(2))))
    outer = Switch((Port(gpu(0)), Port(inner)))
    direct = Port(gpu(3), Link(3, 8))
    return MachineTree((Socket((Port(outer),), 0), Socket((direct,), 1)))
