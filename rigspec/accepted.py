"""The verbs about the accepted run: `accept`, `baseline`, `drift`.

Imports are inside the verbs, as in `rigspec.cli`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING

import click

from rigspec.asked import Whole, carried, checked, looked, planned, stop

if TYPE_CHECKING:
    from rigspec.plan.sections import Plan
    from rigspec.spec.rig import Rig
    from rigspec.verify.pace import Baseline, Measured
    from rigspec.verify.proof import Proof
    from rigspec.verify.verdict import Verdict

_OBSERVED = click.option(
    "--observed", type=click.File(encoding="utf-8"), help="A saved look instead of the host."
)
_SPEC = click.argument("file", type=click.Path(path_type=str))


def proof_path(rig: Rig, file: str) -> Path:
    """Where the proof lies: beside the spec, in the owner's repository."""
    return Path(file).with_name(f"{rig.name}.proof.json")


def read_proof(path: Path, rig: str) -> Proof | None:
    """The stored proof of a rig; None without one, WrongShape when it is damaged or another's."""
    from rigspec.regular import no_file
    from rigspec.verify.from_json import WrongShape
    from rigspec.verify.proof_file import proof_from_json

    instead = no_file(path)
    if instead:
        raise WrongShape(f"{path} {instead}", hint="accept the rig again")
    if not path.exists():
        return None
    try:
        return proof_from_json(path.read_text(encoding="utf-8"), rig)
    except (OSError, UnicodeDecodeError) as problem:
        raise WrongShape(f"{path} cannot be read: {problem}", hint="accept the rig again") from None
    except WrongShape as problem:
        raise WrongShape(f"{path}: {problem.message}", hint=problem.hint) from None


def baselines(rig: Rig, file: str) -> dict[str, Baseline]:
    """The accepted pace of each service; empty without a proof."""
    proof = read_proof(proof_path(rig, file), rig.name)
    return dict(proof.pace) if proof else {}


def pace_rows(rig: Rig, file: str) -> tuple[Verdict, ...]:
    """The pace of the running servers against the accepted one; measured now, which makes load."""
    from rigspec.verify.pace import measured_from_json, verify_pace
    from rigspec.verify.variables import PACE_OUT

    accepted = baselines(rig, file)  # a damaged proof is said before load is made
    measured = measured_from_json(carried(rig, file, "pace.py", PACE_OUT))
    latest = {name: starts[-1] for name, starts in measured.services.items() if starts}
    return tuple(verify_pace(latest, accepted))


@click.command()
@_SPEC
@_OBSERVED
def accept(file: str, observed: IO[str] | None) -> None:
    """Store a green run as the rig's proof: NAME.proof.json beside the spec, and on the host.

    A run with anything red is refused. With --observed only the file beside the spec is written.
    Ends with 0 accepted, 1 not as planned, 2 spec or usage, 3 could not measure.
    """
    from rigspec.errors import RigspecError
    from rigspec.verify.proof import NotAccepted

    rig = checked(file)
    try:
        look, path = observed.read() if observed else looked(rig, file), proof_path(rig, file)
        keep_proof(proof_of(planned(rig, file), look, path), path)
        if observed is None:
            _give(rig, file, path)
    except NotAccepted as refused:
        click.echo(f"{refused.message}\nhint: {refused.hint}", err=True)
        sys.exit(refused.exit_code)
    except RigspecError as problem:
        stop(problem)


def proof_of(plan: Plan, look: str, path: Path) -> Proof:
    """The proof of a green look; an older one at `path` hands its pace on while the plan stays."""
    from importlib.metadata import version

    from rigspec.errors import RigspecError
    from rigspec.plan.rig import digest
    from rigspec.report.judged import judge
    from rigspec.verify.observation_file import observation_from_json
    from rigspec.verify.proof import prove

    judged = judge(plan, observation_from_json(look))
    if judged.plan_changed:
        raise RigspecError(
            "this look was taken for another plan: it did not ask everything that is planned now",
            hint="deploy, then look again",
        )
    older = _older(path, plan.rig)
    kept = older.pace if older is not None and older.plan_digest == digest(plan) else {}
    if older is not None and older.pace and not kept:
        click.echo("the plan has changed: measure the pace again, `rigspec baseline`", err=True)
    return prove(
        plan,
        judged.seen,
        judged.verdicts,
        observed_at=judged.observed_at,
        version=version("rigspec"),
        pace=kept,
    )


def _older(path: Path, rig: str) -> Proof | None:
    """The proof that will be replaced; a damaged one is replaced without its pace."""
    from rigspec.verify.from_json import WrongShape

    try:
        return read_proof(path, rig)
    except WrongShape as problem:
        click.echo(f"{problem.message}; it is replaced", err=True)
        return None


def keep_proof(proof: Proof, path: Path) -> None:
    """Write it beside and rename: a proof is whole or the older one."""
    from rigspec.verify.proof_file import proof_to_json

    new = path.with_name(f"{path.name}.new")
    new.write_text(proof_to_json(proof), encoding="utf-8")
    new.replace(path)
    click.echo(f"{path}: {sum(proof.checks.values())} checks, none red")


def _give(rig: Rig, file: str, path: Path) -> None:
    from rigspec.verify.variables import PROOF_IN, PROOF_OUT

    carried(rig, file, "proof.py", PROOF_OUT, {PROOF_IN: str(path.resolve())})
    click.echo("the host has it as well: /etc/rigspec/proof.json")


@click.command()
@_SPEC
@click.option("--starts", type=Whole(2, 10), default=3, help="Starts to measure over.")
@click.option("--yes", is_flag=True, help="Restart the services without asking.")
@click.option("--measured", type=click.File(encoding="utf-8"), help="A measurement saved before.")
def baseline(file: str, starts: int, yes: bool, measured: IO[str] | None) -> None:
    """Measure the pace over several starts of each server and store it in the proof.

    Every server is restarted: whoever uses it is cut off. A proof must be there already.
    """
    from rigspec.errors import RigspecError
    from rigspec.verify.pace import measured_from_json
    from rigspec.verify.variables import PACE_OUT, PACE_STARTS

    rig = checked(file)
    try:
        plan, proof = planned(rig, file), _proof_for_pace(rig, file)
        if measured is None and not yes:
            names = ", ".join(s.name for s in plan.services if s.at_boot)
            click.confirm(f"restart {names} {starts} times now?", abort=True, err=True)
        more = {PACE_STARTS: str(starts)}
        text = measured.read() if measured else carried(rig, file, "pace.py", PACE_OUT, more)
        paced = _with_pace(plan, proof, measured_from_json(text))
        keep_proof(paced, proof_path(rig, file))
        if measured is None:
            _give(rig, file, proof_path(rig, file))
    except RigspecError as problem:
        stop(problem)


def _proof_for_pace(rig: Rig, file: str) -> Proof:
    from rigspec.errors import RigspecError

    proof = read_proof(proof_path(rig, file), rig.name)
    if proof is None:
        raise RigspecError(
            "no run of this rig was accepted yet", hint=f"`rigspec accept {file}` comes first"
        )
    return proof


def _with_pace(plan: Plan, proof: Proof, measured: Measured) -> Proof:
    from dataclasses import replace

    from rigspec.errors import RigspecError
    from rigspec.observed.record import Unknown
    from rigspec.plan.rig import digest
    from rigspec.verify.pace import baseline_of

    if measured.rig != plan.rig or {measured.plan_digest, proof.plan_digest} != {digest(plan)}:
        raise RigspecError(
            "the pace, the proof and the spec are not of one plan",
            hint="deploy, accept, then measure",
        )
    found = {}
    for name, runs in measured.services.items():
        made = baseline_of(runs)
        if isinstance(made, Unknown):
            raise RigspecError(
                f"{name} has no baseline: {made.reason}", hint="let nothing else use it, try again"
            )
        found[name] = made
        click.echo(
            f"{name}: {made.tokens_per_s:.1f} ± {made.tokens_per_s_spread:.1f} tok/s, "
            f"first token after {made.ttft_s:.2f} s; floor {made.floor:.1f} tok/s"
        )
    return replace(proof, pace={**proof.pace, **found})


@click.command()
@_SPEC
@_OBSERVED
@click.option("--json", "as_json", is_flag=True, help="The changes as data.")
def drift(file: str, observed: IO[str] | None, as_json: bool) -> None:
    """Say what has changed on the host since it was deployed and accepted, and why; reads only.

    Ends with 0 no drift, 1 drift, 2 spec or usage, 3 could not measure.
    """
    from rigspec.errors import RigspecError

    rig = checked(file)
    try:
        look = observed.read() if observed else looked(rig, file)
        code, said = told(planned(rig, file), look, proof_path(rig, file), as_json=as_json)
    except RigspecError as problem:
        stop(problem)
    click.echo(said)
    sys.exit(code)


def told(plan: Plan, look: str, path: Path, *, as_json: bool) -> tuple[int, str]:
    """Exit code and text of the drift between a look, a plan and the proof at `path`."""
    from rigspec.errors import RigspecError
    from rigspec.report import drift as report
    from rigspec.verify.drift import find_drift
    from rigspec.verify.observation_file import observation_from_json

    proof, saved = read_proof(path, plan.rig), observation_from_json(look)
    if saved.rig != plan.rig:
        raise RigspecError(
            f"this is a look at the rig `{saved.rig}`, the spec is that of `{plan.rig}`",
            hint="give the spec that was deployed there",
        )
    found = find_drift(plan, saved.observation, proof)
    since = f"the run accepted at {proof.accepted_at}" if proof else "the last deploy"
    said = report.as_json(found, plan.rig, since) if as_json else report.as_text(found, since)
    return found.exit_code, said


VERBS = {"accept": accept, "baseline": baseline, "drift": drift}
