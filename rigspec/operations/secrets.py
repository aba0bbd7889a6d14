"""Secrets: from the owner's environment, through stdin, into a root-only file; never in a log."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial

from pydantic import SecretStr
from pyinfra.api import FunctionCommand, StringCommand

from rigspec.facts.managed import FileState
from rigspec.frozen import dataclass
from rigspec.operations.files import digest
from rigspec.operations.shell import refuse, shell_with_input
from rigspec.plan.sections import ModelPlan, Plan, ServicePlan
from rigspec.plan.service import secret_text

FOLDER = "/etc/rigspec/secrets"


@dataclass(frozen=True)
class Secret:
    """One secret file: where it lands, which variable holds the value, its text for a value."""

    path: str
    env: str
    why: str
    text: Callable[[str], str]


def service_secrets(services: Iterable[ServicePlan]) -> tuple[Secret, ...]:
    """API keys, in the form each engine reads."""
    return tuple(
        Secret(s.secret_path, s.api_key_env, f"services.{s.name}", partial(secret_text, s))
        for s in services
        if s.secret_path and s.api_key_env
    )


def model_secrets(models: Iterable[ModelPlan]) -> tuple[Secret, ...]:
    """Hub tokens, as the header file curl reads."""
    return tuple(
        Secret(m.secret_path, m.token_env, f"models.{m.name}", "Authorization: Bearer {}\n".format)
        for m in models
        if m.secret_path and m.token_env
    )


def plan_secrets(plan: Plan) -> tuple[Secret, ...]:
    """All of a plan's."""
    return (*model_secrets(plan.models), *service_secrets(plan.services))


def unmet(
    secret: Secret, seen: Mapping[str, FileState], environment: Mapping[str, str] | None = None
) -> str:
    """Why a secret cannot be had, for the owner; empty where it can."""
    value = _value(secret, environment)
    if not value and secret.path not in seen:
        return (
            f"{secret.why} needs a secret, and `{secret.env}` is not set here\n"
            f"set it in the environment of this command once (export {secret.env}=…); the "
            f"host keeps it in {secret.path}"
        )
    if "\n" in value or (value and not value.isprintable()):
        return f"`{secret.env}` must be one line of printable characters"
    return ""


def _value(secret: Secret, environment: Mapping[str, str] | None) -> str:
    return (os.environ if environment is None else environment).get(secret.env, "").strip()


def secret_changes(
    secrets: Iterable[Secret],
    seen: Mapping[str, FileState],
    environment: Mapping[str, str] | None = None,
) -> Iterator[StringCommand | FunctionCommand]:
    """Write what differs; without the variable the host's file stays, without both: refuse."""
    for secret in secrets:
        problem = unmet(secret, seen, environment)
        if problem:
            yield refuse(problem)
            return
        value = _value(secret, environment)
        if not value:
            continue  # the host has it from an earlier run
        text = SecretStr(secret.text(value))
        if not _is_there(text, seen.get(secret.path)):
            yield _write(secret.path, text)


def _is_there(text: SecretStr, state: FileState | None) -> bool:
    return (
        state is not None
        and state.mode == "600"
        and state.owner == "root:root"
        and state.sha256 == digest(text.get_secret_value())
    )


def _write(path: str, text: SecretStr) -> StringCommand:
    new, final = shlex.quote(f"{path}.new"), shlex.quote(path)
    return shell_with_input(
        f"umask 077; mkdir -p -m 700 {FOLDER} && cat >{new} && chown root:root {new} && "
        f"mv -f {new} {final}",
        text.get_secret_value(),
    )
