"""What the links between cards shall deliver, and the files that put load on them to see.

The benchmark is a file on the host, not a text that travels at the time: the plan shows every byte
that runs there as root, and an owner can start it without rigspec.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations
from pathlib import Path

from rigspec.frozen import dataclass
from rigspec.plan import shell
from rigspec.plan.binding import gpu_variable
from rigspec.plan.expected import AllReducePlan, PairPlan, PatternPlan
from rigspec.plan.render import SCRIPTS, render
from rigspec.plan.sections import FabricPlan, RenderedFile, ServicePlan
from rigspec.sizing.fabric import all_reduce_busbw, pattern_gb_s, reachable
from rigspec.sizing.from_spec import catalog_of, peers_granted, places_of
from rigspec.sizing.links import LinkPath, Place, paths
from rigspec.spec.rig import Rig, all_members

BENCH = f"{SCRIPTS}/fabric-bench.py"
LOAD = f"{SCRIPTS}/load"
CONTAINER = "rigspec-load"
WITH_TORCH = ("vllm", "sglang")
"""Engines whose images hold torch; llama.cpp's do not."""

MEASURE_LIMIT_S = 60
"""One pair, pattern or all-reduce; healthy ones take a few seconds, joining included."""
BURN_BEFORE_S = 20
"""All cards at work at once, after the links were measured: do they run alike?"""
START_S = 300
"""For the container, and for torch to be read off a slow disk."""

COPIES_MAX = 28
"""Copies of one pattern that one process holds buffers for: all pairs of eight cards one way."""


@dataclass(frozen=True)
class Run:
    """One container run, a function of the script; `kind` says for which of its verbs."""

    name: str
    kind: str
    title: str
    command: str
    limit_s: int


def plan_fabric(rig: Rig, services: tuple[ServicePlan, ...], extra: Path | None) -> FabricPlan:
    """What every pair in the declared tree can do; files where something can measure it."""
    catalog = catalog_of(extra)
    places, members = places_of(rig, catalog), all_members(rig.gpus)
    peer = rig.pcie.peer_to_peer and peers_granted(rig, members, catalog)
    ways = paths(places, peer=peer, redirect=rig.pcie.acs == "keep")
    able = tuple(s for s in services if s.engine in WITH_TORCH)
    patterns = tuple(_patterns(places, ways)) if len(members) > 1 else ()
    groups = tuple(_all_reduce(service, ways) for service in able if len(service.gpus) > 1)
    plan = FabricPlan(
        peer,
        able[0].name if able and len(members) > 1 else None,
        tuple(_pair(way) for way in ways),
        patterns,
        groups,
    )
    if not able and len(members) < 2:
        return plan
    files = _files(rig, services, able, plan)
    return FabricPlan(plan.peer, plan.measured_in, plan.pairs, patterns, groups, files)


def _pair(way: LinkPath) -> PairPlan:
    hop = way.bottleneck
    name = hop.form if hop.name in (way.first, way.second) else f"{hop.form}, {hop.name}"
    one, two = reachable(way)
    return PairPlan(way.first, way.second, name, round(one, 3), round(two, 3))


def _patterns(places: tuple[Place, ...], ways: tuple[LinkPath, ...]) -> Iterator[PatternPlan]:
    """All pairs at once, and each two branches of the tree against each other."""
    by_pair = {frozenset((way.first, way.second)): way for way in ways}
    names = [place.gpu for place in places]
    wanted: dict[str, tuple[tuple[str, str], ...]] = {}
    if len(names) > 2:
        wanted["all-pairs"] = tuple(permutations(names, 2))
        if len(wanted["all-pairs"]) > COPIES_MAX:
            wanted["all-pairs"] = tuple(combinations(names, 2))
    branches: dict[str, list[str]] = {}
    for place in places:
        branches.setdefault(place.switches[-1] if place.switches else place.gpu, []).append(
            place.gpu
        )
    shared = {name: gpus for name, gpus in branches.items() if len(gpus) > 1}
    for (name, gpus), (other, others) in combinations(shared.items(), 2):
        there = tuple(zip(gpus, others, strict=False))
        wanted[f"across-{name}-{other}"] = (*there, *((b, a) for a, b in there))
    for name, copies in wanted.items():
        total = pattern_gb_s(copies, {p.gpu: p for p in places}, by_pair)
        yield PatternPlan(name, copies, round(total, 3))


def _all_reduce(service: ServicePlan, ways: tuple[LinkPath, ...]) -> AllReducePlan:
    own = tuple(w for w in ways if {w.first, w.second} <= set(service.gpus))
    whole = len(own) == len(service.gpus) * (len(service.gpus) - 1) // 2
    return AllReducePlan(
        service.name,
        service.gpus,
        round(all_reduce_busbw(own, len(service.gpus)), 3) if whole else None,
    )


def _files(
    rig: Rig, services: tuple[ServicePlan, ...], able: tuple[ServicePlan, ...], plan: FabricPlan
) -> tuple[RenderedFile, ...]:
    members = all_members(rig.gpus)
    origin = "gpus, pcie and services"
    script = render(
        LOAD,
        rig=rig.name,
        origin=origin,
        mode="755",
        tool=rig.containers.engine,
        gpus=tuple((member, gpu_variable(member)) for member in members),
        cards=_uuids(members),
        units=" ".join(service.unit for service in services),
        container=_container(rig.containers.engine),
        stop_c=rig.verify.max_temperature_c,
        runs=tuple(_runs(rig, able, plan)),
    )
    bench = (render(BENCH, rig=rig.name, origin=origin),) if able else ()
    return (script, *bench)


def _runs(rig: Rig, able: tuple[ServicePlan, ...], plan: FabricPlan) -> Iterator[Run]:
    if not able:
        return
    members = all_members(rig.gpus)
    first = able[0]
    if plan.measured_in:
        number = {member: n for n, member in enumerate(members)}
        words = ["--pairs"]
        for pattern in plan.patterns:
            copies = ",".join(f"{number[a]}-{number[b]}" for a, b in pattern.copies)
            words += ["--pattern", f"{pattern.name}={copies}"]
        limit = START_S + MEASURE_LIMIT_S * (len(members) * (len(members) - 1) + len(plan.patterns))
        title = f"links of {len(members)} cards"
        yield Run("run_links", "fabric", title, _command(first, members, words), limit)
    for group in plan.all_reduce:
        service = next(s for s in able if s.name == group.service)
        for peer in (True, False) if plan.peer and _may_peer(rig, group.service) else (False,):
            ranks = ",".join(map(str, range(len(group.members))))
            words = ["--all-reduce", f"{group.service}={ranks}"]
            words += [] if peer else ["--without-peer"]
            name = f"run_all_reduce_{group.service.replace('-', '_')}_{'peer' if peer else 'host'}"
            title = (
                f"all-reduce of {group.service}, {'peer to peer' if peer else 'through the host'}"
            )
            command = _command(service, group.members, words, environment=True)
            yield Run(name, "fabric", title, command, START_S + MEASURE_LIMIT_S)
    work = ["--burn-s", str(BURN_BEFORE_S)]
    title = f"work on {len(members)} cards at once"
    command = _command(first, members, work)
    yield Run("run_work", "fabric", title, command, START_S + MEASURE_LIMIT_S + BURN_BEFORE_S)
    title = f"burning {len(members)} cards"
    command = _command(first, members, []) + ' "$@"'
    yield Run("run_burn", "burn", title, command, START_S + MEASURE_LIMIT_S)


def _may_peer(rig: Rig, service: str) -> bool:
    return rig.services[service].environment.get("NCCL_P2P_DISABLE") != "1"


def _uuids(members: tuple[str, ...]) -> str:
    return ",".join(f"${{{gpu_variable(member)}}}" for member in members)


def _command(
    service: ServicePlan,
    members: tuple[str, ...],
    words: list[str],
    *,
    environment: bool = False,
) -> str:
    """The benchmark in the image of one service."""
    env_file = next((f.dest for f in service.files if f.dest.endswith(".env")), None)
    # what the service tells NCCL holds for its collectives here too
    variables = (f"--env-file {shell.quote(env_file)}",) if environment and env_file else ()
    devices = (f"nvidia.com/gpu=${{{gpu_variable(member)}}}" for member in members)
    return shell.continued(
        (
            "benchmark",
            *variables,
            *(f"--device {shell.quote_card(device)}" for device in devices),
            shell.quote(service.image),
            "/fabric-bench.py",
            f'--uuids "{_uuids(members)}"',
            f"--limit-s {MEASURE_LIMIT_S}",
            *shell.lines(words),
        )
    )


def _container(tool: str) -> str:
    """What every run of the benchmark is given: no network, nothing writable but /tmp."""
    options = (
        ("--rm",),
        ("--name", CONTAINER),
        ("--pull", "never"),
        ("--network", "none"),
        ("--read-only",),
        ("--tmpfs", "/tmp"),  # noqa: S108 - inside the container
        ("--shm-size", "1g"),
        # NCCL pins host memory (NCCL user guide)
        ("--ulimit", "memlock=-1"),
        ("--init",),
        ("--cap-drop", "ALL"),
        ("--security-opt", "no-new-privileges"),
        ("--no-healthcheck",),
        ("--log-driver", "none"),
        ("--volume", f"{BENCH}:/fabric-bench.py:ro"),
        ("--env", "HOME=/tmp"),
        ("--env", "PYTHONDONTWRITEBYTECODE=1"),
        ("--entrypoint", "python3"),
    )
    words = (" ".join(map(shell.quote, option)) for option in options)
    return shell.continued((f"{tool} run", *words, '"$@"'))
