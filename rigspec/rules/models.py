"""`models`: every set of weights has one source, pinned, and a place."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatch

from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import ticked
from rigspec.rules.to_save import to_save
from rigspec.spec.base import is_commit
from rigspec.spec.misnamed import nearest
from rigspec.spec.rig import Rig


def one_source(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Either `hub` or `path`."""
    for name, model in rig.models.items():
        if (model.hub is None) == (model.path is None):
            both = model.hub is not None
            yield error(
                "models.one-source",
                ("models", name, "path") if both else ("models", name),
                f"model `{name}` has {'both' if both else 'neither'} `hub` "
                f"{'and' if both else 'nor'} `path`",
                hint="`hub` fetches weights into `storage`; `path` names files that are on the "
                "host already",
            )


def revision_missing(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A hub repository is pinned."""
    for name, model in rig.models.items():
        if model.hub is not None and model.revision is None:
            yield error(
                "models.revision-missing",
                ("models", name, "hub"),
                f"`{model.hub}` has no `revision`",
                why="repositories are re-sharded and re-quantized in place: the next fetch may "
                "bring other weights",
                hint=f"the commit is on {model.endpoint}/{model.hub}/commits/main",
            )


def revision_moves(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A branch or tag as revision needs consent."""
    for name, model in rig.models.items():
        if model.hub is None or model.revision is None or is_commit(model.revision):
            continue
        path = ("models", name, "revision")
        said = f"`{model.revision}` is a {_kind(model.revision)} and can move"
        why = "the same spec may fetch other weights tomorrow"
        if model.accept_moving_revision:
            yield warning("models.revision-moves", path, said + ", as you accept", why=why)
        else:
            hint = "write the 40-digit commit, or consent with `accept_moving_revision: true`"
            yield error("models.revision-moves", path, said, why=why, hint=hint)


def _kind(revision: str) -> str:
    if len(revision) >= 7 and not revision.strip("0123456789abcdef"):
        return "branch, a tag or the beginning of a commit"
    return "branch or tag"


def consent_needless(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A consent to something the spec does not do."""
    for name, model in rig.models.items():
        if model.accept_moving_revision and is_commit(model.revision or ""):
            yield note(
                "models.consent-needless",
                ("models", name, "accept_moving_revision"),
                "the revision is a commit and cannot move",
                hint="delete the line",
            )


def storage_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Fetched weights have a storage, and it exists."""
    for name, model in rig.models.items():
        known = ticked(tuple(rig.storage))
        if model.storage is None:
            if model.hub is not None:
                yield error(
                    "models.storage-known",
                    ("models", name, "hub"),
                    f"no `storage` says where the weights of `{name}` go",
                    hint=f"add `storage:` with one of `storage`: {known}"
                    if known
                    else "declare a disk under `storage`, then name it here: `storage: NAME`",
                )
        elif model.storage not in rig.storage:
            meant = nearest(model.storage, tuple(rig.storage))
            yield error(
                "models.storage-known",
                ("models", name, "storage"),
                f"there is no storage `{model.storage}`; `storage` has {known or 'none'}",
                hint=f"did you mean `{meant}`?" if meant else "",
            )


def ignored_with_path(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Keys that only a hub repository uses."""
    for name, model in rig.models.items():
        if model.path is None or model.hub is not None:
            continue
        for key in ("revision", "storage", "include", "exclude", "token_env"):
            if getattr(model, key):
                yield warning(
                    "models.ignored-with-path",
                    ("models", name, key),
                    f"`{key}` does nothing for weights that are on the host already",
                    hint="delete it, or give `hub` instead of `path`",
                )


def file_left_out(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The file to serve is among the files that are fetched."""
    for name, model in rig.models.items():
        if model.hub is None or model.file is None:
            continue
        file = model.file
        wanted = not model.include or any(fnmatch(file, p) for p in model.include)
        if not wanted or any(fnmatch(file, p) for p in model.exclude):
            yield error(
                "models.file-left-out",
                ("models", name, "file"),
                f"`{file}` is not fetched: `include` and `exclude` leave it out",
                hint=f"add `{file}` to `include`, or delete both patterns",
            )


def token_in_clear(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A hub token does not travel without encryption."""
    for name, model in rig.models.items():
        if model.token_env is not None and model.endpoint.startswith("http://"):
            yield warning(
                "models.token-in-clear",
                ("models", name, "endpoint"),
                "the hub token would be sent without encryption",
                why="everyone on the way can read it",
                hint="use `https://`, or delete `token_env` for a mirror that needs none",
            )


def facts_usable(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What is saved of a model can be read, and can be true."""
    for name, why in facts.unusable.items():
        commands = ", or ".join(to_save(rig.models[name], facts))
        yield error(
            "models.facts-usable",
            _origin(rig, name),
            f"what is saved of `{name}` cannot be used: {why}",
            why="whether it fits and how fast it is stays unknown; the file is rigspec's own "
            "record, the weights may be fine",
            hint=f"{commands} reads its config and sizes again",
        )


def facts_understood(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every part of the architecture and of the quantization is known."""
    for name, model in facts.models.items():
        from rigspec.sizing.stored import size_doubt  # only where something is saved

        doubts = [*model.doubts, *filter(None, (size_doubt(model),))]
        if doubts:
            yield warning(
                "models.facts-understood",
                _origin(rig, name),
                f"not understood of `{name}`: {'; '.join(doubts)}",
                why="memory and speed are bounds then, not estimates: the first start decides",
            )


def facts_of_revision(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What is saved of a model is of the revision that is fetched."""
    for name, known in facts.models.items():
        model = rig.models[name]
        if model.hub is None or not known.is_of_another(model.revision or ""):
            continue
        yield warning(
            "models.facts-of-revision",
            ("models", name, "revision"),
            f"what is saved of `{model.hub}` is of revision {known.revision}, the spec fetches "
            f"{model.revision}",
            why="memory and speed are estimated for other weights than those that are served",
            hint=f"{to_save(model, facts)[0]} saves this one",
        )


def _origin(rig: Rig, name: str) -> tuple[str, str, str]:
    """The line that says which weights these are."""
    return "models", name, "path" if rig.models[name].hub is None else "hub"


def unused(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every model is served, or drafts for one that is."""
    used = {s.model for s in rig.services.values()}
    used |= {
        s.speculative.model for s in rig.services.values() if s.speculative and s.speculative.model
    }
    if not used <= rig.models.keys():
        return  # a mistyped name: `services.model-known` says it
    for name, model in rig.models.items():
        if name not in used:
            yield note(
                "models.unused",
                ("models", name),
                f"no service uses model `{name}`",
                why="it is fetched and checked all the same" if model.hub else "",
                hint="name it in a service, or delete it",
            )
