"""A plan as an owner reads it: stages, kernel line, packages, files, container commands, digest."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from rigspec.plan import shell
from rigspec.plan.relied import planned_units
from rigspec.plan.rig import PLAN_FILE, all_files, digest, to_json
from rigspec.plan.sections import AptRepository, Package, Plan, ServicePlan
from rigspec.plan.stages import Stage, plan_stages
from rigspec.report.words import screen


def as_text(plan: Plan, columns: int | None = None) -> str:
    """The whole plan, one screen after the other, ending with the digest.

    In the width of a terminal where it has one.
    """
    parts = (
        f"rig {plan.rig}: what {plan.preflight.os} will be given",
        *_section("stages, in this order", _stages(plan_stages(plan))),
        *_section("kernel line", _kernel(plan)),
        *_section("module options", _module_options(plan)),
        *_section("cards", _cards(plan)),
        *_section("packages", _packages(plan)),
        *_section("units", _units(plan)),
        *_section("files", _files(plan)),
        *(text for service in plan.services for text in _service(service)),
        f"\ndigest {digest(plan)}",
    )
    return screen("\n".join(parts), columns)


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    if found:
        yield f"\n{title}"
        yield from (f"  {line}".rstrip() for line in found)


def _stages(stages: Iterable[Stage]) -> Iterator[str]:
    for number, stage in enumerate(stages, 1):
        first, *more = stage.gives
        yield f"{number:2} {stage.name:<11} {first}"
        yield from (f"{'':14} {line}" for line in more)
        if stage.reboots:
            yield f"{'':14} reboots: {stage.reboots}"
        if stage.restarts:
            yield f"{'':14} restarts: {stage.restarts}"


def _kernel(plan: Plan) -> Iterator[str]:
    yield from plan.kernel.arguments
    if plan.pcie.acs_off:
        yield "pci=disable_acs_redir=…   the bridges between GPUs, as found on the host"
    if plan.kernel.should_not_exist:
        unwanted = f"and none of: {' '.join(plan.kernel.should_not_exist)}"
        yield from textwrap.wrap(unwanted, 96, subsequent_indent="  ", break_on_hyphens=False)


def _module_options(plan: Plan) -> Iterator[str]:
    yield from (f"blacklist {module}" for module in plan.kernel.blacklist)
    for module, option, value in plan.kernel.module_options:
        yield f"{module} {option}={value}"


def _cards(plan: Plan) -> Iterator[str]:
    for card in plan.preflight.gpus:
        cap = card.power_limit_w or card.power_default_w
        bridge = f"NVLink bridge to {card.nvlink_peer}" if card.nvlink_peer else None
        named = "".join(f", {known}" for known in (bridge, card.uuid, card.slot) if known)
        yield (
            f"{card.member:<10} {card.product_name}, PCIe gen {card.link_generation} "
            f"x{card.link_width}, {cap} W{'' if card.power_limit_w else ' (its default)'}{named}"
        )


def _packages(plan: Plan) -> Iterator[str]:
    repositories = (plan.driver.repository, *plan.containers.repositories)
    yield from (_repository(repository) for repository in repositories if repository)
    held = {*plan.driver.hold, *plan.containers.hold}
    packages = (
        *plan.preflight.packages,
        *plan.driver.pinning_packages,
        *plan.driver.packages,
        *plan.containers.packages,
    )
    yield from (name.replace("{release}", "$(uname -r)") for name in plan.driver.headers)
    for package in dict.fromkeys(packages):
        yield _package(package, package.name in held)
    for name in (*plan.driver.must_be_absent, *plan.containers.must_be_absent):
        yield f"not {name}"
    for component in plan.driver.components:
        yield f"the distribution's component {component} must be enabled: dependencies live there"


def _repository(repository: AptRepository) -> str:
    url = next(
        (
            line.removeprefix("URIs: ")
            for line in repository.sources.content.splitlines()
            if line.startswith("URIs: ")
        ),
        "",
    )
    return f"from {url} signed by {repository.key_fingerprint}"


def _package(package: Package, held: bool) -> str:
    version = f" = {package.version}" if package.version else ""
    return f"{package.name}{version}{', held' if held else ''}"


def _units(plan: Plan) -> Iterator[str]:
    yield from planned_units(plan)
    yield from (service.unit for service in plan.services)


def _files(plan: Plan) -> Iterator[str]:
    files = all_files(plan)
    width = max(len(dest) for dest in (PLAN_FILE, *(file.dest for file in files)))
    for file in files:
        size = len(file.content.encode())
        yield f"{file.mode} {size:6} bytes  {file.dest:<{width}}  {file.origin}"
    size = len(to_json(plan).encode())
    yield f"644 {size:6} bytes  {PLAN_FILE:<{width}}  this plan"
    for service in plan.services:
        if service.secret_path:
            yield f"600 from ${service.api_key_env} at apply  {service.secret_path}"
    for model in plan.models:
        if model.secret_path:
            yield f"600 from ${model.token_env} at apply  {model.secret_path}"


def _service(service: ServicePlan) -> Iterator[str]:
    title = f"container of {service.unit}, answers on {service.listen_address}"
    where = f"{title} port {service.listen_port} within {service.start_timeout_s} s"
    at = service.run_argv.index(service.image)
    before, after = service.run_argv[:at], service.run_argv[at + 1 :]
    yield from _section(where, (*shell.shown(before), service.image, *shell.shown(after)))
