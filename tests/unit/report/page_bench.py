"""Sample rigs for the page, made up in code: no measurement of any real machine is in them.

Speeds are link arithmetic times 0.87, the share that healthy links show (docs/sizing.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import permutations
from pathlib import Path

from verdicts_bench import (
    CELLS,
    ROOT,
    SPEC,
    UUIDS,
    the_look,
    the_plan,
    the_tree,
    the_upkeep,
    without_errors,
)

from rigspec.observed.containers import Cdi
from rigspec.observed.kernel import Iommu, IommuGroup
from rigspec.observed.lspci import parse_lspci
from rigspec.observed.nvidia_smi import QUERY_FIELDS, GpuReading, parse_query_gpu
from rigspec.observed.pairs import (
    ERROR,
    HANG,
    HOST,
    PEER,
    AllReduceReading,
    FabricCard,
    FabricReading,
    PairReading,
    PatternReading,
)
from rigspec.observed.pci import Acs, AcsBits, Bar, Kind, Link, PciFunction, PciTree
from rigspec.observed.record import Unknown, known
from rigspec.observed.storage import Space, Storage
from rigspec.plan.binding import BoundCard
from rigspec.plan.sections import Plan
from rigspec.report.estimates import Estimates, PowerBudget, Supply, power_budget
from rigspec.report.judged import Judged
from rigspec.report.verdicts_html import as_html
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check_file
from rigspec.verify.observation import Observation
from rigspec.verify.rig import verify_rig
from rigspec.verify.vram import CardEstimate

AT = "2026-11-24T21:00:00+00:00"
GEN4_X16_GB_S = 31.5


def port(
    address: str, kind: Kind, parent: str | None, link: Link | None, node: int | None = None
) -> PciFunction:
    acs = Acs(AcsBits.from_word(0x1D), AcsBits.from_word(0x11))
    return PciFunction(
        address, class_code=0x0604, kind=kind, parent=parent, link_cap=link and Link(4, 16),
        link_status=link, acs=acs, aspm_enabled=(), numa_node=node,
        speed_disabled=False,
    )  # fmt: skip


def gpu(address: str, parent: str | None, link: Link, node: int | None = None) -> PciFunction:
    return PciFunction(
        address, 0x10DE, 0x2BB1, class_code=0x0300, kind=Kind.ENDPOINT, parent=parent,
        link_cap=Link(5, 16), link_status=link, acs=None, aspm_enabled=(), numa_node=node,
        speed_disabled=False, bars=(Bar(1, 1 << 40, 128 << 30, prefetchable=True),),
    )  # fmt: skip


def switch(bus: int, above: str, cards: int, link: Link, node: int | None) -> Iterator[PciFunction]:
    """An upstream port, a downstream port for each card, the cards: at their widest, but idle."""
    yield port(f"0000:{bus:02x}:00.0", Kind.UPSTREAM, above, link, node)
    for n in range(cards):
        down = f"0000:{bus + 1:02x}:{n:02x}.0"
        yield port(down, Kind.DOWNSTREAM, f"0000:{bus:02x}:00.0", Link(1, 16), node)
        yield gpu(f"0000:{bus + 2 + n:02x}:00.0", down, Link(1, 16), node)


def two_sockets() -> PciTree:
    """Sixteen cards, four switches, two CPUs; the third switch lost half of its uplink."""
    found: list[PciFunction] = []
    for n in range(4):
        root = f"0000:{n * 0x20:02x}:01.1"
        found.append(port(root, Kind.ROOT_PORT, None, Link(4, 16), n // 2))
        uplink = Link(4, 8) if n == 2 else Link(4, 16)
        found += switch(n * 0x20 + 1, root, 4, uplink, n // 2)
    return PciTree(tuple(found))


def one_card() -> PciTree:
    """No switch, no node told."""
    root = port("0000:00:01.0", Kind.ROOT_PORT, None, Link(1, 16))
    return PciTree((root, gpu("0000:01:00.0", root.address, Link(1, 16))))


def deep() -> PciTree:
    """A switch behind a switch behind a switch: two cards at the end, one right at the CPU."""
    found = [port("0000:00:01.0", Kind.ROOT_PORT, None, Link(4, 16))]
    above = found[0].address
    for bus in (1, 3):
        found.append(port(f"0000:{bus:02x}:00.0", Kind.UPSTREAM, above, Link(4, 16)))
        above = f"0000:{bus + 1:02x}:00.0"
        found.append(port(above, Kind.DOWNSTREAM, f"0000:{bus:02x}:00.0", Link(4, 16)))
    found += switch(5, above, 2, Link(4, 4), None)
    found.append(port("0000:00:03.0", Kind.ROOT_PORT, None, Link(4, 16)))
    found.append(gpu("0000:0f:00.0", "0000:00:03.0", Link(4, 16)))
    return PciTree(tuple(found))


def plan_of(count: int) -> Plan:
    """The plan of rigs/home.yaml, for as many cards; its service has the first four."""
    plan = the_plan()
    first = plan.preflight.gpus[0]
    cards = tuple(replace(first, member=f"main.{n}") for n in range(count))
    limits = tuple((card.member, 350) for card in cards)
    preflight, power = replace(plan.preflight, gpus=cards), replace(plan.power, limits_w=limits)
    return replace(plan, preflight=preflight, power=power)


def uuid(n: int) -> str:
    return UUIDS[n] if n < len(UUIDS) else f"GPU-{n:02x}0f1c52-7d3e-4b6a-9c81-0f2e4d6b8a{n:02x}"


def one_group(tree: PciTree) -> Iommu:
    """What a kernel makes of ports that isolate nothing: everything in one group."""
    addresses = tuple(function.address for function in tree.functions)
    return Iommu(("ivhd0",), ("IVRS",), (IommuGroup(0, "identity", addresses),))


def look_at(tree: PciTree) -> Observation:
    """A look at as many cards as the tree has, bound in bus order."""
    slots = [function.address for function in tree.gpus]
    rows = "\n".join(CELLS.format(n=n, uuid=uuid(n), slot=slot) for n, slot in enumerate(slots))
    bound = tuple(BoundCard(f"main.{n}", uuid(n), slot) for n, slot in enumerate(slots))
    cdi = Cdi(tuple(f"nvidia.com/gpu={uuid(n)}" for n in range(len(slots))), ())
    return the_look(
        tree=tree,
        cards=without_errors(parse_query_gpu(rows, QUERY_FIELDS)),
        binding=bound,
        iommu=one_group(tree),
        upkeep=the_upkeep(plan_of(len(slots))),
        cdi=cdi,
        simulated=True,
    )


def fabric(count: int, speed: Callable[[int, int], float]) -> FabricReading:
    """Every pair measured and right; `speed` one way, GB/s."""
    cards = tuple(FabricCard(uuid(n), f"main.{n}") for n in range(count))
    pairs = tuple(
        PairReading(
            uuid(a), uuid(b), speed(a, b), 1.8 * speed(a, b), 1.1 + 20 / speed(a, b), 4.2, PEER,
            True, True,
        )
        for a, b in permutations(range(count), 2)
    )  # fmt: skip
    together = tuple((uuid(a), uuid(b)) for a, b in permutations(range(count), 2))
    slowest = tuple(0.4 * speed(a, b) for a, b in permutations(range(count), 2))
    patterns = (PatternReading("all-pairs", together, slowest, True),)
    group = tuple(uuid(n) for n in range(min(4, count)))
    reduced = AllReduceReading("glm", group, 256 << 20, 16.1, 24.2, 21.0, (1.0,) * 4, True)
    return FabricReading(AT, "cuda", cards, pairs, patterns, (reduced,), simulated=True)


def changed(
    reading: FabricReading, changes: dict[tuple[int, int], dict[str, object]]
) -> FabricReading:
    """Some pairs otherwise; an empty mapping leaves the pair out."""
    by_uuid = {(uuid(a), uuid(b)): value for (a, b), value in changes.items()}
    pairs = (
        replace(pair, **by_uuid.get((pair.source, pair.target), {}))  # type: ignore[arg-type]
        for pair in reading.pairs
        if by_uuid.get((pair.source, pair.target), {"": 0})
    )
    return replace(reading, pairs=tuple(pairs))


def home_estimates() -> Estimates:
    """The power budget of rigs/home.yaml; the memory figure is made up."""
    rig = check_file(str(SPEC)).rig
    assert rig is not None
    cards = tuple(CardEstimate("glm", f"main.{n}", 86.4, 86.0, 90.2) for n in range(4))
    return Estimates(cards, power_budget(rig, CheckContext()))


def judged(plan: Plan, seen: Observation, estimates: Estimates, *, observed_at: str = AT) -> Judged:
    return Judged(
        plan, seen, verify_rig(plan, seen, estimates.cards), observed_at, estimates=estimates
    )


def _home() -> Judged:
    seen = replace(
        the_look(simulated=True, tree=_whole(the_tree()), storage=_room()),
        iommu=one_group(the_tree()),
        fabric=fabric(4, lambda a, b: GEN4_X16_GB_S * (0.86 + (a + b) % 4 / 200)),
    )
    return judged(the_plan(), seen, home_estimates())


def _whole(tree: PciTree) -> PciTree:
    """The tree of the look without its narrow link."""
    widened = (
        replace(f, link_status=Link(f.link_status.gen, 16))
        if isinstance(f.link_status, Link)
        else f
        for f in tree.functions
    )
    return PciTree(tuple(widened))


def _room() -> Storage:
    """The bench's disks, with a root that could be read."""
    space = (Space("/dev/sda1", "/", 100 << 30, 61 << 30),)
    return replace(the_look().storage, space=space)


def _narrow() -> Judged:
    """One card lost half of its lanes: its link and its pairs show it."""
    seen = the_look(simulated=True, storage=_room(), iommu=one_group(the_tree()))
    slow = fabric(4, lambda a, b: GEN4_X16_GB_S * (0.43 if 2 in {a, b} else 0.86 + (a + b) / 400))
    seen = replace(seen, fabric=slow)
    return judged(the_plan(), seen, home_estimates())


def _faulty() -> Judged:
    """A narrow link, a card gone, redirects on, a cap lost, and one pair of every kind of bad."""
    seen = the_look(simulated=True)
    cards = known(seen.cards) or ()
    loose = replace(cards[1], power_enforced_w=600.0, power_limit_w=600.0, power_draw_w=583.0)
    redirected = Acs(AcsBits.from_word(0x1D), AcsBits.from_word(0x1D))
    tree = the_tree()
    functions = tuple(
        replace(f, acs=redirected) if f.kind is Kind.DOWNSTREAM else f
        for f in tree.functions
        if f.address not in {"0000:06:00.0"}
    )
    pairs: dict[tuple[int, int], dict[str, object]] = {
        (0, 1): {"path": HOST, "one_way_gb_s": 11.8},
        (1, 0): {"path": HOST, "one_way_gb_s": 11.9},
        (0, 2): {"values_ok": False},
        (2, 0): {"moved": False, "values_ok": False},
        (1, 2): {"ended": HANG, **_lost("the time limit of 30 s ended it")},
        (2, 1): {"ended": ERROR, "error": "peer access is not supported", **_lost("error")},
        (0, 3): {},
        (3, 0): {},
        (1, 3): _lost("not a number"),
    }
    seen = replace(
        seen,
        tree=PciTree(functions),
        cards=(cards[0], loose, cards[2]),
        fabric=changed(fabric(4, lambda a, b: 27.4 if 2 not in {a, b} else 13.2), pairs),
        refused=(),
        answers={},
    )
    return judged(the_plan(), seen, home_estimates())


def _lost(reason: str) -> dict[str, object]:
    names = ("one_way_gb_s", "two_way_gb_s", "latency_us", "worst_latency_us", "values_ok")
    return dict.fromkeys(names, Unknown(reason))


def _sixteen() -> Judged:
    def speed(a: int, b: int) -> float:
        if a // 4 == b // 4:
            return GEN4_X16_GB_S * 0.87
        return GEN4_X16_GB_S * (0.43 if 2 in {a // 4, b // 4} else 0.71)

    estimates = Estimates((), PowerBudget(tuple(_supplies()), 3 * 3680.0, "3 × 230 V × 16 A"))
    seen = replace(look_at(two_sockets()), fabric=fabric(16, speed))
    return judged(plan_of(16), seen, estimates)


def _supplies() -> Iterable[Supply]:
    for n in range(4):
        members = tuple(f"main.{4 * n + card}" for card in range(4))
        yield Supply(f"row-{n}", members, 300.0 if n == 0 else 0.0, 1600.0, 0.94, 1.2)


def _single() -> Judged:
    return judged(plan_of(1), look_at(one_card()), Estimates())


def _deep() -> Judged:
    return judged(plan_of(3), look_at(deep()), Estimates())


def _captured() -> Judged:
    """The tree of a real machine (tests/captures), nothing else read, cards with long names."""
    folder = ROOT / "tests/captures/voipmonitor-rtx6kpro-asus-8x-pro6000-server"
    tree = parse_lspci((folder / "lspci-gpus-and-bridges.txt").read_text(encoding="utf-8"))
    names = [f"workstation-cards-of-the-attic.{n}" for n in range(len(tree.gpus))]
    plan = plan_of(len(names))
    gpus = zip(plan.preflight.gpus, names, strict=True)
    members = tuple(replace(gpu, member=name) for gpu, name in gpus)
    slots = [function.address for function in tree.gpus]
    bound = tuple(BoundCard(n, uuid(i), slots[i]) for i, n in enumerate(names))
    cards = tuple(FabricCard(uuid(n), name) for n, name in enumerate(names))
    seen = Observation(
        tree=tree, binding=bound, fabric=replace(fabric(8, lambda a, b: 25.0), cards=cards)
    )
    return judged(replace(plan, preflight=replace(plan.preflight, gpus=members)), seen, Estimates())


def _blank() -> Judged:
    return judged(the_plan(), Observation(), Estimates(), observed_at="")


SAMPLES: dict[str, Callable[[], Judged]] = {
    "home": _home,
    "narrow": _narrow,
    "faulty": _faulty,
    "sixteen": _sixteen,
    "single": _single,
    "deep": _deep,
    "captured": _captured,
    "blank": _blank,
}


@cache
def sample(name: str) -> Judged:
    return SAMPLES[name]()


def planted(text: str) -> Judged:
    """The faulty rig where the host says `text` wherever it may say something."""
    run = sample("faulty")
    cards = tuple(_speaking(card, text) for card in known(run.seen.cards) or ())
    rows = tuple(
        replace(
            v, title=text, expected=text, found=text, reason=text, next_action=text, method=text
        )
        for v in run.verdicts
    )
    reading = known(run.seen.fabric)
    assert reading is not None
    named = tuple(replace(card, member=text) for card in reading.cards[3:])
    said = replace(
        reading,
        cards=(*reading.cards[:3], *named),
        patterns=tuple(replace(p, name=text, error=text) for p in reading.patterns),
        tool=text,
    )
    host = replace(known(run.seen.host), release=text, boot_id=text)  # type: ignore[type-var]
    seen = replace(run.seen, cards=cards, fabric=said, host=host)
    return replace(run, seen=seen, verdicts=rows, observed_at=text)


def _speaking(card: GpuReading, text: str) -> GpuReading:
    return replace(
        card, name=text, vbios=text, driver_version=text, cells={"name": text, text: "x"}
    )


def write_page(folder: Path, name: str, run: Judged) -> Path:
    """The page as a file, the way `rigspec verify --html` makes it."""
    file = folder / f"{name}.html"
    file.write_text(as_html(run, str), encoding="utf-8")
    return file
