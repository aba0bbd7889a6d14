"""An SSH server on 127.0.0.1 that runs what it is asked: the real way to a host, no machine."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import paramiko


class _Door(paramiko.ServerInterface):
    """Lets one key in, and runs each command in a shell."""

    def __init__(self, key: paramiko.PKey) -> None:
        self.key = key

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.AUTH_SUCCESSFUL if key == self.key else paramiko.AUTH_FAILED

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        threading.Thread(target=_run, args=(channel, command), daemon=True).start()
        return True


def _run(channel: paramiko.Channel, command: bytes) -> None:
    done = subprocess.run(["sh", "-c", command.decode()], capture_output=True)
    channel.sendall(done.stdout)
    channel.sendall_stderr(done.stderr)
    channel.send_exit_status(done.returncode)
    channel.close()


@dataclass(frozen=True)
class Server:
    """Where it listens, and the files a client needs."""

    port: int
    key: Path
    known_hosts: Path


@contextmanager
def ssh_server(folder: Path) -> Iterator[Server]:
    """Serve until the block ends."""
    host_key, user_key = paramiko.RSAKey.generate(2048), paramiko.RSAKey.generate(2048)
    user_key.write_private_key_file(str(folder / "key"))
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    name = f"[127.0.0.1]:{port} {host_key.get_name()} {host_key.get_base64()}\n"
    (folder / "known").write_text(name)
    links: list[paramiko.Transport] = []

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:  # closed: the test has ended
                return
            link = paramiko.Transport(client)
            link.add_server_key(host_key)
            links.append(link)
            try:
                link.start_server(server=_Door(user_key))
            except (paramiko.SSHException, EOFError):
                link.close()  # the client did not like us, as it should

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield Server(port, folder / "key", folder / "known")
    finally:
        listener.close()
        for link in links:
            link.close()
