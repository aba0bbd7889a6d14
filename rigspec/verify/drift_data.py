"""Drift of what we did not write but rely on: weights, files of the owner's, keys and tokens."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.observed.record import known
from rigspec.plan.sections import Plan
from rigspec.verify.change import Change
from rigspec.verify.files import root_only
from rigspec.verify.mounts import mounted
from rigspec.verify.observation import Observation
from rigspec.verify.storage import weights
from rigspec.verify.verdict import Outcome, Verdict


def data(plan: Plan, seen: Observation) -> Iterator[Change]:
    """Judged as verify judges it: there is nothing in a proof to hold it against."""
    for model in plan.models:
        said = f"the weights of {model.name} are not what was fetched or put there"
        yield from _changed("weights", model.name, said, weights(model, seen), model.directory)
    for service in plan.services:
        if service.mounts:
            said = f"what {service.name} mounts is gone: it would not start well again"
            yield from _changed("mounted-file", service.name, said, mounted(service, seen))
    for secret in known(seen.upkeep.secrets) or ():
        said = f"the secret {secret.path} was removed, or is no longer root's alone"
        yield from _changed("secret-file", secret.path, said, root_only(secret))


def _changed(kind: str, subject: str, said: str, row: Verdict, *where: str) -> Iterator[Change]:
    if row.outcome is Outcome.FAIL:
        yield Change(kind, subject, said, (*where, row.found), row.next_action)
