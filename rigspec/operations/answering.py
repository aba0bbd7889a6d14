"""Waiting for a model server: until it answers, or until it is clear that it will not, and why."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable

from paramiko import SSHException
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.operations.shell import run_on, say, shell
from rigspec.verify.advice import run_stage

POLL_S = 2.0
SAY_EVERY_S = 60.0

_LOOK = """\
systemctl show -p ActiveState,SubState,NRestarts,Result,ExecMainStatus -- "$1"
echo "HttpStatus=$(curl -s -o /dev/null -m 10 -w '%{http_code}' "$2")"
"""
_LAST_WORDS = """\
systemctl show -p ActiveState,SubState,NRestarts,Result,ExecMainStatus -- "$1" | tr '\\n' ' '; echo
journalctl -q --no-pager -o cat -n 60 -u "$1" | tail -n 60
"""

CAUSES = (
    (
        r"CUDA out of memory|OutOfMemoryError|larger than the available KV cache|"
        r"No available memory for the cache blocks|less than desired GPU memory",
        "the model with its context does not fit the cards: lower `context_length`, "
        "`max_sequences` or `gpu_memory_fraction`, or see what else uses them (nvidia-smi)",
    ),
    (
        r"address already in use|Errno 98",
        "its port is taken: ss -ltnp shows by whom; change `listen.port`",
    ),
    (
        r"[Cc]annot assign requested address|Errno 99",
        "this host has no such address: `ip -br addr` lists its own; change `listen.address`",
    ),
    (
        r"couldn't bind",
        "its port is taken, or this host has no such address: ss -ltnp, `ip -br addr`; change "
        "`listen.port` or `listen.address`",
    ),
    (
        r"unresolvable CDI devices|could not select device driver|failed to inject CDI",
        "the container engine cannot hand out the cards: nvidia-ctk cdi list; "
        "systemctl status rigspec-ready",
    ),
    (
        r"unrecognized arguments|error: argument|invalid choice|unknown option|no such option",
        "the engine does not know a flag: compare `extra_args` with the engine's version",
    ),
    (
        r"No space left on device",
        "a disk is full: df -h; docker system df",
    ),
    (
        r"NCCL.*(unhandled|error)|ncclSystemError|ncclUnhandledCudaError|peer access",
        "the cards cannot talk to each other: run the verify deploy; NCCL_DEBUG=INFO in "
        "`environment` says more",
    ),
    (
        r"Failed to initialize NVML|Driver/library version mismatch|no CUDA-capable device",
        "the driver does not answer in the container: nvidia-smi on the host; a reboot may be owed",
    ),
    (
        r"weights .* are missing|No such file or directory: '/models|"
        r"does not appear to have a file",
        f"its weights are not there or not complete: findmnt; {run_stage('storage', 'model')}",
    ),
    (
        r"forward compatibility was attempted|CUDA driver version is insufficient|unsupported PTX",
        "the image wants a newer driver than this one: `driver.branch` or another image",
    ),
    (
        r"No such image|pull access denied|manifest unknown",
        f"its image is not on the host: {run_stage('service')}",
    ),
)
"""What engines, Docker and our own scripts print, and what it means for the owner."""


def likely_cause(lines: Iterable[str]) -> str | None:
    """The first known cause in the last words of a service, None if there is none."""
    text = "\n".join(lines)
    return next((advice for pattern, advice in CAUSES if re.search(pattern, text, re.I)), None)


def wait_until_answers(state: State, host: Host, unit: str, url: str, timeout_s: float) -> bool:
    """Poll until the server answers; False with its last words when it will not."""
    begun = spoken = time.monotonic()
    restarts: int | None = None
    while time.monotonic() - begun < timeout_s:
        seen = _look(host, unit, url)
        if seen is None:
            say(host, [f"the link was lost while {unit} loads; run again"], colour="red")
            return False
        if seen.get("HttpStatus") in {"200", "401", "403"}:
            say(host, [f"{unit} answers after {time.monotonic() - begun:.0f} s"], colour="green")
            return True
        count = int(seen.get("NRestarts") or 0)
        restarts = count if restarts is None else restarts
        if seen.get("ActiveState") in {"failed", "inactive"} or count > restarts:
            return _give_up(host, unit, f"{unit} ended while it was starting")
        if time.monotonic() - spoken > SAY_EVERY_S:
            spoken = time.monotonic()
            say(host, [f"    {unit} is loading, {spoken - begun:.0f} s"])
        time.sleep(POLL_S)
    return _give_up(host, unit, f"{unit} does not answer at {url} after {timeout_s:.0f} s")


def _look(host: Host, unit: str, url: str) -> dict[str, str] | None:
    try:
        _, output = run_on(host, shell(_LOOK, unit, url))
    except (TimeoutError, OSError, SSHException, EOFError):
        return None
    return dict(line.split("=", 1) for line in output.stdout_lines if "=" in line)


def _give_up(host: Host, unit: str, sentence: str) -> bool:
    try:
        _, output = run_on(host, shell(_LAST_WORDS, unit))
    except (TimeoutError, OSError, SSHException, EOFError):
        say(host, [sentence], colour="red")
        return False
    words = output.stdout_lines
    cause = likely_cause(words)
    lines = [sentence, *(f"    {line}" for line in words[:1] + words[1:][-12:])]
    if cause:
        lines.append(f"likely cause: {cause}")
    lines.append(f"look at: journalctl -u {unit} -b; the next run goes on from here")
    say(host, lines, colour="red")
    return False
