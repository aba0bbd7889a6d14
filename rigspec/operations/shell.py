"""Building blocks of our operations: one shell command per step, and a clear way to refuse."""

from __future__ import annotations

import shlex
from collections.abc import Iterable

from pyinfra import logger
from pyinfra import state as pyinfra_state
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State
from pyinfra.connectors.util import CommandOutput


def shell(text: str, *args: str, timeout_s: int | None = None) -> StringCommand:
    """A POSIX sh script as one command; `args` become `$1`, `$2` …, quoted."""
    body = f"set -- {shlex.join(args)}\n{text}" if args else text
    if timeout_s is None:
        return StringCommand(body)
    return StringCommand(body, _timeout=timeout_s)


def shell_with_input(text: str, stdin: str) -> StringCommand:
    """A script that reads `stdin`: for whatever must stand in no argument list and no log."""
    # pyinfra ends each line of stdin itself
    return StringCommand(text, _stdin=stdin.removesuffix("\n"))


def is_executing() -> bool:
    """Whether commands really run now; False while pyinfra only asks what would change."""
    return bool(pyinfra_state.is_executing)


def say(host: Host, lines: Iterable[str], *, colour: str = "yellow") -> None:
    """Lines for the owner, on stderr with the host's name before each."""
    for line in lines:
        host.log_styled(line, fg=colour, log_func=logger.info)


def _refuse(state: State, host: Host, message: str) -> bool:
    for line in message.splitlines():
        host.log_styled(line, fg="red", log_func=logger.error)
    return False


def refuse(message: str) -> FunctionCommand:
    """Stop this host with a message: the operation fails, no traceback, other hosts go on."""
    return FunctionCommand(_refuse, (message,), {})


def run_on(host: Host, command: StringCommand, timeout_s: int = 60) -> tuple[bool, CommandOutput]:
    """Run a command from inside a FunctionCommand, with the host's sudo (pyinfra does not)."""
    return host.run_shell_command(
        command,
        print_output=False,
        print_input=False,
        _sudo=bool(host.data.get("_sudo")),
        _timeout=timeout_s,
    )


UNREADABLE = (
    "the host's state could not be read, so nothing is changed\n"
    "look at the message above; `ssh` to the host and try the command by hand"
)
"""Said when a fact gave its default: the command failed or printed nothing."""
