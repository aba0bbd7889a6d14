"""A host that answers facts from a table and refuses to answer others; no SSH, no shell."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from pyinfra.api import FunctionCommand
from pyinfra.context import ctx_host, ctx_state


@dataclass
class FakeHost:
    """Facts by class: one record, or a list that is used up one by one."""

    facts: dict[type, Any]
    name: str = "rig"
    said: str = ""
    log: list[str] = field(default_factory=list)
    asked: list[tuple[type, dict[str, Any]]] = field(default_factory=list)

    def get_fact(self, cls: type, *args: Any, **kwargs: Any) -> Any:
        self.asked.append((cls, kwargs))
        value = self.facts[cls]  # an unknown fact is a loud KeyError
        return value.pop(0) if isinstance(value, list) else value

    def noop(self, text: str) -> None:
        self.said = text

    def log_styled(self, text: str, **_: Any) -> None:
        self.log.append(text)


@contextmanager
def on(host: FakeHost, *, executing: bool = True) -> Iterator[FakeHost]:
    with ctx_host.use(host), ctx_state.use(SimpleNamespace(is_executing=executing)):
        yield host


def run(op: Any, host: FakeHost, *, executing: bool = True, **kwargs: Any) -> list[str]:
    """The operation's commands as text; a refusal is `REFUSED: message`."""
    with on(host, executing=executing):
        return [text_of(command) for command in op._inner(**kwargs)]


def text_of(command: Any) -> str:
    if isinstance(command, FunctionCommand):
        name = command.function.__name__
        return f"REFUSED: {command.args[0]}" if name == "_refuse" else f"CALL {name}"
    stdin = command.connector_arguments.get("_stdin")
    return f"{command}\n{stdin}" if stdin else str(command)
