"""What `rigspec fit` is asked, in words of the command line: facts, cards and settings.

Raises RigspecError with a did-you-mean for a card, a model or a word that is not known.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from rigspec.catalog.data import save_folder
from rigspec.catalog.engine_flags import check_argv
from rigspec.catalog.engine_support import unlisted
from rigspec.catalog.engines import engine as engine_row
from rigspec.catalog.engines import (
    is_beyond_known,
    is_version,
    known_version,
    version_like,
    version_of,
)
from rigspec.catalog.gpus import Gpu, find_gpu, nearest_gpus, other_vendor
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import (
    NOT_HERE,
    is_place,
    load_model_facts,
    names_file,
    nearest_saved,
)
from rigspec.errors import RigspecError
from rigspec.frozen import dataclass
from rigspec.rules.engine import FOREIGN
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.from_spec import ENGINES
from rigspec.sizing.settings import EngineSettings
from rigspec.units import with_article

_CACHE_TYPE = {
    "vllm": "--kv-cache-dtype",
    "sglang": "--kv-cache-dtype",
    "llama_cpp": "--cache-type-k",
}

LONGEST = 255
"""Bytes of a file's name, on every file system that a rig is likely to have (NAME_MAX)."""


@dataclass(frozen=True)
class Question:
    """One model on some equal cards."""

    facts: ModelFacts
    cards: tuple[Card, ...]
    settings: EngineSettings
    only: int | None = None
    """The one tensor parallel size that was asked for; None: a table holds all."""
    warnings: tuple[str, ...] = ()
    """What of the question itself is not taken as it was asked."""


def ask(
    *,
    model: str,
    gpu: str,
    count: int,
    context: int | None,
    tp: int | None,
    dcp: int | None,
    engine: str | None,
    engine_version: str | None,
    fraction: float | None,
    kv_dtype: str,
    sequences: int | None,
    power_limit_w: int | None,
    folders: Sequence[Path],
    extra: Path | None,
) -> Question:
    """The question of the command line, complete."""
    sku, facts = known_gpu(gpu, extra), known_model(model, folders)
    _possible_cap(sku, power_limit_w)
    chosen = engine or ("llama_cpp" if facts.is_gguf else "vllm")
    _loadable(facts, chosen)
    _spreadable(chosen, dcp)
    _known_words(chosen, engine_version, kv_dtype, fraction)
    card = card_of(sku, power_limit_w=power_limit_w)
    ranks = tp or count
    if ranks > count:
        raise RigspecError(f"--tp {ranks} is more than --count {count}", hint="raise --count")
    settings = EngineSettings(
        engine=ENGINES[chosen],
        version=known_version(chosen, version_of(engine_version)),
        beyond_known=is_beyond_known(chosen, version_of(engine_version)),
        tensor_parallel=ranks,
        decode_context_parallel=dcp or 1,
        context=context,
        memory_fraction=fraction,
        kv_dtype=kv_dtype,
        max_seqs=sequences,
        prefix_caching=None,
        complete=True,
        parallel=sequences or 1,
        # llama.cpp's server sets the whole context aside for each
        slots=(sequences or 1) if chosen == "llama_cpp" else 1,
    )
    own = (
        *_beyond(chosen, engine_version),
        *_unlisted(chosen, engine_version, facts),
        *_other_revision(model, facts, folders),
    )
    return Question(facts, (card,) * count, settings, tp, own)


def _beyond(chosen: str, version: str | None) -> Iterator[str]:
    if is_beyond_known(chosen, version_of(version)):
        newest = engine_row(chosen).flag_version
        yield (
            f"{ENGINES[chosen].label} {version} is newer than {newest}, the newest that was looked "
            "at: reckoned by its rules, with bands as wide as without a version"
        )


def _unlisted(chosen: str, version: str | None, facts: ModelFacts) -> Iterator[str]:
    """What `rigspec check` warns about in a spec is said here, too."""
    found = unlisted(chosen, ENGINES[chosen].label, facts, version)
    if found is not None:
        yield found.message


def _loadable(facts: ModelFacts, engine: str) -> None:
    """What `rigspec check` calls an error in a spec is no answer here either."""
    if engine == "llama_cpp" and not facts.is_gguf:
        raise RigspecError(
            f"llama.cpp loads GGUF files only, and what is saved of `{facts.name}` is none",
            hint="`rigspec model add ORG/NAME-GGUF --file NAME-Q4_K_M.gguf` saves a GGUF of it; "
            "ask for that, or take `--engine vllm`",
        )


def _spreadable(engine: str, dcp: int | None) -> None:
    why = FOREIGN[engine].get("decode_context_parallel_size")
    if why and (dcp or 1) > 1:
        raise RigspecError(f"--dcp {dcp}: {why}", hint="leave it out")


def _possible_cap(gpu: Gpu, cap_w: int | None) -> None:
    lowest, highest = gpu.power_min_w or 0, gpu.power_max_w or cap_w or 0
    if cap_w is not None and not lowest <= cap_w <= highest:
        raise RigspecError(
            f"--power-limit-w {cap_w} is no cap of {with_article(gpu.name)}",
            hint=f"its caps go from {lowest} to {highest} W",
        )


def _known_words(engine: str, version: str | None, kv_dtype: str, fraction: float | None) -> None:
    if fraction is not None and engine == "llama_cpp":
        raise RigspecError(
            "llama.cpp has no --fraction", hint="it takes what the context needs: --context"
        )
    if version is not None and not is_version(engine, version):
        raise RigspecError(
            f"--engine-version {version} is no version of {ENGINES[engine].label}",
            hint=f"for example {version_like(engine)}",
        )
    if kv_dtype == "auto":
        return
    for problem in check_argv(engine, None, (_CACHE_TYPE[engine], kv_dtype)):
        if problem.flag == _CACHE_TYPE[engine]:
            raise RigspecError(problem.message, hint=problem.hint)


def known_gpu(name: str, extra: Path | None) -> Gpu:
    """The card, or the nearest names."""
    found = find_gpu(name, extra)
    if found is not None:
        return found
    other = other_vendor(name, extra)
    if other is not None:
        raise RigspecError(f"`{other}` is no NVIDIA card; rigspec knows NVIDIA cards only")
    near = " or ".join(f"`{sku}`" for sku in nearest_gpus(name, extra))
    raise RigspecError(
        f"`{name}` is not in the catalog",
        hint=(f"did you mean {near}? " if near else "") + "`rigspec catalog gpus` lists all",
    )


def known_model(name: str, folders: Sequence[Path]) -> ModelFacts:
    """The model's facts, or how to get them."""
    hint = "a saved model, or ORG/NAME of the hub: `rigspec catalog models` lists what is saved"
    if not name.strip():
        raise RigspecError("no model is named", hint=hint)
    if any(len(os.fsencode(part)) > LONGEST for part in name.split("/")):
        raise RigspecError(f"`{name}` is longer than any name of a file or a model", hint=hint)
    _folders_to_look_in(folders)
    try:
        facts = load_model_facts(name, folders)
    except (OSError, ValueError) as problem:
        raise RigspecError(
            f"what is known of `{name}` cannot be used: {problem}",
            hint=_mend(name),
        ) from problem
    if facts is not None:
        return facts
    near = " or ".join(f"`{meant}`" for meant in nearest_saved(name, folders))
    if names_file(name):
        meant = f"did you mean {near}? " if near and not is_place(name) else ""
        raise RigspecError(f"no such folder or file: `{name}`", hint=f"{meant}{NOT_HERE}")
    hub = name if "/" in name else "ORG/NAME"
    raise RigspecError(
        f"nothing is saved of `{name}`",
        hint=(f"did you mean {near}? Else " if near else "")
        + f"{_to_save(hub, folders)} reads its config and sizes once (no weights)",
    )


def _to_save(source: str, folders: Sequence[Path]) -> str:
    to = "" if save_folder() in folders else f" --to {shlex.quote(str(folders[0]))}"
    return f"`rigspec model add {source}{to}`"


def _other_revision(model: str, facts: ModelFacts, folders: Sequence[Path]) -> Iterator[str]:
    name, _, revision = model.partition("@")
    if facts.is_of_another(revision):
        yield (
            f"what is saved of `{name}` is of revision {facts.revision}, not {revision}; "
            f"{_to_save(model, folders)} saves that one"
        )
    elif revision and facts.revision and not facts.revision.startswith(revision.lower()):
        yield (
            f"what is saved of `{name}` is of revision {facts.revision}; whether `{revision}` is "
            "that one is not known"
        )


def _folders_to_look_in(folders: Sequence[Path]) -> None:
    """A folder that is not there yet can be filled; a file cannot."""
    for folder in folders:
        try:
            is_other = folder.exists() and not folder.is_dir()
        except (OSError, ValueError) as problem:  # a name that is too long, or holds a zero
            said = getattr(problem, "strerror", None) or str(problem)
            raise RigspecError(f"the folder `{folder}` cannot be read: {said}") from problem
        if is_other:
            raise RigspecError(
                f"`{folder}` is a file, not a folder of saved models",
                hint="leave out --models to look in `rigs/models`, where `rigspec model add` saves",
            )


def _mend(name: str) -> str:
    """A saved file is written anew; weights that are damaged would only be read once more."""
    path = Path(name)
    is_weights = path.suffix == ".gguf" and os.path.lexists(path)
    if path.is_dir() or is_place(name) or is_weights:
        return "no engine could load it either: fetch the file again"
    return "`rigspec model add` saves it anew"
