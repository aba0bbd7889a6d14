"""`services`: names that exist, cards and ports that two services do not fight over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from rigspec.finding import Finding, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.exposure import overlap
from rigspec.rules.places import span, ticked
from rigspec.rules.shares import contexts_share, judged_apart, lower_shares, portions
from rigspec.spec.misnamed import nearest
from rigspec.spec.rig import Rig, members
from rigspec.spec.services import Service
from rigspec.spec.together import concurrent, groups_at_once, sharers


def model_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Models, draft models and partners that a service names exist."""
    for name, service in rig.services.items():
        yield from _known(("services", name, "model"), service.model, tuple(rig.models), "model")
        draft = service.speculative.model if service.speculative else None
        if draft is not None:
            path = ("services", name, "speculative", "model")
            yield from _known(path, draft, tuple(rig.models), "model")


def _known(
    path: tuple[str | int, ...], wanted: str, known: tuple[str, ...], what: str
) -> Iterator[Finding]:
    if wanted in known:
        return
    meant = nearest(wanted, known)
    yield error(
        "services.model-known",
        path,
        f"there is no {what} `{wanted}`; `{what}s` has {ticked(known) or 'none'}",
        why="nothing is fetched under this name, and nothing can be loaded",
        hint=f"did you mean `{meant}`?" if meant else f"describe it below `{what}s`",
    )


def partner_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`instead_of` names other services."""
    for name, service in rig.services.items():
        for i, partner in enumerate(service.instead_of):
            if partner in rig.services and partner != name:
                continue
            others = tuple(s for s in rig.services if s != name)
            meant = nearest(partner, others)
            yield error(
                "services.partner-known",
                ("services", name, "instead_of", i),
                "a service cannot run instead of itself"
                if partner == name
                else f"there is no service `{partner}` beside this one; "
                + (f"the others are {ticked(others)}" if others else "it is the only one"),
                hint=f"did you mean `{meant}`?" if meant else "",
            )


def nothing_at_boot(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Services with `instead_of` wait to be started; one of each pair should not."""
    waiting = [name for name, service in rig.services.items() if service.instead_of]
    if waiting and len(waiting) == len(rig.services):
        yield warning(
            "services.nothing-at-boot",
            ("services", waiting[0], "instead_of"),
            "every service has `instead_of`, so none starts at boot",
            why="`instead_of` marks the service that is started by hand in place of another",
            hint="delete it in the service that shall run by default",
        )


def port_twice(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Services that run at the same time listen on different ports."""
    for one, other in concurrent(rig):
        first, second = rig.services[one].listen, rig.services[other].listen
        if first.port == second.port and overlap(first.address, second.address):
            found = error(
                "services.port-twice",
                ("services", other, "listen", "port"),
                f"`{one}` and `{other}` both listen on port {first.port}",
                why="the second one to start fails",
                hint="give one another port, or let one run `instead_of` the other",
            )
            yield replace(found, also=(("services", one, "listen", "port"),))


def port_of_ssh(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The SSH port is taken."""
    for name, service in rig.services.items():
        if service.listen.port in (22, rig.host.port):
            yield error(
                "services.port-of-ssh",
                ("services", name, "listen", "port"),
                f"port {service.listen.port} belongs to SSH",
                why="the engine would not start, or rigspec could not come in any more",
                hint="8000 and 8080 are usual",
            )


def gpus_oversubscribed(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Services that share a card at the same time share its memory."""
    told: set[tuple[str, ...]] = set()
    for member, names in sharers(rig).items():
        groups = (g for g in groups_at_once(rig, names) if not judged_apart(rig, g, facts))
        worst = max(groups, key=lambda g: sum(portions(rig, g, member, facts)), default=())
        each = portions(rig, worst, member, facts)
        total, contexts = round(sum(each), 4), contexts_share(rig, worst, member, facts)
        if total + contexts <= 1 or worst in told:
            continue
        told.add(worst)
        complain = error if total > 1 else warning
        found = complain(
            "services.gpus-oversubscribed",
            _fraction_path(rig, worst[-1]),
            f"{ticked(worst)} take {' + '.join(f'{share:g}' for share in each)} = {total:g} of "
            f"the memory of `{member}`" + ("" if total > 1 else ", which leaves CUDA no room"),
            why="an engine takes its share at start; the second one finds too little and ends"
            if total > 1
            else "vLLM ends where its share of the whole card is not free, and the contexts of "
            "all these processes lie outside their shares",
            hint=lower_shares(rig, worst, member, facts),
        )
        yield replace(found, also=tuple(_fraction_path(rig, n) for n in worst[:-1]))


def gpus_shared_unbounded(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Of engines that share a card, each is told how much of it to take."""
    for one, other in concurrent(rig):
        both = tuple(
            name
            for name, partner in ((one, other), (other, one))
            if _is_unbounded(rig.services[name], rig.services[partner])
        )
        shared = set(members(rig.gpus, rig.services[one].gpus)) & set(
            members(rig.gpus, rig.services[other].gpus)
        )
        if shared and both:
            bounds = "; ".join(f"`{_BOUNDS[rig.services[n].engine]}` bounds `{n}`" for n in both)
            yield warning(
                "services.gpus-shared-unbounded",
                ("services", both[-1], "gpus"),
                f"`{one}` and `{other}` share {span(sorted(shared))}, and nothing bounds the "
                f"memory of {ticked(both)}",
                why="which one gets the memory depends on which one starts first",
                hint=f"{bounds}; or `instead_of: [{one}]` in `{other}`, then one runs at a time",
            )


_BOUNDS = {
    "llama_cpp": "context_length", "sglang": "gpu_memory_fraction", "vllm": "gpu_memory_fraction",
}  # fmt: skip


def _is_unbounded(service: Service, partner: Service) -> bool:
    """llama.cpp takes what its context needs, vLLM a share by default that leaves it no room."""
    if service.engine == "llama_cpp":
        return service.context_length is None
    if service.gpu_memory_fraction is not None:
        return False
    return service.engine == "sglang" or partner.engine == "llama_cpp"


def _fraction_path(rig: Rig, name: str) -> tuple[str, str, str]:
    given = rig.services[name].gpu_memory_fraction is not None
    return ("services", name, "gpu_memory_fraction" if given else "gpus")
