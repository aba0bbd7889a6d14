"""Exposure: what answers without the key, and on which addresses; the image that really runs."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.routes import RouteKind, routes_of
from rigspec.observed.exposure import RouteAnswer, listening_on, same_address
from rigspec.observed.record import Unknown, known
from rigspec.plan.sections import ServicePlan
from rigspec.verify.advice import run_stage
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.rivals import loops
from rigspec.verify.verdict import Check, Verdict, listed

_OPEN = "somebody who reaches the port can"
_CLOSE = (
    "let a proxy or a firewall admit only the routes you mean, or take an image whose engine asks "
    "for the key on every route; without other users on a loopback address no key is needed"
)


def verify_exposure(plan: ServicePlan, said: Answers, seen: Observation) -> Iterator[Verdict]:
    """The rows about who reaches a running service, and what it was started from."""
    yield bound_address(plan, seen)
    yield routes(plan, said)
    yield image(plan, said)


def bound_address(plan: ServicePlan, seen: Observation) -> Verdict:
    """The port is open on the planned address and on no other."""
    check = Check(
        f"service.bind.{plan.name}",
        f"{plan.name}: bound address",
        "/proc/net/tcp, tcp6",
        f"{plan.listen_address} port {plan.listen_port}",
    )
    if isinstance(seen.listeners, Unknown):
        return check.unknown(seen.listeners)
    found = listening_on(seen.listeners, plan.listen_port)
    if not found:
        return check.failed(
            "nothing listens on this port", "the engine has not opened it, or another one",
            f"look at: journalctl -b -u {plan.unit}",
        )  # fmt: skip
    others = [address for address in found if not same_address(address, plan.listen_address)]
    if not others:
        return check.passed(f"{listed(found)} port {plan.listen_port}")
    return check.failed(
        listed(found),
        f"it also answers on {listed(others)}: more machines reach it than the spec says"
        if len(others) < len(found)
        else "it does not answer where the spec says",
        f"look at: ss -ltnp 'sport = :{plan.listen_port}'; restart {plan.unit}",
    )


_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def listens_elsewhere(plan: ServicePlan, seen: Observation) -> bool:
    """Whether its port is known to be open, and nowhere that the planned address reaches."""
    if isinstance(seen.listeners, Unknown):
        return False
    found = listening_on(seen.listeners, plan.listen_port)
    reached = (plan.listen_address, *_EVERYWHERE)
    return bool(found) and not any(same_address(a, b) for a in found for b in reached)


def port_taken(plan: ServicePlan, seen: Observation) -> bool:
    """Whether another program has the port of a server that is down, or ends again and again."""
    unit = (known(seen.units) or {}).get(plan.unit)
    if unit is None:
        return False
    waits = (known(unit.sub_state) or "").startswith("auto-restart")
    if not (waits or unit.active_state in {"failed", "inactive"} or loops(plan, seen)):
        return False
    mine = (plan.listen_address, *_EVERYWHERE)
    found = listening_on(known(seen.listeners) or (), plan.listen_port)
    everywhere = plan.listen_address in _EVERYWHERE
    return any(everywhere or same_address(a, b) for a in found for b in mine)


def free_port(plan: ServicePlan) -> str:
    """How the owner learns who holds it, and what to do then."""
    return (
        f"look at: ss -ltnp 'sport = :{plan.listen_port}'; stop that program, or change "
        f"`services.{plan.name}.listen.port`; then: systemctl restart {plan.unit}"
    )


def routes(plan: ServicePlan, said: Answers) -> Verdict:
    """No route that runs the model or changes the server answers without the key."""
    check = Check(
        f"service.exposure.{plan.name}",
        f"{plan.name}: routes without key",
        "each known and each listed route, without key, by requests that execute nothing",
        "none that runs the model or changes the server",
    )
    if not plan.secret_path:
        return check.not_applicable(f"no key is planned; it listens on {plan.listen_address}")
    if said.routes is None:
        return check.unknown("it was not asked")
    if isinstance(said.routes, Unknown):
        return check.unknown(said.routes)
    return _judge(check, plan, said.routes)


def _judge(check: Check, plan: ServicePlan, answers: tuple[RouteAnswer, ...]) -> Verdict:
    reachable = [(route, kind_of(plan.engine, route)) for route in answers if route.reachable]
    silent = [route for route in answers if route.status == 0]
    runs = [_name(route) for route, kind in reachable if kind is RouteKind.RUNS]
    changes = [_name(route) for route, kind in reachable if kind is RouteKind.CHANGES]
    tells = [_name(route) for route, kind in reachable if kind is RouteKind.TELLS]
    found = f"{len(answers)} routes tried, {len(reachable)} answer"
    if runs or changes:
        can = " and ".join(
            [*(["run the model"] if runs else []), *(["change the server"] if changes else [])]
        )
        return check.failed(f"open: {listed([*runs, *changes])}", f"{_OPEN} {can}", _CLOSE)
    if silent:
        return check.unknown(f"{listed(map(_name, silent))} did not answer in time")
    if tells:
        return check.warned(
            f"{found}: {listed(tells)}", f"{_OPEN} see how the server is set up and used", _CLOSE
        )
    return check.passed(found + (": alive or not, and its version" if reachable else ""))


def kind_of(engine: str, answer: RouteAnswer) -> RouteKind:
    """What a route gives; one that only the engine's own list names may do anything by POST."""
    for route in routes_of(engine):
        if route.path == answer.path and (answer.listed or route.method == answer.methods):
            return route.kind
    return RouteKind.TELLS if answer.methods in {"GET", "HEAD", "GET,HEAD"} else RouteKind.RUNS


def _name(answer: RouteAnswer) -> str:
    return f"{answer.path} ({answer.status})"


def image(plan: ServicePlan, said: Answers) -> Verdict:
    """The container was started from the image the plan names, by content."""
    check = Check(
        f"service.image.{plan.name}",
        f"{plan.name}: image",
        "container inspect, image inspect",
        plan.image,
    )
    running, planned = said.image.running, said.image.planned
    if isinstance(running, Unknown):
        return check.unknown(running)
    if isinstance(planned, Unknown):
        return check.unknown(planned, f"{run_stage('service')}, which pulls what is missing")
    if running == planned:
        return check.passed(f"sha256:{running[:12]}")
    return check.failed(
        f"sha256:{running[:12]}, the plan's is sha256:{planned[:12]}",
        "the container was started from another image than the plan names",
        f"systemctl restart {plan.unit}",
    )
