"""`kernel`: what the words on the command line really do."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig, all_members

X2APIC_FROM = 255
"""Logical CPUs from which APIC ids need x2APIC, and with it interrupt remapping by the IOMMU."""


def iommu_off_many_cpus(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Without IOMMU no interrupt remapping, without it no x2APIC, without that 255 CPUs at most."""
    cpus = rig.host.logical_cpus
    if rig.kernel.iommu == "off" and cpus is not None and cpus >= X2APIC_FROM:
        yield error(
            "kernel.iommu-off-many-cpus",
            ("kernel", "iommu"),
            f"`iommu: off` on {cpus} logical CPUs loses some of them",
            why=f"x2APIC needs the IOMMU's interrupt remapping; without it CPUs with an APIC id of "
            f"{X2APIC_FROM} or more are refused at boot (2 × EPYC 9575F came up with 255 of 256)",
            hint="set `iommu: pt`; peer copies work with it",
        )


def iommu_off_cost(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What `iommu: off` gives up."""
    cpus = rig.host.logical_cpus
    if rig.kernel.iommu != "off" or (cpus is not None and cpus >= X2APIC_FROM):
        return
    unknown = "" if cpus else f"; fine below {X2APIC_FROM} logical CPUs, and `host` names no count"
    yield note(
        "kernel.iommu-off-cost",
        ("kernel", "iommu"),
        "no DMA protection, no interrupt remapping, no device for virtual machines" + unknown,
        why="any PCIe or Thunderbolt device can then read and write all memory",
        hint="`iommu: pt` keeps these and still gives GPUs untranslated addresses",
    )


def hmm_left_on(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Heterogeneous memory management and NCCL peer copies on Blackwell cards."""
    options = rig.kernel.module_options.get("nvidia_uvm", {})
    blackwell = any(
        card.architecture == "blackwell" for name in rig.gpus if (card := facts.gpu(rig, name))
    )
    wanted = rig.pcie.peer_to_peer and blackwell and len(all_members(rig.gpus)) > 1
    if wanted and options.get("uvm_disable_hmm") not in ("1", "Y", "y"):
        yield warning(
            "kernel.hmm-left-on",
            ("kernel", "module_options"),
            "`nvidia_uvm: {uvm_disable_hmm: 1}` is not set, and peer copies are wanted",
            why="with HMM on, NCCL peer-to-peer locked up on nearly every published rig of "
            "several RTX PRO 6000",
            hint="add `module_options: {nvidia_uvm: {uvm_disable_hmm: 1}}` below `kernel`",
        )
