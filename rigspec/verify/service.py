"""Services: they serve their names with their context, behind their key, on their cards."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.record import Reading, Unknown
from rigspec.plan.sections import Plan, ServicePlan
from rigspec.verify.advice import look_at, restart
from rigspec.verify.completions import NO_ANSWER, completion, silence, stop, stream
from rigspec.verify.exposure import bound_address, listens_elsewhere, port_taken, verify_exposure
from rigspec.verify.mounts import mounts
from rigspec.verify.observation import Answers, Observation
from rigspec.verify.rivals import ending, loops, swapped
from rigspec.verify.verdict import Check, Verdict, listed


def verify_services(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """All rows about services."""
    swaps = swapped(plan.services, seen)
    yield from mounts(plan, seen)
    for service in plan.services:
        check = Check(f"service.answers.{service.name}", f"{service.name} answers", "curl")
        if service.unit in swaps:
            yield check.not_applicable(swaps[service.unit].said)
        elif service.unit in ending(swaps):
            yield check.not_applicable(f"{service.unit} keeps ending: see its own row")
        elif _is_down(service, seen):
            yield check.not_applicable(f"{service.unit} does not run: see its own row")
        elif service.name in seen.answers:
            yield from verify_service(service, seen.answers[service.name], seen)
        elif not service.at_boot:
            yield check.not_applicable("not running by plan")
        else:
            yield check.unknown("it was not asked")


def _is_down(plan: ServicePlan, seen: Observation) -> bool:
    """Whether its unit, which is red for it, is known to be down, and nobody else answers there.

    What answers on a port that another program has taken is not this server.
    """
    if plan.at_boot and (port_taken(plan, seen) or loops(plan, seen)):
        return True
    said = seen.answers.get(plan.name)
    unit = None if isinstance(seen.units, Unknown) else seen.units.get(plan.unit)
    down = unit is not None and not unit.active
    return plan.at_boot and down and said is not None and isinstance(said.models, Unknown)


def verify_service(plan: ServicePlan, said: Answers, seen: Observation) -> Iterator[Verdict]:
    """The rows of one running service; one that listens elsewhere has no answers to be judged."""
    if isinstance(said.models, Unknown) and listens_elsewhere(plan, seen):
        yield bound_address(plan, seen)
        check = Check(f"service.answers.{plan.name}", f"{plan.name} answers", "curl")
        yield check.not_applicable("it listens on another address: see service.bind")
        return
    yield served_name(plan, said)
    yield completion(plan, said)
    yield stream(plan, said)
    yield stop(plan, said)
    yield context(plan, said, simulated=seen.simulated)
    yield key_required(plan, said)
    yield from verify_exposure(plan, said, seen)
    yield container_cards(plan, said, seen)


def served_name(plan: ServicePlan, said: Answers) -> Verdict:
    """/v1/models lists every served name."""
    check = Check(
        f"service.models.{plan.name}",
        f"{plan.name}: served names",
        "GET /v1/models",
        listed(plan.served_names),
    )
    if isinstance(said.models, Unknown):
        cure = restart if said.models.reason == NO_ANSWER else look_at
        return check.failed(said.models.line, silence(said.models), cure(plan.unit))
    found = [model.id for model in said.models]
    missing = [name for name in plan.served_names if name not in found]
    if not missing:
        return check.passed(listed(found))
    return check.failed(
        listed(found), f"it does not serve {listed(missing)}", f"restart {plan.unit}"
    )


def context(plan: ServicePlan, said: Answers, *, simulated: bool) -> Verdict:
    """The context the server claims is the planned one: clients cut their requests by it."""
    llama = plan.engine == "llama_cpp"
    check = Check(
        f"service.context.{plan.name}",
        f"{plan.name}: context length",
        "GET /props" if llama else "GET /v1/models",
        f"{plan.context_length} tokens" if plan.context_length else "",
    )
    if plan.context_length is None:
        return check.not_applicable("`context_length` names no number")
    if simulated:
        return check.not_applicable("the simulated engine has a context of its own")
    claimed = said.slot_context if llama else _claimed(plan, said)
    if claimed is None or isinstance(claimed, Unknown):
        return check.unknown(claimed or "it was not asked")
    # llama.cpp rounds a slot up to whole blocks of 256 tokens
    if plan.context_length <= claimed < plan.context_length + (256 if llama else 1):
        return check.passed(f"{claimed} tokens")
    return check.failed(
        f"{claimed} tokens", "it was started with another context length", f"restart {plan.unit}"
    )


def _claimed(plan: ServicePlan, said: Answers) -> Reading[int]:
    if isinstance(said.models, Unknown):
        return said.models
    mine = [model for model in said.models if model.id in plan.served_names]
    return mine[0].max_model_len if mine else Unknown("no served name of the plan is listed")


def key_required(plan: ServicePlan, said: Answers) -> Verdict:
    """Without the key, nothing."""
    check = Check(
        f"service.key.{plan.name}",
        f"{plan.name}: key required",
        "GET /v1/models without key",
        "401",
    )
    if not plan.secret_path:
        return check.not_applicable(f"no key is planned; it listens on {plan.listen_address}")
    if said.without_key is None:
        return check.unknown("it was not asked")
    status = said.without_key.status
    if isinstance(status, Unknown):
        return check.unknown(status)
    if status in {401, 403}:
        return check.passed(str(status))
    return check.failed(
        str(status),
        "anybody who reaches the port is served",
        f"look at: {plan.secret_path}; restart {plan.unit}",
    )


def container_cards(plan: ServicePlan, said: Answers, seen: Observation) -> Verdict:
    """The running container sees its cards, also after systemd was reloaded."""
    wanted = [card.uuid for member in plan.gpus if (card := seen.bound.get(member))]
    check = Check(
        f"service.cards.{plan.name}",
        f"{plan.name}: cards in its container",
        "nvidia-smi -L in the container",
        f"{len(plan.gpus)} cards",
    )
    if isinstance(said.cards, Unknown):
        return check.unknown(said.cards)
    if len(wanted) < len(plan.gpus):
        return check.unknown("not every member is bound")
    missing = [uuid for uuid in wanted if uuid not in said.cards]
    more = [uuid for uuid in said.cards if uuid not in wanted]
    if not missing and not more:
        return check.passed(f"{len(wanted)} cards")
    if missing:
        return check.failed(
            f"{len(said.cards)} cards, without {listed(missing)}",
            "the container has lost its devices, or was given others",
            f"systemctl restart {plan.unit}",
        )
    return check.failed(
        f"also {listed(more)}", "it sees cards that are not its own", look_at(plan.unit)
    )
