"""pyinfra's SSH, tuned, strict, and clear about what to do when a rig cannot be reached.

Small packets are sent at once (paramiko leaves Nagle on: 42 ms more per command), a dead link is
noticed within a minute, host keys are always checked, and a sudo that would ask for a password is
refused before the first command.
"""

from __future__ import annotations

import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from paramiko import SSHException
from pyinfra.api import StringCommand
from pyinfra.api.arguments import ConnectorArguments
from pyinfra.api.exceptions import ConnectError, PyinfraError
from pyinfra.connectors.ssh import SSHConnector
from pyinfra.connectors.util import CommandOutput
from typing_extensions import Unpack, override

KEEPALIVE_S = 15
USER_TIMEOUT_MS = 60_000
"""How long sent data may stay unacknowledged before the link counts as dead (tcp(7))."""

COUNT_FILE = "RIGSPEC_COUNT_FILE"
"""Environment variable: a file that gets one JSON line per connection, for `benchmarks/`."""

SUDO_SAYS = "sudo says: "
SUDO_CHECK = f'said=$(LC_ALL=C sudo -n true 2>&1) || {{ echo "{SUDO_SAYS}"$said; exit 1; }}'
"""Never prints sudo's own sentence as a line: pyinfra would answer it with a password prompt."""

# while a rig reboots, paramiko logs a traceback per attempt; our own sentences say what matters
logging.getLogger("paramiko").setLevel(logging.CRITICAL)


class RigSSHConnector(SSHConnector):
    """`@rig/NAME`: SSH to a rig; the host keeps its plain name."""

    commands = 0
    """Commands run over this connection: each is two network round trips plus its work."""

    @staticmethod
    @override
    def make_names_data(name: str) -> Iterator[tuple[str, dict[str, Any], list[str]]]:
        yield name, {}, []

    @override
    def connect(self) -> None:
        try:
            super().connect()
        except ConnectError as error:
            raise ConnectError(self._advice(str(error))) from error
        except (PyinfraError, SSHException, OSError) as error:
            raise ConnectError(self._advice(f"private key ({error})")) from error
        self._tune()
        self._require_sudo()

    @override
    def disconnect(self) -> None:
        self._write_count()
        super().disconnect()

    @override
    def run_shell_command(
        self,
        command: StringCommand,
        print_output: bool = False,
        print_input: bool = False,
        **arguments: Unpack[ConnectorArguments],
    ) -> tuple[bool, CommandOutput]:
        self.commands += 1
        try:
            return super().run_shell_command(command, print_output, print_input, **arguments)
        except EOFError as error:  # the link went down while the command ran
            raise OSError(f"the SSH link to {self.host.name} was lost") from error

    def _tune(self) -> None:
        transport = self.client.get_transport() if self.client else None
        if transport is None:
            return
        transport.set_keepalive(KEEPALIVE_S)
        link = transport.sock
        if isinstance(link, socket.socket):  # not behind a jump host
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux only
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, USER_TIMEOUT_MS)

    def _require_sudo(self) -> None:
        """A password prompt in mid-run is no prompt at all: refuse it here."""
        if not self.host.data.get("_sudo"):
            return
        done, output = self.run_shell_command(StringCommand(SUDO_CHECK))
        if not done:
            self._close()
            said = output.output.strip().splitlines()
            raise ConnectError(no_sudo(self._user(), said[-1] if said else "no answer"))

    def _close(self) -> None:
        if self.client is not None:
            self.client.close()

    def _user(self) -> str:
        return str(self.data["ssh_user"] or "the SSH user")

    def _advice(self, said: str) -> str:
        return advice(
            said,
            address=str(self.data["ssh_hostname"] or self.host.name),
            port=int(self.data["ssh_port"] or 22),
            user=str(self.data["ssh_user"] or ""),
            key=self.data["ssh_key"],
            known_hosts=self.data["ssh_known_hosts_file"],
            has_spec=bool(self.host.data.get("spec")),
        )

    def _write_count(self) -> None:
        path = os.environ.get(COUNT_FILE)
        if path:
            line = json.dumps({"host": self.host.name, "commands": self.commands})
            with Path(path).open("a", encoding="utf-8") as file:
                file.write(line + "\n")


def no_sudo(user: str, said: str) -> str:
    """Why a run as this user cannot begin."""
    why = said.removeprefix(SUDO_SAYS)
    return (
        f"`{user}` may not run commands as root without a password ({SUDO_SAYS}{why})\n"
        f"    on the host, as root: echo '{user} ALL=(ALL) NOPASSWD: ALL' "
        f">/etc/sudoers.d/{user} && chmod 440 /etc/sudoers.d/{user}"
    )


def advice(
    said: str,
    *,
    address: str,
    port: int,
    user: str,
    key: str | None,
    known_hosts: str | None = None,
    has_spec: bool = True,
) -> str:
    """What went wrong while connecting, in one sentence, and what to do about it."""
    known = address if port == 22 else f"[{address}]:{port}"
    options = f"{f'-i {key} ' if key else ''}{f'-p {port} ' if port != 22 else ''}"
    options += f"-o UserKnownHostsFile={known_hosts} " if known_hosts else ""
    login = f"ssh {options}{f'{user}@' if user else ''}{address}"
    key_at = "host.ssh_key in the spec" if has_spec else "--key"
    low = said.lower()
    if "no host key for" in low:
        return (
            f"the SSH host key of {known} is not known on this machine\n"
            f"    log in once with `{login}`, compare the fingerprint with the one the rig's "
            "console shows (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), accept it, run again"
        )
    if "host key error" in low or "does not match" in low:
        forget = f"ssh-keygen -R '{known}'" + (f" -f {known_hosts}" if known_hosts else "")
        return (
            f"the SSH host key of {known} is not the one this machine knows\n"
            f"    only if its OS was reinstalled: `{forget}`, log in once with `{login}`, run again"
        )
    if "private key" in low:
        return f"the SSH key `{key}` cannot be used: {said}\n    look at {key_at}"
    if "authentication" in low or "no existing session" in low:
        return (
            f"{known} refuses the login of `{user or 'the SSH user'}`\n"
            f"    try `{login}`; {key_at} (or the SSH agent) must hold a key that "
            f"stands in ~{user}/.ssh/authorized_keys on the rig; one that shuts down refuses, too"
        )
    return _unreachable(said, known, login, has_spec=has_spec)


def _unreachable(said: str, known: str, login: str, *, has_spec: bool) -> str:
    spec = "host.address", "host.port", " in the spec"
    address_at, port_at, where = spec if has_spec else ("the address", "the port", "")
    low = said.lower()
    if "resolve hostname" in low or "name or service not known" in low:
        return f"the name {known} does not resolve\n    look at {address_at}{where}"
    if "refused" in low or "unable to connect to port" in low:
        return (
            f"nothing takes SSH connections at {known}: is it up, is sshd running there?\n"
            f"    look at its console, at {address_at} and {port_at}; try `{login}`"
        )
    if "timed out" in low or "timeout" in low or "no route" in low or "unreachable" in low:
        return (
            f"{known} does not answer ({said})\n"
            "    is it switched on and on the network? look at its console or BMC"
        )
    return f"{known} cannot be reached: {said}\n    try `{login}`"
