"""The stages in order, in words: what each one gives the host, what it reboots or restarts."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rigspec.frozen import dataclass
from rigspec.plan.binding import BINDING_TABLE
from rigspec.plan.daemon_json import DAEMON_FILE
from rigspec.plan.sections import Plan


@dataclass(frozen=True)
class Stage:
    """One stage; `reboots` and `restarts` say when, and are empty for never."""

    name: str
    gives: tuple[str, ...]
    reboots: str = ""
    restarts: str = ""


def plan_stages(plan: Plan) -> tuple[Stage, ...]:
    """Every stage that has something to do, in the order they run."""
    stages: tuple[Callable[[Plan], Stage | None], ...] = (
        _preflight,
        _kernel,
        _driver,
        _reboot,
        _pcie,
        _power,
        _containers,
        _storage,
        _model,
        _service,
        _daily,
        _verify,
    )
    return tuple(stage for make in stages if (stage := make(plan)) is not None)


def _preflight(plan: Plan) -> Stage:
    p = plan.preflight
    return Stage(
        "preflight",
        (
            f"finds {p.os} on an {p.cpu} CPU, Secure Boot {p.secure_boot}, "
            f"{p.min_root_free_gib} GiB free on /, else nothing is touched",
            f"small tools: {', '.join(package.name for package in p.packages)}",
        ),
    )


def _kernel(plan: Plan) -> Stage:
    acs = ("ACS argument for the bridges between GPUs, found on the host",)
    return Stage(
        "kernel",
        ("kernel arguments, module options", *(acs if plan.pcie.acs_off else ())),
        reboots="later, if the running kernel line or a loaded module's options differ",
    )


def _driver(plan: Plan) -> Stage:
    d = plan.driver
    exact = d.version or f"newest of branch {d.branch}"
    held = ", then held" if d.hold else ""
    return Stage(
        "driver",
        (f"NVIDIA driver {exact}, {d.flavour} kernel modules{held}",),
        reboots="later, if another driver is loaded than installed, or nouveau is",
    )


def _reboot(plan: Plan) -> Stage:
    if plan.kernel.reboot_by_hand:
        how = "stops and asks for a power cycle by hand, once, if a stage before asked for a reboot"
    else:
        limit = plan.kernel.reboot_timeout_s
        how = f"once, if a stage before asked for it; waits up to {limit} s for the host"
    cards = f"which card is which member, bound at the first run ({BINDING_TABLE})"
    return Stage("reboot", (cards,), reboots=how)


def _pcie(plan: Plan) -> Stage | None:
    if not plan.pcie.acs_off:
        return None
    return Stage("pcie", ("ACS redirect off between GPUs, set and read back at every boot",))


def _power(plan: Plan) -> Stage:
    caps = [f"{member} {watts} W" for member, watts in plan.power.limits_w]
    clocks = [f"{member} up to {mhz} MHz" for member, mhz in plan.power.ceilings_mhz]
    said = ", ".join([*caps, *clocks]) or "every card at its own default"
    return Stage(
        "power",
        (f"{said}; set and read back at every boot",),
        restarts="no server: caps change while they run",
    )


def _containers(plan: Plan) -> Stage:
    c = plan.containers
    settings = f"docker.service, if {DAEMON_FILE} lacks a key of ours (stops the servers for that)"
    return Stage(
        "containers",
        (f"{c.engine} and the NVIDIA toolkit, cards by UUID through CDI",),
        restarts=settings if c.daemon_settings else "",
    )


def _storage(plan: Plan) -> Stage | None:
    if not plan.storage:
        return None
    return Stage(
        "storage",
        tuple(
            f"{m.path} on {m.device} ({m.filesystem}), never formatted"
            if m.device
            else f"folder {m.path}"
            for m in plan.storage
        ),
    )


def _model(plan: Plan) -> Stage | None:
    if not plan.models:
        return None
    return Stage("model", tuple(_models(plan)))


def _models(plan: Plan) -> Iterator[str]:
    for m in plan.models:
        if m.hub:
            yield f"{m.name}: {m.hub} at {m.revision} into {m.directory}"
        else:
            yield f"{m.name}: found in {m.directory}"


def _service(plan: Plan) -> Stage | None:
    if not plan.services:
        return None
    return Stage(
        "service",
        tuple(
            f"{s.unit} on {s.listen_address} port {s.listen_port}, "
            + ("started at boot" if s.at_boot else f"by hand, instead of {', '.join(s.instead_of)}")
            for s in plan.services
        ),
        restarts="a server whose script, environment, key or cards changed, and no other",
    )


def _daily(plan: Plan) -> Stage | None:
    if plan.daily is None:
        return None
    return Stage(
        "daily", (f"once a day the host compares itself with its plan: {plan.daily.metrics_path}",)
    )


def _verify(plan: Plan) -> Stage:
    asks = "reads everything back and asks every running server a question"
    loads = ("puts no load on the cards; `rigspec verify --load` and `rigspec burn` do",)
    return Stage("verify", (asks, *(loads if plan.fabric.files else ())))
