"""Facts: the whole host in one look, for preflight and for verify."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import Quiet, RigFact, Sections, one_script
from rigspec.facts.exposure import LISTENERS
from rigspec.facts.gpus import BINDING
from rigspec.facts.loads import LOADS, parse_fabric_probe, parse_load_probe
from rigspec.facts.managed import (
    AptState,
    FileState,
    apt_probe,
    files_probe,
    lines_of,
    parse_apt,
    parse_files,
)
from rigspec.facts.smoke import parse_answers, smoke_probes
from rigspec.facts.stage import parse_texts, texts_probe
from rigspec.facts.storage import model_questions, models_probe, parse_models
from rigspec.facts.upkeep import managed_paths, mounted_probe, upkeep_probes
from rigspec.observed import host_probes
from rigspec.observed.containers import parse_cdi_probe
from rigspec.observed.exposure import parse_listeners
from rigspec.observed.kernel import (
    RefusedOption,
    find_refused_options,
    parse_host_probe,
    parse_iommu_probe,
    parse_modules_probe,
    parse_secure_boot_probe,
)
from rigspec.observed.kernel_log import parse_kernel_log_probe
from rigspec.observed.last_boot import (
    LAST_BOOT,
    NEXT_BOOT,
    parse_last_boot_probe,
    parse_next_boot_probe,
)
from rigspec.observed.nvidia_smi import parse_smi_probe
from rigspec.observed.packages import Package, Packages, parse_packages_probe
from rigspec.observed.pci_probe import parse_aer_probe, parse_pci_probe
from rigspec.observed.probes import (
    HOST,
    IOMMU,
    KERNEL_LOG,
    MODULES,
    NVIDIA_PROC,
    NVLINK,
    PCI_AER,
    PCI_PROBES,
    SECURE_BOOT,
    SMI,
    Probe,
    script,
)
from rigspec.observed.record import NOT_ASKED, Reading, Unknown
from rigspec.observed.storage import parse_storage_probe
from rigspec.observed.topology import parse_topology_probe
from rigspec.observed.units import parse_units_probe
from rigspec.observed.upkeep import Upkeep, parse_mounted, parse_upkeep
from rigspec.plan.binding import parse_gpus_table
from rigspec.plan.relied import mounted_paths, planned_units, secret_paths
from rigspec.plan.sections import Plan
from rigspec.verify.observation import Observation

SIMULATED_MARKER = "/usr/share/rigspec-lab/SIMULATED"
"""A virtual rig has this file: GPUs, driver and engine are stand-ins there."""

MACHINE = Probe(
    "machine",
    f"""\
grep -m 1 '^vendor_id' /proc/cpuinfo
[ ! -e {SIMULATED_MARKER} ] || echo simulated
m=/var/lib/dkms/mok.pub
if [ ! -r $m ] || ! command -v mokutil >/dev/null; then echo 'key absent'
elif mokutil --test-key $m 2>&1 | grep -q 'already enrolled'; then echo 'key enrolled'
else echo 'key new'
fi
""",
)

Asked = Quiet[Plan]
"""The plan, one in a tuple, so that a failing fact does not print all of it."""


def of(plan: Plan) -> Asked:
    """A plan as a fact's argument."""
    return Quiet((plan,))


def _machine(sections: Sections) -> tuple[Reading[str], Reading[bool], bool]:
    lines = lines_of(sections, "machine")
    vendor: Reading[str] = Unknown("/proc/cpuinfo names no vendor")
    for line in lines:
        if line.startswith("vendor_id"):
            vendor = line.partition(":")[2].strip()
    enrolled = "key enrolled" in lines
    return vendor, enrolled, "simulated" in lines


class Preflight(RigFact[tuple[Observation, AptState, dict[str, FileState]]]):
    """What must be known before anything is touched, in one round trip; files are the secrets'."""

    @override
    def command(self, plan: Asked) -> StringCommand:
        (planned,) = plan
        names = (*planned.preflight.packages, *planned.driver.packages)
        packages = [package.name for package in (*names, *planned.containers.packages)]
        space = next(probe for probe in host_probes.STORAGE if probe.name == "df")
        paths = mounted_paths(planned)
        return one_script(
            [
                HOST,
                MACHINE,
                SECURE_BOOT,
                *PCI_PROBES,
                space,
                apt_probe(packages),
                texts_probe((BINDING,)),
                files_probe(secret_paths(planned)),
                *([mounted_probe(paths)] if paths else ()),
            ]
        )

    @override
    def parse(self, sections: Sections) -> tuple[Observation, AptState, dict[str, FileState]]:
        vendor, enrolled, simulated = _machine(sections)
        apt = parse_apt(sections)
        seen = Observation(
            host=parse_host_probe(sections),
            cpu_vendor=vendor,
            secure_boot=parse_secure_boot_probe(sections),
            key_enrolled=enrolled,
            tree=parse_pci_probe(sections),
            binding=parse_gpus_table(parse_texts(sections).get(BINDING, "")),
            packages=_as_packages(apt),
            storage=parse_storage_probe(sections),
            upkeep=Upkeep(mounted=parse_mounted(sections)),
            simulated=simulated,
        )
        return seen, apt, parse_files(sections)


def _as_packages(apt: AptState) -> Packages:
    return Packages(
        {
            name: Package(name, "", state.version, "ii" if state.installed else "iU")
            for name, state in apt.packages.items()
        },
        NOT_ASKED,
        NOT_ASKED,
    )


class Everything(RigFact[Observation]):
    """All that verify judges, smoke test included, in one round trip."""

    plan: Plan

    @override
    def command(self, plan: Asked) -> StringCommand:
        (self.plan,) = plan
        return one_script(_host_probes(self.plan), _service_probes(self.plan))

    @override
    def parse(self, sections: Sections) -> Observation:
        vendor, enrolled, simulated = _machine(sections)
        models = parse_models(sections)
        answers = {s.name: parse_answers(sections, s) for s in self.plan.services}
        return Observation(
            host=parse_host_probe(sections),
            cpu_vendor=vendor,
            iommu=parse_iommu_probe(sections),
            modules=parse_modules_probe(sections),
            secure_boot=parse_secure_boot_probe(sections),
            key_enrolled=enrolled,
            refused=_refused(sections),
            log=parse_kernel_log_probe(sections),
            last_boot=parse_last_boot_probe(sections),
            next_boot=parse_next_boot_probe(sections),
            tree=parse_pci_probe(sections),
            aer=parse_aer_probe(sections),
            cards=parse_smi_probe(sections),
            topology=parse_topology_probe(sections),
            binding=parse_gpus_table(parse_texts(sections).get(BINDING, "")),
            packages=parse_packages_probe(sections),
            units=parse_units_probe(sections),
            cdi=parse_cdi_probe(sections),
            storage=parse_storage_probe(sections),
            models={
                m.name: m.name in models
                and (models[m.name].complete if m.hub else models[m.name].is_whole)
                for m in self.plan.models
            },
            weights_lack={name: state.lacks for name, state in models.items() if state.lacks},
            answers={name: said for name, said in answers.items() if said is not None},
            listeners=parse_listeners(sections),
            upkeep=parse_upkeep(sections, managed_paths(self.plan), secret_paths(self.plan)),
            fabric=parse_fabric_probe(sections, simulated=simulated),
            load=parse_load_probe(sections, "fabric-run"),
            burn=parse_load_probe(sections, "burn-run"),
            simulated=simulated,
        )


def probe_digest(plan: Plan) -> str:
    """SHA-256 of the text that reads a host for this plan: two looks that share it asked alike."""
    text = script(_host_probes(plan), _service_probes(plan))
    return hashlib.sha256(text.encode()).hexdigest()


def _refused(sections: Sections) -> Reading[tuple[RefusedOption, ...]]:
    log = parse_kernel_log_probe(sections)
    if isinstance(log, Unknown):
        return log
    if not log.from_boot:
        return Unknown("the kernel log does not reach back to the boot")
    return find_refused_options(lines_of(sections, "kernel-log"))


def all_probes(plan: Plan) -> Iterable[Probe]:
    """Everything that verify asks a host, section by section."""
    yield from _host_probes(plan)
    yield from _service_probes(plan)


def _service_probes(plan: Plan) -> Iterable[Probe]:
    for service in plan.services:
        yield from smoke_probes(service, plan.verify, plan.containers.engine)


def _host_probes(plan: Plan) -> Iterable[Probe]:
    names = [p.name for p in (*plan.driver.packages, *plan.containers.packages)]
    services = tuple(service.unit for service in plan.services)
    yield from (HOST, MACHINE, IOMMU, MODULES, NVIDIA_PROC, SECURE_BOOT, KERNEL_LOG)
    yield from (LAST_BOOT, NEXT_BOOT, *PCI_PROBES, PCI_AER, *SMI)
    yield texts_probe((BINDING,))
    yield from host_probes.packages(dict.fromkeys([*names, *plan.driver.hold]))
    yield host_probes.units(dict.fromkeys((*planned_units(plan), *services)))
    yield from (*host_probes.CDI, *host_probes.STORAGE)
    yield models_probe(model_questions(plan.models))
    yield LISTENERS
    yield from upkeep_probes(plan)
    if any(member.nvlink_peer for member in plan.preflight.gpus):
        yield NVLINK
    yield from LOADS if plan.fabric.files else ()
