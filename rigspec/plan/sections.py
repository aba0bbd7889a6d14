"""What the host shall be, stage by stage: frozen data that deploys carry and verify expects.

A plan is a pure function of the spec, the files beside it and the catalog: nothing is asked of the
host, no secret, no clock goes into it, so the same files give the same digest on a fresh OS. What
only the host can tell (which UUID is `main.0`, which bridges lie between two GPUs) is named here
and resolved there.
"""

from __future__ import annotations

from dataclasses import field

from rigspec.frozen import dataclass
from rigspec.plan.expected import AllReducePlan, Budget, PairPlan, PatternPlan, Uplink


@dataclass(frozen=True)
class RenderedFile:
    """One file as it shall be on the host; `origin` is the YAML path it came from."""

    dest: str
    content: str
    origin: str
    mode: str = "644"


@dataclass(frozen=True)
class Package:
    """One apt package; `version` is an apt version pattern (`595.71.05-*`) or None for newest."""

    name: str
    version: str | None = None


@dataclass(frozen=True)
class AptRepository:
    """A signed repository: its deb822 file, and the key that must have this fingerprint."""

    name: str
    sources: RenderedFile
    key_url: str
    key_fingerprint: str
    keyring: str


@dataclass(frozen=True)
class GpuMember:
    """One card of the rig: `main.0`, and all that the spec and the catalog say about it."""

    member: str
    sku: str
    product_name: str
    pci_ids: tuple[str, ...]
    memory_mib: int
    link_generation: int
    link_width: int
    numa_node: int | None
    bar1_mib: int | None
    power_limit_w: int | None
    power_default_w: int
    clock_ceiling_mhz: int | None
    slot: str | None
    uuid: str | None
    resizable_bar: bool = True
    nvlink_peer: str | None = None
    """The member that an NVLink bridge joins it with."""


@dataclass(frozen=True)
class PreflightPlan:
    """What must be found before anything is touched."""

    os: str
    cpu: str
    secure_boot: str
    gpus: tuple[GpuMember, ...]
    packages: tuple[Package, ...]
    min_root_free_gib: int


@dataclass(frozen=True)
class KernelPlan:
    """The boot: arguments that must (not) stand on the running line, module options, files."""

    iommu: str
    arguments: tuple[str, ...]
    should_not_exist: tuple[str, ...]
    module_options: tuple[tuple[str, str, str], ...]
    blacklist: tuple[str, ...]
    files: tuple[RenderedFile, ...]
    reboot_timeout_s: int
    reboot_by_hand: bool


@dataclass(frozen=True)
class DriverPlan:
    """The driver packages, their repository and pins."""

    branch: int
    version: str | None
    flavour: str
    repository: AptRepository | None
    pinning_packages: tuple[Package, ...]
    packages: tuple[Package, ...]
    hold: tuple[str, ...]
    must_be_absent: tuple[str, ...]
    files: tuple[RenderedFile, ...]
    headers: tuple[str, ...] = ()
    """Kernel headers, to be installed before `packages`: DKMS builds the module with them. In a
    name, `{release}` stands for the running kernel's release (`uname -r`)."""
    components: tuple[str, ...] = ()
    """Components of the distribution (`contrib`) that apt must know: dependencies live there."""


@dataclass(frozen=True)
class PciePlan:
    """ACS, ASPM and link expectations; which bridges they mean is read off the host's tree."""

    acs_off: bool
    aspm_off: bool
    peer_to_peer: bool
    files: tuple[RenderedFile, ...]
    units: tuple[str, ...]
    uplinks: tuple[Uplink, ...] = ()


@dataclass(frozen=True)
class PowerPlan:
    """Caps and clock ceilings by member; the unit that sets them at every boot.

    The oneshot units (acs, power, ready) are to be brought up with `systemctl reload-or-restart`:
    the model servers require them, so a plain restart would restart those too.
    """

    limits_w: tuple[tuple[str, int], ...]
    ceilings_mhz: tuple[tuple[str, int], ...]
    files: tuple[RenderedFile, ...]
    units: tuple[str, ...]
    budgets: tuple[Budget, ...] = ()


@dataclass(frozen=True)
class ContainersPlan:
    """Container engine, toolkit, CDI."""

    engine: str
    repositories: tuple[AptRepository, ...]
    packages: tuple[Package, ...]
    hold: tuple[str, ...]
    daemon_settings: dict[str, object] = field(hash=False)
    """Keys that must hold these values in /etc/docker/daemon.json; others are the owner's."""
    files: tuple[RenderedFile, ...] = ()
    units: tuple[str, ...] = ()
    must_be_absent: tuple[str, ...] = ()
    """Packages that conflict with those to install."""


@dataclass(frozen=True)
class MountPlan:
    """One folder for weights; `device` None means it lives on what is mounted already."""

    name: str
    path: str
    device: str | None
    filesystem: str
    min_free_gib: int
    unit: str | None
    files: tuple[RenderedFile, ...]


@dataclass(frozen=True)
class ModelPlan:
    """One set of weights. `hub` None: the files are expected at `directory` already."""

    name: str
    directory: str
    file: str | None
    hub: str | None
    revision: str | None
    endpoint: str
    include: tuple[str, ...]
    exclude: tuple[str, ...]
    token_env: str | None
    secret_path: str | None
    files: tuple[RenderedFile, ...] = ()
    fetch_argv: tuple[str, ...] = ()
    """Command that fetches the weights; with `--check` appended it only says, by status 0 or 3 and
    without network, whether all of them are there. Empty without `hub`."""


@dataclass(frozen=True)
class ServicePlan:
    """One inference server: script, unit, environment, and how to ask it."""

    name: str
    engine: str
    unit: str
    container: str
    image: str
    model: str
    gpus: tuple[str, ...]
    argv: tuple[str, ...]
    """What the container runs, after the image name."""
    run_argv: tuple[str, ...]
    """The whole container command; `${RIGSPEC_GPU_MAIN_0}` stands for a member's UUID."""
    listen_address: str
    listen_port: int
    served_names: tuple[str, ...]
    at_boot: bool
    instead_of: tuple[str, ...]
    api_key_env: str | None
    api_key_variable: str | None
    """Name under which the engine reads the key from the secret environment file."""
    secret_path: str | None
    start_timeout_s: int
    files: tuple[RenderedFile, ...]
    restart_inputs: tuple[str, ...]
    """Files whose content the running process was started from; a change restarts it."""
    started_record: str = ""
    """The script leaves `sha256sum` of the restart inputs here."""
    volume: str = ""
    """Named volume with compile caches; its name changes with the image, which voids them."""
    context_length: int | None = None
    """Tokens that one request may hold; None leaves it to the model."""
    secret_line: str = ""
    """The one line of the secret file, `{}` for the key; see `rigspec.plan.service.secret_text`."""
    peers_off: tuple[str, ...] = ()
    """Why peer-to-peer copies are off: one sentence per fault that was measured; empty: on."""
    mounts: tuple[str, ...] = ()
    """Files and folders of the host that must be there before anything is changed."""


@dataclass(frozen=True)
class FabricPlan:
    """What the links between cards are expected to do, and the files that measure it.

    `peer`: data is to go from card to card; if not, through the memory of the host.
    """

    peer: bool
    measured_in: str | None = None
    """The service whose image measures the pairs; None: no service has an image with torch."""
    pairs: tuple[PairPlan, ...] = ()
    patterns: tuple[PatternPlan, ...] = ()
    all_reduce: tuple[AllReducePlan, ...] = ()
    files: tuple[RenderedFile, ...] = ()


@dataclass(frozen=True)
class SmokePlan:
    """The question every running service must answer."""

    prompt: str
    max_tokens: int
    timeout_s: int
    max_temperature_c: int


@dataclass(frozen=True)
class DailyPlan:
    """The daily look of the host at itself: a script, what it expects, a timer."""

    metrics_path: str
    files: tuple[RenderedFile, ...]
    units: tuple[str, ...]
    """The timer; the service it starts is not up between two looks."""


@dataclass(frozen=True)
class Plan:
    """Everything a host will be given, in the order of the stages."""

    rig: str
    spec: str
    """The spec as JSON in one line, without the way to the host: a lost spec can be drawn anew."""
    spec_digest: str
    preflight: PreflightPlan
    kernel: KernelPlan
    driver: DriverPlan
    pcie: PciePlan
    power: PowerPlan
    containers: ContainersPlan
    storage: tuple[MountPlan, ...]
    models: tuple[ModelPlan, ...]
    services: tuple[ServicePlan, ...]
    fabric: FabricPlan
    verify: SmokePlan
    daily: DailyPlan | None = None
