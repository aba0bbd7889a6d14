"""Managed files are as planned, judged without writing any; secrets stand in their file only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rigspec.observed.files import FileState
from rigspec.observed.record import Unknown
from rigspec.observed.upkeep import SecretFile
from rigspec.plan.relied import secret_paths
from rigspec.plan.rig import PLAN_FILE, all_files, to_json
from rigspec.plan.sections import Plan, RenderedFile
from rigspec.verify.observation import Observation
from rigspec.verify.verdict import Check, Verdict, listed

_AGAIN = "run the deploy: it writes planned files again"


def verify_files(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """One row per file: a second deploy would change exactly those that fail."""
    yield given_plan(plan, seen)
    for file in all_files(plan):
        yield managed(file, seen)
    yield from verify_secrets(plan, seen)


def given_plan(plan: Plan, seen: Observation) -> Verdict:
    """The host was given this plan, not an older one."""
    check = Check("files.plan", "the host's copy of the plan", PLAN_FILE, "this plan")
    state = state_of(PLAN_FILE, seen)
    if isinstance(state, Unknown):
        return check.unknown(state)
    if not state.exists:
        return check.failed("absent", "nothing was deployed here yet", "run the deploy")
    if state.sha256 == sha256(to_json(plan)):
        return check.passed("the same")
    return check.failed(
        "another plan",
        "the spec, the catalog or rigspec itself has changed since the last deploy",
        "run the deploy; `rigspec plan` shows what it will give",
    )


def managed(file: RenderedFile, seen: Observation) -> Verdict:
    """One file: content, mode and owner."""
    check = Check(
        f"files.managed.{file.dest}",
        file.dest,
        "sha256sum, stat",
        f"as planned from {file.origin}, mode {file.mode}",
    )
    state = state_of(file.dest, seen)
    if isinstance(state, Unknown):
        return check.unknown(state)
    wrong = difference(file, state)
    if wrong is None:
        return check.passed("as planned")
    return check.failed(
        wrong, "it was edited, removed or never written", f"`rigspec drift` shows how; {_AGAIN}"
    )


def difference(file: RenderedFile, state: FileState) -> str | None:
    """In what a file differs from its plan; None when it does not."""
    if not state.exists:
        return "absent"
    if state.sha256 != sha256(file.content):
        return "other content"
    mode = state.mode if isinstance(state.mode, int) else 0
    if mode != int(file.mode, 8):
        return f"mode {mode:o}"
    if (state.owner, state.group) != ("root", "root"):
        return f"owner {state.owner}:{state.group}"
    return None


def state_of(path: str, seen: Observation) -> FileState | Unknown:
    """What was read of a path; unknown unless content, mode and owner are known."""
    files = seen.upkeep.files
    if isinstance(files, Unknown):
        return files
    state = files.get(path)
    if state is None:
        return Unknown("the plan has changed since this look: it was not asked for")
    parts = (state.exists, state.mode, state.owner, state.group, state.sha256)
    return next((part for part in parts if isinstance(part, Unknown)), state)


def sha256(text: str) -> str:
    """The digest of a file with this text, 64 hex digits."""
    return hashlib.sha256(text.encode()).hexdigest()


def verify_secrets(plan: Plan, seen: Observation) -> Iterator[Verdict]:
    """Modes of secret files, and places where a value must not stand."""
    secrets = seen.upkeep.secrets
    found = () if isinstance(secrets, Unknown) else secrets
    for secret in found:
        yield root_only(secret)
        yield nowhere_else(secret)
    why = secrets if isinstance(secrets, Unknown) else Unknown("it was not asked for")
    for path in secret_paths(plan):
        if path not in {secret.path for secret in found}:
            yield _mode_check(path).unknown(why)
            yield _leak_check(path).unknown(why)


def _mode_check(path: str) -> Check:
    return Check(f"secrets.mode.{_name(path)}", path, "stat", "mode 600, root:root")


def _leak_check(path: str) -> Check:
    return Check(
        f"secrets.leaked.{_name(path)}",
        f"{_name(path)}: nowhere else",
        "searched on the host: process arguments, our files, containers, this boot's logs",
        "in its own file only",
    )


def root_only(secret: SecretFile) -> Verdict:
    """The file is root's, and nobody else reads it."""
    check = _mode_check(secret.path)
    if secret.mode is None:
        return check.failed("absent", "no secret was put there", "run the deploy with it exported")
    found = f"mode {secret.mode}, {secret.owner}"
    if (secret.mode, secret.owner) == ("600", "root:root"):
        return check.passed(found)
    return check.failed(
        found, "others may read it", f"chmod 600 {secret.path}; chown root:root {secret.path}"
    )


def nowhere_else(secret: SecretFile) -> Verdict:
    """The value stands in no argument list, no file of ours, no log, no container's settings."""
    check = _leak_check(secret.path)
    if secret.mode is None:
        return check.not_applicable("there is no secret yet")
    if secret.places:
        return check.failed(
            listed(secret.places),
            "whoever is on the machine, or reads its logs, has it",
            "give out a new key, then take it out of there",
        )
    if not secret.searched:
        return check.warned(
            "too short to be searched for",
            "it is also easy to guess",
            "take at least 16 characters",
        )
    return check.passed("nowhere else")


def _name(path: str) -> str:
    return path.rpartition("/")[2]
