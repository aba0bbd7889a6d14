"""What `rigspec fit` is asked, in words of the command line: facts, cards and settings.

Raises RigspecError with a did-you-mean for a card or a model that is not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rigspec.catalog.gpus import Gpu, find_gpu, nearest_gpus, other_vendor
from rigspec.catalog.model_facts import ModelFacts
from rigspec.catalog.models import load_model_facts, saved_models
from rigspec.errors import RigspecError
from rigspec.sizing.cards import Card, card_of
from rigspec.sizing.from_spec import ENGINES, version_of
from rigspec.sizing.settings import EngineSettings
from rigspec.spec.misnamed import nearest


@dataclass(frozen=True)
class Question:
    """One model on some equal cards."""

    facts: ModelFacts
    cards: tuple[Card, ...]
    settings: EngineSettings


def ask(
    *,
    model: str,
    gpu: str,
    count: int,
    context: int | None,
    tp: int | None,
    engine: str,
    engine_version: str | None,
    fraction: float | None,
    kv_dtype: str,
    sequences: int | None,
    power_limit_w: int | None,
    folders: Sequence[Path],
    extra: Path | None,
) -> Question:
    """The question of the command line, complete."""
    card = card_of(known_gpu(gpu, extra), power_limit_w=power_limit_w)
    ranks = tp or count
    if ranks > count:
        raise RigspecError(f"--tp {ranks} is more than --count {count}", hint="raise --count")
    settings = EngineSettings(
        engine=ENGINES[engine],
        version=version_of(engine_version),
        tensor_parallel=ranks,
        context=context,
        memory_fraction=fraction,
        kv_dtype=kv_dtype,
        max_seqs=sequences,
        parallel=sequences or 1,
    )
    return Question(known_model(model, folders), (card,) * count, settings)


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
    try:
        facts = load_model_facts(name, folders)
    except (OSError, ValueError) as problem:
        raise RigspecError(
            f"what is known of `{name}` cannot be used: {problem}",
            hint="fetch its files again; no engine could load them either",
        ) from problem
    if facts is not None:
        return facts
    saved = [known for known, _ in saved_models(folders)]
    meant = nearest(name.partition("@")[0], saved)
    raise RigspecError(
        f"nothing is saved of `{name}`",
        hint=(f"did you mean `{meant}`? " if meant else "")
        + f"`rigspec model add {name}` reads its config and sizes once (no weights)",
    )
