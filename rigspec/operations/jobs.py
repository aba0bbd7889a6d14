"""Long jobs on the host: they survive a lost SSH link, and the next run finds them again.

A job is a transient systemd unit; its output and exit status lie below /run/rigspec/jobs. The
deploy starts it if it does not run, polls, and says how far it is.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable

from paramiko import SSHException
from pyinfra.api import FunctionCommand, StringCommand
from pyinfra.api.host import Host
from pyinfra.api.state import State

from rigspec.frozen import dataclass
from rigspec.operations.shell import run_on, say, shell

FOLDER = "/run/rigspec/jobs"
POLL_S = 2.0
SAY_EVERY_S = 30.0

# "$@" runs with its output in a log; its status is written last, so a status file is a finished job
_WRAPPER = 'n=$1; shift; "$@" >$n.log 2>&1; s=$?; echo $s >$n.new; mv -f $n.new $n.exit; exit $s'

_START = f"""\
unit=$1 name={FOLDER}/$2
shift 2
if ! systemctl -q is-active "$unit"; then
  mkdir -p {FOLDER} && rm -f "$name.exit" "$name.log"
  systemctl reset-failed "$unit" 2>/dev/null || true
  printf '%s\\n' {shlex.quote(_WRAPPER)} >"$name.sh"
  systemd-run -q --collect --service-type=exec --unit="$unit" /bin/sh "$name.sh" "$name" "$@"
fi
"""


@dataclass(frozen=True)
class Job:
    """One long command; `title` is how it is spoken of, `hint` what to look at when it fails."""

    name: str
    title: str
    argv: tuple[str, ...]
    hint: str
    timeout_s: int = 7 * 24 * 3600

    @property
    def unit(self) -> str:
        """Name of its transient unit."""
        return f"rigspec-job-{self.name}.service"


def job_commands(job: Job) -> tuple[StringCommand | FunctionCommand, ...]:
    """Start the job, or find it running, and wait for its end."""
    return (
        shell(_START, job.unit, job.name, *job.argv),
        FunctionCommand(_wait, (job,), {}),
    )


def poll_command(job: Job) -> StringCommand:
    """One look: whether the unit runs, exit status if it has ended, the last words.

    The unit is asked first: its status file is written while it still runs, so "does not run, and
    no status" means that it vanished, also for a job that ends between the two questions.
    """
    return shell(
        'systemctl -q is-active "$2" && echo running; '
        f'n={FOLDER}/$1; [ -r "$n.exit" ] && echo "exit $(cat "$n.exit")"; '
        'tail -c 2000 "$n.log" 2>/dev/null | tr "\\r" "\\n" | tail -n 6 | sed "s/^/said /"; true',
        job.name,
        job.unit,
    )


def _wait(state: State, host: Host, job: Job) -> bool:
    begun = spoken = time.monotonic()
    say(host, [f"{job.title} (goes on on the rig if this run is interrupted)"])
    last = ""
    while time.monotonic() - begun < job.timeout_s:
        try:
            _, output = run_on(host, poll_command(job))
        except (TimeoutError, OSError, SSHException, EOFError):
            lost = f"the link to the rig was lost; {job.title} goes on there: run this again"
            say(host, [lost], colour="red")
            return False
        done = outcome(output.stdout_lines)
        words = _said(output.stdout_lines)
        if done is not None:
            return _finish(host, job, done, words, time.monotonic() - begun)
        if time.monotonic() - spoken > SAY_EVERY_S and words and words[-1] != last:
            spoken, last = time.monotonic(), words[-1]
            say(host, [f"    {last}"])
        time.sleep(POLL_S)
    say(host, [f"{job.title} has not ended after {job.timeout_s} s"], colour="red")
    return False


def outcome(lines: Iterable[str]) -> int | None:
    """Exit status of the job; None while it runs; -1 when it vanished (a reboot, a kill)."""
    lines = tuple(lines)
    status = next((line.split()[1] for line in lines if line.startswith("exit ")), None)
    if status is not None:
        return int(status) if status.isdigit() else -1
    return None if "running" in lines else -1


def _said(lines: Iterable[str]) -> list[str]:
    return [line.removeprefix("said ") for line in lines if line.startswith("said ")]


def _finish(host: Host, job: Job, status: int, words: list[str], seconds: float) -> bool:
    if status == 0:
        say(host, [f"{job.title}: done after {seconds:.0f} s"], colour="green")
        return True
    ended = "was killed" if status < 0 else f"failed with status {status}"
    say(host, [f"{job.title} {ended}:", *(f"    {word}" for word in words[-5:])], colour="red")
    say(host, [f"look at: {job.hint}; the next run goes on from here"], colour="red")
    return False
