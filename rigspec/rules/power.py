"""`power`: caps the cards take, supplies and circuit that carry them, with the arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.catalog.gpus import Gpu
from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import a_card, feeds, named, span
from rigspec.rules.power_budget import (
    caps_text,
    caps_to_write,
    highest_caps,
    loads,
    socket_caps,
    wall_w,
)
from rigspec.sizing.supplies import circuit_w, socket_w
from rigspec.spec.rig import Rig, all_members
from rigspec.units import text_w

LEAST_SPIKES = 1.1
"""The least `transient_factor` that leaves room for spikes, of supplies that are built for them."""
_BUILT = f"; for a supply built for such spikes: `transient_factor: {LEAST_SPIKES:g}`"
NORTH_AMERICAN_V = (208, 240, 277, 480)
"""Nominal voltages of circuits under the NEC, beside those below 128 V (ANSI C84.1)."""


def limit_in_range(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A cap lies within what the card takes."""
    for name, group in rig.gpus.items():
        card = facts.gpu(rig, name)
        if card is None or group.power_limit_w is None:
            continue
        low, high = card.power_min_w, card.power_max_w
        cap = group.power_limit_w
        if (low is not None and cap < low) or (high is not None and cap > high):
            yield error(
                "power.limit-in-range",
                ("gpus", name, "power_limit_w"),
                f"{a_card(card)} takes no cap of {cap} W; it takes {_range(card)}",
                why="nvidia-smi refuses it, some drivers without an error, and the card runs at "
                "its default",
                hint=f"its default is {card.power_default_w} W; boards of one model differ, "
                "`nvidia-smi -q -d POWER` prints the card's own range",
            )


def _range(card: Gpu) -> str:
    if card.power_min_w is None:
        return f"at most {card.power_max_w} W"
    if card.power_max_w is None:
        return f"at least {card.power_min_w} W"
    return f"{card.power_min_w} to {card.power_max_w} W"


def limit_above_default(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A cap above the default: what a board takes there differs, or nobody knows."""
    for name, group in rig.gpus.items():
        card = facts.gpu(rig, name)
        cap = group.power_limit_w
        if not card or not cap or cap <= card.power_default_w:
            continue
        if card.power_max_w is None or cap <= card.power_max_w:
            yield warning(
                "power.limit-above-default",
                ("gpus", name, "power_limit_w"),
                f"{cap} W is above the default of {a_card(card)}, {card.power_default_w} W, and "
                + (
                    "its highest cap is not in the catalog"
                    if card.power_max_w is None
                    else f"not every board takes as much as {card.power_max_w} W"
                ),
                why="a cap the card does not take leaves it at its default",
                hint="`nvidia-smi -q -d POWER` prints the card's own range",
            )


def gpu_without_psu(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every card hangs on a supply."""
    fed = named(rig, feeds(rig))
    missing = [m for m in all_members(rig.gpus) if m not in fed]
    if missing:
        yield error(
            "power.gpu-without-psu",
            ("power", "psus"),
            f"no power supply feeds {span(missing)}",
            why="its watts would be missing from every sum",
            hint="name it in `gpus` of the supply its cable comes from",
        )


def gpu_on_two_psus(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No card is counted on two supplies."""
    for member, paths in named(rig, feeds(rig)).items():
        for path in (p for p in paths[1:] if p[:-1] != paths[0][:-1]):
            found = error(
                "power.gpu-on-two-psus",
                path,
                f"`{member}` hangs on two power supplies",
                why="a card fed by two supplies ties their outputs together",
                hint="name it once; supplies that share their load are one entry with `count`",
            )
            yield replace(found, also=(paths[0],))


def host_without_psu(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Some supply feeds the board."""
    if not any(psu.feeds_host for psu in rig.power.psus):
        yield error(
            "power.host-without-psu",
            ("power", "psus"),
            f"no power supply feeds the host ({rig.power.base_load_w} W)",
            why="the base load would be missing from every sum",
            hint="set `feeds_host: true` on the supply that the board hangs on",
        )


def psu_name_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Supply names are unique."""
    first: dict[str, Path] = {}
    for i, psu in enumerate(rig.power.psus):
        path = ("power", "psus", i, "name")
        if psu.name in first:
            found = error("power.psu-name-twice", path, f"two supplies are called `{psu.name}`")
            yield replace(found, also=(first[psu.name],))
        first.setdefault(psu.name, path)


def psu_overloaded(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every supply carries its cards, their spikes, and its share of the host."""
    for load in loads(rig, facts) or ():
        if load.peak_w <= load.rating_w:
            continue
        factor = rig.power.transient_factor
        base = f" + {text_w(load.base_w)} host" if load.base_w else ""
        always = load.steady_w > load.rating_w
        built = factor > LEAST_SPIKES and load.spikes_w(LEAST_SPIKES) <= load.rating_w
        yield error(
            "power.psu-overloaded",
            ("power", "psus", load.index, "watts"),
            f"`{load.psu.name}` gives {text_w(load.rating_w)}, its load "
            f"{'is' if always else 'spikes to'} "
            f"{text_w(load.steady_w if always else load.peak_w)}: "
            + (f"{load.gpu_sum}{base}" if always else f"{factor:g} × ({load.gpu_sum}){base}"),
            why="an overloaded supply switches off, and with it every job on the rig; a cap does "
            "not bound spikes of milliseconds",
            hint=_cap_hint(rig, facts) + (_BUILT if built else ""),
        )


def circuit_overloaded(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The circuit carries the rig for hours."""
    found = loads(rig, facts)
    if not found:
        return
    wall, sum_text = wall_w(found)
    limit, limit_text = circuit_w(rig.power.circuit)
    if wall > limit:
        yield error(
            "power.circuit-overloaded",
            ("power", "circuit"),
            f"the rig draws {text_w(wall)} at the wall, the circuit gives {text_w(limit)} for "
            "hours",
            why=f"{sum_text}; {limit_text}; a breaker trips at a lasting overload, mid-job",
            hint=_cap_hint(rig, facts),
        )


def _cap_hint(rig: Rig, facts: CheckContext) -> str:
    caps, on_socket = highest_caps(rig, facts), socket_caps(rig, facts)
    if caps is None:
        return "no cap that these cards take fits: move cards to another supply or circuit"
    less = on_socket is not None and on_socket != caps
    also = f" ({caps_text(on_socket)} on a domestic socket)" if on_socket and less else ""
    return f"{caps_to_write(caps)} fits{also}; or take a larger supply or circuit"


def domestic_socket(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What a domestic socket of 230 V takes for hours."""
    circuit, found = rig.power.circuit, loads(rig, facts)
    socket = socket_w(circuit)
    if not found or socket is None:
        return
    wall, caps = wall_w(found)[0], socket_caps(rig, facts)
    if socket < wall <= circuit_w(circuit)[0]:
        yield warning(
            "power.domestic-socket",
            ("power", "circuit"),
            f"{text_w(wall)} for hours is much for one domestic socket; plan {text_w(socket)}",
            why="a Schuko socket is made for 16 A for hours, not for days, and a British plug's "
            "fuse is 13 A; contacts age and burn",
            hint="an IEC 60309 socket (the blue one) or a fixed connection takes its full current"
            + (f"; on a domestic one {caps_to_write(caps)}" if caps else ""),
        )


def whole_breaker(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """North American circuits keep a fifth in reserve."""
    circuit = rig.power.circuit
    nec = circuit.volts <= 127 or circuit.volts in NORTH_AMERICAN_V
    if nec and circuit.continuous_factor > 0.8:
        yield warning(
            "power.whole-breaker",
            ("power", "circuit", "continuous_factor"),
            f"`continuous_factor: {circuit.continuous_factor:g}` on a {circuit.volts} V circuit; "
            "North America's code allows 0.8 for loads of three hours and more",
            why="breakers of this kind trip when they run at their rating for hours (NEC 210.20)",
            hint="delete it, unless the breaker is rated for 100 % continuous load"
            + ("" if circuit.volts <= 127 else ", or this is no circuit of North America"),
        )


def no_spikes(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Supplies must carry more than the sum of the caps."""
    if rig.power.transient_factor < LEAST_SPIKES:
        yield warning(
            "power.no-spikes",
            ("power", "transient_factor"),
            f"`transient_factor: {rig.power.transient_factor:g}` plans for hardly any spikes",
            why="627 W for 10 ms were measured on a card of 575 W; machines reset although the "
            "sum of their caps fitted the supply",
            hint="1.2 suits ATX 3.0 supplies, older ones need more; `clock_ceiling_mhz` lowers "
            "the spikes themselves",
        )
