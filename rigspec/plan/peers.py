"""A measured fault between cards turns peer-to-peer copies off where it matters, and nowhere else.

NCCL is told by its variable, the engine's own all-reduce by its flag: it reaches into the other
card's memory by itself, so NCCL's variable alone would leave the wrong data in place.
"""

from __future__ import annotations

from rigspec.catalog.engines import flag_for
from rigspec.spec.faults import FabricFaults, Fault
from rigspec.spec.rig import Rig, members
from rigspec.spec.services import Service

OFF = ("NCCL_P2P_DISABLE", "1")
"""Only the value 1 acts (NCCL user guide)."""

WISHES = ("NCCL_P2P_LEVEL", "GGML_CUDA_P2P", "SGLANG_ENABLE_PCIE_IPC_ALLREDUCE",
          "VLLM_ENABLE_PCIE_ALLREDUCE")  # fmt: skip
"""Variables that ask for direct copies; llama.cpp takes any value of its own as a yes."""


def why_peers_off(rig: Rig, name: str, faults: FabricFaults | None) -> tuple[str, ...]:
    """One sentence per fault between the cards of a service; none: peer copies may stay."""
    if faults is None:
        return ()
    used = members(rig.gpus, rig.services[name].gpus)
    return tuple(_sentence(fault, faults.measured_at) for fault in faults.within(used))


def _sentence(fault: Fault, measured_at: str) -> str:
    cards = ", ".join(fault.members[:-1]) + f" and {fault.members[-1]}"
    return f"{cards}: {fault.verdict} ({fault.found}), measured {measured_at}"


def as_served(rig: Rig, faults: FabricFaults | None) -> Rig:
    """The rig as its services are given it: direct copies off where a fault was measured."""
    return without_peers(rig, tuple(n for n in rig.services if why_peers_off(rig, n, faults)))


def without_peers(rig: Rig, names: tuple[str, ...]) -> Rig:
    """The rig with direct copies off in these services."""
    if not names:
        return rig
    changed = {name: _without(rig.services[name]) for name in names}
    return rig.model_copy(update={"services": {**rig.services, **changed}})


def _without(service: Service) -> Service:
    kept = {k: v for k, v in service.environment.items() if k not in WISHES}
    update: dict[str, object] = {"environment": {**kept, OFF[0]: OFF[1]}}
    if flag_for(service.engine, "disable_custom_all_reduce"):
        update["disable_custom_all_reduce"] = True
    return service.model_copy(update=update)
