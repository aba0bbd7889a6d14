"""One host, spec or not, read through pyinfra: what `discover HOST` and `doctor HOST` run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from rigspec.discover.probe import OUT_VARIABLE
from rigspec.errors import HostError, RigspecError, SpecFileError
from rigspec.frozen import dataclass
from rigspec.resources import folder
from rigspec.spec.host import Host

_LOGIN = re.compile(
    r"(?:(?P<user>[A-Za-z_][\w.-]{0,31})@)?"
    r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,252})"
    r"|(?P<bare>[0-9A-Fa-f]*:[0-9A-Fa-f.]*:[0-9A-Fa-f:.]*))(?::(?P<port>\d{1,5}))?"
)
"""`rig`, `root@192.0.2.11:2222`, `root@[2001:db8::1]:2222`, `2001:db8::1`; never an option."""
_LIMIT_S = 600
"""The probe's own limits add up to less, whatever hangs on the host."""


@dataclass(frozen=True)
class Login:
    """How to reach a host; None is what SSH does by itself (~/.ssh/config, the agent)."""

    address: str
    user: str | None = None
    port: int | None = None
    key: str | None = None
    known_hosts: str | None = None
    sudo: bool = False


def way_of(login: Login) -> dict[str, str | int | bool]:
    """The login as fields of `host`; defaults are left out."""
    said = {
        "address": login.address,
        "port": login.port if login.port != 22 else None,
        "user": login.user,
        "ssh_key": login.key,
        "known_hosts": login.known_hosts,
        "sudo": login.sudo,
    }
    return {name: value for name, value in said.items() if value}


def parse_login(
    text: str,
    *,
    user: str | None = None,
    port: int | None = None,
    key: str | None = None,
    known_hosts: str | None = None,
    sudo: bool = False,
) -> Login:
    """`[USER@]ADDRESS[:PORT]`; what is given apart wins over the text."""
    match = _LOGIN.fullmatch(text)
    found = int(match["port"]) if match and match["port"] else None
    if match is None or (found is not None and not 1 <= found <= 65535):
        raise RigspecError(
            f"`{text}` is no host to log in to",
            hint="write [USER@]ADDRESS[:PORT], for example root@192.0.2.11 or "
            "root@[2001:db8::1]:2222; or a spec file that has host.address",
        )
    address = match["v6"] or match["bare"] or match["name"]
    return Login(address, user or match["user"], port or found, key, known_hosts, sudo)


def login_of(host: Host, file: str, **given: Any) -> Login:
    """The way to the host that a spec names; what is given on the command line wins."""
    if not host.address:
        raise SpecFileError(
            f"{file} has no address: there is no host to ask",
            hint="set `host.address`, or name the host: root@ADDRESS",
        )
    own = Login(host.address, host.user, host.port, host.ssh_key, host.known_hosts, host.sudo)
    return replace(own, **{name: value for name, value in given.items() if value})


def command(login: Login) -> tuple[str, ...]:
    """The plain `pyinfra …` that reads this host."""
    data = ["--data", "ssh_strict_host_key_checking=yes"]  # the default would trust any new key
    if login.known_hosts:
        data += ["--data", f"ssh_known_hosts_file={Path(login.known_hosts).expanduser()}"]
    return (
        "pyinfra",
        "-y",
        f"@rig/{login.address}",
        str(folder("deploys") / "probe.py"),
        *(("--user", login.user) if login.user else ()),
        *(("--port", str(login.port)) if login.port else ()),
        *(("--key", str(Path(login.key).expanduser())) if login.key else ()),
        *(("--data", "_sudo=true") if login.sudo else ()),
        *data,
    )


def read_host(login: Login) -> str:
    """What the probe printed there; HostError in one sentence when nothing came back."""
    words = command(login)
    print(f"asking the host: {shlex.join(words)}", file=sys.stderr)  # noqa: T201
    with tempfile.TemporaryDirectory() as temporary:
        out = Path(temporary) / "probe.txt"
        try:
            ended = subprocess.run(
                (sys.executable, "-m", *words),
                env={**os.environ, OUT_VARIABLE: str(out), "NO_COLOR": "1"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=_LIMIT_S,
            )
        except subprocess.TimeoutExpired as problem:
            raise HostError(
                f"{login.address} did not end the probe within {_LIMIT_S} s",
                hint="log in and look for hanging commands: nvidia-smi, docker, lspci",
            ) from problem
        text = out.read_text(encoding="utf-8") if out.is_file() else ""
    if not text:
        raise cause(login.address, ended.stdout + ended.stderr, shlex.join(words))
    return text


_PROGRESS = ("Connected", "Ready", "Success", "No changes", "Skipped", "Started", "noop")
"""What pyinfra says of a host while all is well: no cause of anything."""
_UNDER_WAY = ("(goes on on the rig if this run is interrupted)", ": done after ")
"""Of our own words those of a job that has begun, or ended well."""


def _is_progress(ours: str) -> bool:
    return ours.startswith(_PROGRESS) or any(words in ours for words in _UNDER_WAY)


def cause(host: str, said: str, by_hand: str) -> HostError:
    """Why nothing came back: our own words where there are some, else the last thing said.

    `host` is pyinfra's name of it; `by_hand` the command to look closer.
    """
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    head = f"[{host}] "
    for n, line in enumerate(lines):
        after = lines[n + 1 :]
        if line.startswith("error: "):  # the inventory refused: no host was reached
            hint = after[0] if after and after[0].startswith("hint: ") else ""
            return HostError(line.removeprefix("error: "), hint=hint.removeprefix("hint: "))
        ours = line.removeprefix(head)
        if line.startswith(head) and not _is_progress(ours):
            rest = " ".join(more for more in after if not more.startswith(("-->", "[")))
            return HostError(ours, hint=rest)
    told = [line for line in lines if not line.startswith("-->")]
    return HostError(
        f"{host} could not be read: {told[-1] if told else 'pyinfra said nothing'}",
        hint=f"run it by hand: {by_hand}",
    )
