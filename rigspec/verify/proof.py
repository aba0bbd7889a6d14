"""The certificate of an accepted run: what the machine was when every check was green.

Only what a later look can be held against, and nothing that must not be in git: no serial numbers,
no addresses of the network, no secrets; UUIDs of cards are their names.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import field

from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.observed.pci import PciFunction
from rigspec.observed.record import Reading, Unknown, known
from rigspec.plan.rig import all_files, digest
from rigspec.plan.sections import Plan
from rigspec.verify.files import sha256
from rigspec.verify.observation import Observation
from rigspec.verify.pace import Baseline
from rigspec.verify.verdict import Outcome, Verdict, exit_code, listed

PROOF_FILE = "/etc/rigspec/proof.json"
"""The host's copy, root's own."""


class NotAccepted(RigspecError):
    """The run is not green; `exit_code` is that of the run."""

    def __init__(self, message: str, hint: str, code: int) -> None:
        super().__init__(message, hint=hint)
        self.exit_code = code


@dataclass(frozen=True)
class CardProof:
    """One card and its link; None is "was not known"."""

    uuid: str
    slot: str
    vbios: str | None
    link_generation: int | None
    """What both ends can; the current one falls at idle."""
    link_width: int | None
    bar1_mib: int | None
    aspm: str | None
    """Sleep states enabled at the card's end or the bridge's; empty: none."""
    iommu: str | None
    """Domain type of its group: `identity`, `DMA-FQ`, …; `none` without a group."""
    power_limit_w: int | None


@dataclass(frozen=True)
class Proof:
    """One accepted run."""

    rig: str
    spec_digest: str
    plan_digest: str
    rigspec: str
    """Version of the tool."""
    accepted_at: str
    """UTC, ISO 8601."""
    simulated: bool
    checks: Mapping[str, int]
    """Number of checks by outcome."""
    kernel: str | None
    driver: str | None
    """Version of the loaded module."""
    library: str | None
    """Version that nvidia-smi speaks."""
    firmware: Mapping[str, str]
    """`vendor`, `version`, `date`, `board`, `microcode`, as far as DMI tells."""
    iommu_units: int | None
    secure_boot: bool | None
    cards: Mapping[str, CardProof]
    acs: Mapping[str, str]
    """ACSCtl of each bridge between GPUs, by address."""
    files: Mapping[str, str]
    """SHA-256 of every managed file."""
    packages: Mapping[str, str]
    held: tuple[str, ...]
    pace: Mapping[str, Baseline] = field(default_factory=dict)
    fabric: Mapping[str, float] = field(default_factory=dict)
    """GB/s that the last load run showed: `main.0 to main.1` one way, `all-reduce of glm` busbw."""


def prove(
    plan: Plan,
    seen: Observation,
    verdicts: Iterable[Verdict],
    *,
    observed_at: str,
    version: str,
    pace: Mapping[str, Baseline] | None = None,
) -> Proof:
    """The proof of a green run; NotAccepted names the checks that are red or unknown."""
    verdicts = tuple(verdicts)
    _refuse_red(verdicts)
    host, modules = known(seen.host), known(seen.modules)
    packages = known(seen.packages)
    return Proof(
        rig=plan.rig,
        spec_digest=plan.spec_digest,
        plan_digest=digest(plan),
        rigspec=version,
        accepted_at=observed_at,
        simulated=seen.simulated,
        checks=dict(sorted(Counter(str(verdict.outcome) for verdict in verdicts).items())),
        kernel=known(host.release) if host else None,
        driver=known(modules.nvidia_version) if modules else None,
        library=library_of(seen),
        firmware=firmware_of(seen),
        iommu_units=iommu_units(seen),
        secure_boot=secure_boot(seen),
        cards={member: card_proof(member, seen) for member in sorted(seen.bound)},
        acs=acs_of(seen),
        files={file.dest: sha256(file.content) for file in all_files(plan)},
        packages={n: p.version for n, p in packages.packages.items() if p.installed}
        if packages
        else {},
        held=tuple(sorted(known(packages.held) or ())) if packages else (),
        pace=dict(pace or {}),
        fabric=fabric_of(seen),
    )


def _refuse_red(verdicts: tuple[Verdict, ...]) -> None:
    code = exit_code(verdicts)
    if not code:
        return
    red = [v.id for v in verdicts if v.outcome in {Outcome.FAIL, Outcome.UNKNOWN}]
    raise NotAccepted(
        f"this run is not accepted: {listed(red, 12) or 'nothing was checked'}",
        "`rigspec verify` says what to do; a proof is only made of a run without red",
        code,
    )


def card_proof(member: str, seen: Observation) -> CardProof:
    """What is known of a bound card now."""
    bound, card = seen.bound[member], known(seen.card(member))
    slot = (known(card.bus_id) if card else None) or bound.slot
    function = known(seen.function(slot))
    above = _above(function, seen) if function else None
    ends = [end for end in (function, above) if end is not None]
    caps = [cap for end in ends if (cap := known(end.link_cap)) is not None]
    status = known(function.link_status) if function else None
    bar = known(function.largest_bar_bytes) if function else None
    limit = known(card.power_enforced_w) if card else None
    return CardProof(
        uuid=bound.uuid,
        slot=slot,
        vbios=known(card.vbios) if card else None,
        link_generation=min(filter(None, (known(cap.gen) for cap in caps)), default=None),
        link_width=known(status.width) if status else None,
        bar1_mib=bar >> 20 if bar is not None else None,
        aspm=_aspm(ends),
        iommu=_domain(slot, seen),
        power_limit_w=round(limit) if limit is not None else None,
    )


def _above(function: PciFunction, seen: Observation) -> PciFunction | None:
    parent = known(function.parent)
    return known(seen.function(parent)) if parent else None


def _aspm(ends: Iterable[PciFunction]) -> str | None:
    states: set[str] = set()
    for end in ends:
        if isinstance(end.aspm_enabled, Unknown):
            return None
        states |= set(end.aspm_enabled or ())
    return "+".join(sorted(states))


def _domain(slot: str, seen: Observation) -> str | None:
    iommu = known(seen.iommu)
    if iommu is None or isinstance(iommu.groups, Unknown):
        return None
    group = iommu.group_of(slot)
    return known(group.type) if group else "none"


def fabric_of(seen: Observation) -> dict[str, float]:
    """Speeds of the last load run by pair and by service; empty where none was made."""
    fabric = known(seen.fabric)
    if fabric is None:
        return {}
    speeds = {
        f"{fabric.member(pair.source)} to {fabric.member(pair.target)}": known(pair.one_way_gb_s)
        for pair in fabric.pairs
    }
    speeds |= {
        f"all-reduce of {run.service}": known(run.busbw_gb_s)
        for run in fabric.all_reduce
        if run.peer_to_peer
    }
    return {name: round(gb_s, 2) for name, gb_s in sorted(speeds.items()) if gb_s is not None}


def library_of(seen: Observation) -> str | None:
    """The driver version that nvidia-smi speaks; None when the cards do not agree or are silent."""
    spoken = {known(card.driver_version) for card in known(seen.cards) or ()}
    return spoken.pop() if len(spoken) == 1 else None


def firmware_of(seen: Observation) -> dict[str, str]:
    """What DMI tells, by our names."""
    firmware = known(seen.upkeep.firmware)
    if firmware is None:
        return {}
    values: dict[str, Reading[str]] = {
        "vendor": firmware.vendor,
        "version": firmware.version,
        "date": firmware.date,
        "board": firmware.board,
        "microcode": firmware.microcode,
    }
    return {name: text for name, value in values.items() if (text := known(value)) is not None}


def iommu_units(seen: Observation) -> int | None:
    """How many IOMMUs the kernel uses; 0 is off."""
    iommu = known(seen.iommu)
    units = known(iommu.units) if iommu else None
    return len(units) if units is not None else None


def secure_boot(seen: Observation) -> bool | None:
    """Whether the firmware enforces signatures."""
    state = known(seen.secure_boot)
    return known(state.enabled) if state else None


def acs_of(seen: Observation) -> dict[str, str]:
    """ACSCtl redirect bits of each bridge between GPUs, as lspci names them."""
    tree = known(seen.tree)
    bridges = known(tree.bridges_between_gpus()) if tree else None
    found = {}
    for bridge in bridges or ():
        acs = known(bridge.acs)
        if acs is not None:
            bits = {
                "ReqRedir": acs.ctl.req_redir,
                "CmpltRedir": acs.ctl.cmplt_redir,
                "EgressCtrl": acs.ctl.egress_ctrl,
            }
            found[bridge.address] = " ".join(f"{n}{'+' if on else '-'}" for n, on in bits.items())
    return dict(sorted(found.items()))
