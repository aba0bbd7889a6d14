"""Inference servers: unit, start script, environment, and the whole container command."""

from __future__ import annotations

from pathlib import PurePosixPath
from types import ModuleType

from rigspec.catalog.engines import engine as known_engine
from rigspec.frozen import dataclass
from rigspec.plan import shell
from rigspec.plan.binding import BINDING_ENVIRONMENT, gpu_variable
from rigspec.plan.container import CACHE, ContainerRun, volume_name
from rigspec.plan.engines import llama_cpp, sglang, vllm
from rigspec.plan.engines.words import served_names
from rigspec.plan.peers import as_served, why_peers_off
from rigspec.plan.ready import READY_UNIT
from rigspec.plan.render import SCRIPTS, UNITS, render
from rigspec.plan.sections import ModelPlan, RenderedFile, ServicePlan
from rigspec.spec.faults import FabricFaults
from rigspec.spec.rig import Rig, members
from rigspec.spec.services import AUTO, Service

ENGINES: dict[str, ModuleType] = {"vllm": vllm, "sglang": sglang, "llama_cpp": llama_cpp}


@dataclass(frozen=True)
class Naming:
    """The names and paths that follow from a service's name."""

    name: str

    @property
    def container(self) -> str:
        """Container and unit share it."""
        return f"rigspec-{self.name}"

    @property
    def unit(self) -> str:
        """The systemd unit."""
        return f"rigspec-{self.name}.service"

    @property
    def script(self) -> str:
        """What the unit starts."""
        return f"{SCRIPTS}/service-{self.name}"

    @property
    def environment(self) -> str:
        """The engine's variables, none of them secret."""
        return f"/etc/rigspec/services/{self.name}.env"

    @property
    def record(self) -> str:
        """Hashes of what the running process was started from."""
        return f"/run/rigspec/{self.name}.started"


@dataclass(frozen=True)
class KeyFile:
    """The root-only file with the API key, and how the engine reads it."""

    path: str
    line: str
    variable: str | None
    """None: the file is mounted, and a flag names it."""


def plan_services(
    rig: Rig, models: tuple[ModelPlan, ...], faults: FabricFaults | None = None
) -> tuple[ServicePlan, ...]:
    """One section per service, in the order of the YAML."""
    by_name = {model.name: model for model in models}
    safe = as_served(rig, faults)
    return tuple(
        _plan_service(safe, name, by_name, why_peers_off(rig, name, faults))
        for name in rig.services
    )


def _plan_service(
    rig: Rig, name: str, models: dict[str, ModelPlan], peers_off: tuple[str, ...]
) -> ServicePlan:
    service, naming = rig.services[name], Naming(name)
    key = key_file(name, service)
    run = _container(rig, naming, key, models)
    secret = (key.path,) if key else ()
    inputs = (naming.script, naming.environment, BINDING_ENVIRONMENT, *secret)
    return ServicePlan(
        name=name,
        engine=service.engine,
        unit=naming.unit,
        container=naming.container,
        image=service.image,
        model=service.model,
        gpus=run.cards,
        argv=run.argv,
        run_argv=run.words,
        listen_address=service.listen.address,
        listen_port=service.listen.port,
        served_names=served_names(name, service),
        at_boot=not service.instead_of,
        instead_of=service.instead_of,
        api_key_env=service.api_key_env,
        api_key_variable=key.variable if key else None,
        secret_path=key.path if key else None,
        start_timeout_s=service.start_timeout_s,
        files=(
            _script(rig, naming, run, inputs, _needed(service, models), peers_off),
            _environment_file(rig, naming, run, peers_off),
            _unit(rig, naming, run, _folders(service, models)),
        ),
        restart_inputs=inputs,
        started_record=naming.record,
        volume=run.volume,
        context_length=None if service.context_length == AUTO else service.context_length,
        secret_line=key.line if key else "",
        peers_off=peers_off,
        mounts=_owners_mounts(rig, service),
    )


def _owners_mounts(rig: Rig, service: Service) -> tuple[str, ...]:
    """What the owner has to put there; a disk that a later stage mounts may bring the rest."""
    disks = [storage.path for storage in rig.storage.values() if storage.device]
    own = (p for p in service.mounts if not any(PurePosixPath(p).is_relative_to(d) for d in disks))
    return tuple(own)


def _container(
    rig: Rig, naming: Naming, key: KeyFile | None, models: dict[str, ModelPlan]
) -> ContainerRun:
    service = rig.services[naming.name]
    engine, catalog = ENGINES[service.engine], known_engine(service.engine)
    caches = {name: f"{CACHE}/{below}" for name, below in catalog.caches.items()}
    environment = {**engine.ENVIRONMENT, **caches, **service.environment}
    mounts = tuple((models[m].directory, f"/models/{m}") for m in _model_names(service))
    mounted_key = ((key.path, sglang.KEY_FILE),) if key and not key.variable else ()
    return ContainerRun(
        tool=rig.containers.engine,
        name=naming.container,
        image=service.image,
        entry_point=engine.entry_point(service),
        argv=engine.argv(naming.name, service, *_inside(service, models)),
        cards=members(rig.gpus, service.gpus),
        shm_gib=service.shm_gib,
        mounts=(*mounts, *service.mounts.items(), *mounted_key),
        volume=volume_name(naming.container, service.image),
        env_files=(naming.environment, *((key.path,) if key and key.variable else ())),
        environment=tuple(environment.items()),
    )


def _model_names(service: Service) -> tuple[str, ...]:
    draft = service.speculative.model if service.speculative else None
    return tuple(dict.fromkeys([service.model, *([draft] if draft else [])]))


def _inside(service: Service, models: dict[str, ModelPlan]) -> tuple[str, str | None]:
    """Paths of weights and draft in the container: a folder, or a GGUF file in it."""
    paths = [f"/models/{m}" + _file_of(models[m]) for m in _model_names(service)]
    if service.speculative is None or service.speculative.model is None:
        return paths[0], None
    return paths[0], paths[-1]


def _file_of(model: ModelPlan) -> str:
    return f"/{model.file}" if model.file else ""


def _folders(service: Service, models: dict[str, ModelPlan]) -> tuple[str, ...]:
    return (*(models[name].directory for name in _model_names(service)), *service.mounts)


def _needed(service: Service, models: dict[str, ModelPlan]) -> tuple[str, ...]:
    """Weights that must be there before the engine is started."""
    return tuple(models[m].directory + _file_of(models[m]) for m in _model_names(service))


def key_file(name: str, service: Service) -> KeyFile | None:
    """Where a service's API key lies on the host; None without one."""
    if service.api_key_env is None:
        return None
    folder = "/etc/rigspec/secrets"
    variable = known_engine(service.engine).api_key_variable
    if variable is None:  # a flag would show the key in the process list
        return KeyFile(f"{folder}/{name}.yaml", "api-key: '{}'", None)
    return KeyFile(f"{folder}/{name}.env", variable + "={}", variable)


def secret_text(service: ServicePlan, key: str) -> str:
    """Content of a service's secret file; the key is one line of printable characters."""
    escaped = key if service.api_key_variable else key.replace("'", "''")
    return service.secret_line.replace("{}", escaped, 1) + "\n"


def _script(
    rig: Rig,
    naming: Naming,
    run: ContainerRun,
    inputs: tuple[str, ...],
    needed: tuple[str, ...],
    peers_off: tuple[str, ...],
) -> RenderedFile:
    return render(
        naming.script,
        rig=rig.name,
        origin=f"services.{naming.name}",
        template="usr/local/lib/rigspec/service-NAME",
        mode="755",
        unit=naming.unit,
        container=naming.container,
        gpus=tuple((card, gpu_variable(card)) for card in run.cards),
        weights=needed,
        mounts=tuple(rig.services[naming.name].mounts),
        inputs=" ".join(f'"$root"{shell.quote(path)}' for path in inputs),
        record=naming.record,
        command=run.script,
        peers_off=peers_off,
    )


def _environment_file(
    rig: Rig, naming: Naming, run: ContainerRun, peers_off: tuple[str, ...]
) -> RenderedFile:
    return render(
        naming.environment,
        rig=rig.name,
        origin=f"services.{naming.name}.environment",
        template="etc/rigspec/services/NAME.env",
        environment=run.environment,
        peers_off=peers_off,
    )


def _unit(rig: Rig, naming: Naming, run: ContainerRun, weights: tuple[str, ...]) -> RenderedFile:
    service = rig.services[naming.name]
    daemon = ("docker.service",) if rig.containers.engine == "docker" else ()
    rivals = tuple(Naming(rival).unit for rival in service.instead_of)
    return render(
        f"{UNITS}/{naming.unit}",
        rig=rig.name,
        origin=f"services.{naming.name}",
        template="etc/systemd/system/rigspec-NAME.service",
        name=naming.name,
        engine=service.engine,
        served=", ".join(served_names(naming.name, service)),
        tool=run.tool,
        container=naming.container,
        requires=" ".join((*daemon, READY_UNIT)),
        weights=" ".join(weights),
        rivals=" ".join(rivals),
        after_rivals="".join(f" {rival}" for rival in rivals),
        at_boot=not service.instead_of,
    )
