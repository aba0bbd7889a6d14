"""`rigspec lab`: a spec on a virtual rig. Progress goes to stderr, answers to stdout."""

from __future__ import annotations

import functools
import json
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import IO, ParamSpec

import click

from rigspec import accepted
from rigspec.captured import tell_causes
from rigspec.discover.capture import capture_text
from rigspec.discover.seen import read_seen
from rigspec.errors import LabError, RigspecError
from rigspec.lab.deploying import Unread, looked, pyinfra, running
from rigspec.lab.hosttools import say
from rigspec.lab.machine import Machine
from rigspec.lab.rehearse import changes
from rigspec.lab.session import open_rehearsal
from rigspec.lab.spec_rig import load_rig
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import ServicePlan
from rigspec.proved import report_options, reported
from rigspec.reach import login_of, read_host
from rigspec.verify.observation_file import observation_from_json
from rigspec.verify.variables import PROOF_IN

P = ParamSpec("P")

PROOF = "proof.json"
"""The accepted run of a virtual rig, in its own folder: it dies with its disks."""
SPEC = click.argument("spec", type=click.Path(exists=True, dir_okay=False, path_type=Path))


def plainly(verb: Callable[P, int]) -> Callable[P, None]:
    """Turn a verb's number into the exit code, and broken surroundings into two plain lines."""
    return _plainly(verb, unread=1)


def measuring(verb: Callable[P, int]) -> Callable[P, None]:
    """The same for verbs that judge: who has nothing to judge could not measure, and says 3."""
    return _plainly(verb, unread=3)


def _plainly(verb: Callable[P, int], *, unread: int) -> Callable[P, None]:

    @functools.wraps(verb)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = verb(*args, **kwargs)
        except RigspecError as error:
            click.echo(f"error: {error.message}", err=True)
            if error.hint:
                click.echo(f"hint: {error.hint}", err=True)
            code = unread if isinstance(error, Unread) else 1
        sys.exit(code)

    return wrapper


@click.group()
def lab() -> None:
    """Rehearse a spec on a virtual rig: real kernel, GRUB, systemd, apt, Docker; simulated GPUs."""


@lab.command()
@SPEC
@click.option("--uefi", is_flag=True, help="Install it for UEFI (a spec with Secure Boot is).")
@plainly
def up(spec: Path, uefi: bool) -> int:
    """Start the virtual rig (a freshly installed OS the first time) and wait for it."""
    rehearsal = open_rehearsal(spec, firmware="uefi" if uefi else None)
    rig = rehearsal.machine
    if uefi and not rehearsal.fits_its_disk():
        raise LabError(
            f"`{rehearsal.name}` was installed for BIOS", hint=f"rigspec lab down --delete {spec}"
        )
    if rig.machine.is_running:
        rig.wait()
    else:
        rig.up()
    rehearsal.remember()
    for change in changes(rehearsal.rig()):
        say(change)
    click.echo(" ".join(shlex.quote(word) for word in rig.machine.ssh_argv()))
    return 0


@lab.command()
@SPEC
@plainly
def apply(spec: Path) -> int:
    """Apply the spec to the running virtual rig with pyinfra."""
    return pyinfra(spec, "rig.py")


@lab.command()
@SPEC
@report_options
@measuring
def verify(spec: Path, **to: IO[str] | None) -> int:
    """Verify the running virtual rig with pyinfra; reports are those of `rigspec verify`."""
    files = {name: file for name, file in to.items() if file is not None}
    if not files:
        return pyinfra(spec, "verify.py")
    saved = observation_from_json(looked(spec))
    return reported(open_rehearsal(spec).rehearsed(), str(spec), saved, files).exit_code


@lab.command()
@SPEC
@measuring
def accept(spec: Path) -> int:
    """Store a green verify of the running virtual rig as its proof, beside its disks."""
    from rigspec.verify.proof import NotAccepted

    plan = plan_rig(running(spec).rehearsed())
    path = Machine(plan.rig).folder / PROOF
    try:
        accepted.keep_proof(accepted.proof_of(plan, looked(spec), path), path)
    except NotAccepted as refused:
        click.echo(f"{refused.message}\nhint: {refused.hint}", err=True)
        return refused.exit_code
    return pyinfra(spec, "proof.py", {PROOF_IN: str(path)})


@lab.command()
@SPEC
@click.option("--json", "as_json", is_flag=True, help="The changes as data.")
@measuring
def drift(spec: Path, as_json: bool) -> int:
    """Say what has changed on the running virtual rig since it was deployed and accepted."""
    plan = plan_rig(running(spec).rehearsed())
    path = Machine(plan.rig).folder / PROOF
    code, said = accepted.told(plan, looked(spec, talk=False), path, as_json=as_json)
    click.echo(said)
    return code


@lab.command()
@SPEC
@click.option("--json", "as_json", is_flag=True, help="Causes as a JSON list.")
@measuring
def doctor(spec: Path, as_json: bool) -> int:
    """Name likely causes of trouble on the running virtual rig."""
    rehearsal = running(spec)
    text = read_host(login_of(rehearsal.rehearsed().host, str(spec)))
    capture = capture_text(rehearsal.name, text)
    return tell_causes(capture, read_seen(capture), as_json=as_json)


@lab.command(context_settings={"ignore_unknown_options": True})
@SPEC
@click.argument("command", nargs=-1)
@plainly
def ssh(spec: Path, command: tuple[str, ...]) -> int:
    """Open a shell on the virtual rig, or run a command there."""
    argv = (*running(spec).machine.machine.ssh_argv(), *command)
    return subprocess.run(argv).returncode


@lab.command()
@SPEC
@plainly
def reinstall(spec: Path) -> int:
    """Install the OS anew; the weights disk stays."""
    rehearsal = open_rehearsal(spec)
    rehearsal.machine.reinstall()
    rehearsal.remember()
    return 0


@lab.command()
@SPEC
@click.option("--delete", is_flag=True, help="Delete its disks, too.")
@plainly
def down(spec: Path, delete: bool) -> int:
    """Power the virtual rig off."""
    machine = Machine(load_rig(spec).name)
    if not machine.stop():
        say(f"`{machine.name}` did not power off: its power was cut")
    if delete:
        machine.remove()
    return 0


@lab.command()
@SPEC
@plainly
def status(spec: Path) -> int:
    """Say whether the virtual rig runs, and its loopback ports, as JSON; 1 if it does not."""
    machine = Machine(load_rig(spec).name)
    known = machine.is_running
    state = {"name": machine.name, "running": known, "ports": machine.state if known else {}}
    click.echo(json.dumps({**state, "folder": str(machine.folder)}))
    return 0 if known else 1


@lab.command()
@SPEC
@click.argument("question", default="Are you ready?")
@plainly
def ask(spec: Path, question: str) -> int:
    """Ask the first service that starts at boot; the answer is real, the model is tiny."""
    rehearsal = running(spec)
    at_boot = (s for s in plan_rig(rehearsal.rehearsed()).services if s.at_boot)
    service = next(at_boot, None)
    if service is None:
        click.echo("error: no service of the spec starts at boot", err=True)
        return 1
    code, said = rehearsal.machine.ssh(question_command(service, question))
    if code:
        click.echo(f"error: {service.unit} does not answer: {said.strip()}", err=True)
        click.echo(f"hint: rigspec lab ssh {spec} journalctl -u {service.unit} -n 30", err=True)
        return 1
    answer = json.loads(said)["choices"][0]["message"]["content"]
    click.echo(f"{service.served_names[0]} (simulated: a tiny model on CPU): {answer.strip()}")
    return 0


def question_command(service: ServicePlan, question: str) -> str:
    """The shell command that asks a service on its own machine; a key never becomes an argument."""
    body = json.dumps(
        {
            "model": service.served_names[0],
            "messages": [{"role": "user", "content": question}],
            "max_tokens": 32,
        }
    )
    url = f"http://127.0.0.1:{service.listen_port}/v1/chat/completions"
    curl = (
        *("curl", "--silent", "--show-error", "--fail", "--max-time", "120", "--header", "@-"),
        *("--header", "Content-Type: application/json", "--data", body, url),
    )
    header = "true"
    if service.secret_path and service.api_key_variable:
        header = (
            f"(. {service.secret_path}; "
            f'printf "Authorization: Bearer %s\\n" "${service.api_key_variable}")'
        )
    return f"{header} | {shlex.join(curl)}"
