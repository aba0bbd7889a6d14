"""What is saved of a model, held against the service that runs it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.models import load_model_facts
from rigspec.finding import Finding
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.rig import Rig

ERRORS = Path(__file__).resolve().parents[3] / "tests" / "errors"


def found(
    saved: str, model: dict[str, Any] | None = None, /, **service: Any
) -> tuple[Finding, ...]:
    """Complaints about the fine base spec (two RTX A6000) where this model is saved."""
    rig = load(ERRORS / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["services"]["chat"] |= service
    data["models"]["chat"] = model or data["models"]["chat"]
    facts = load_model_facts(saved, (ERRORS / "models",))
    assert facts is not None
    return check(Rig.model_validate(data), CheckContext({"chat": facts}))


def test_weights_on_the_host_are_of_no_revision() -> None:
    rule, other = "models.facts-of-revision", {"revision": "1" * 40}
    fetched = {"hub": "Example/Pinned", "storage": "weights"}
    assert rule in {f.rule for f in found("Example/Pinned", fetched | other)}
    there = {"path": "/srv/models/Pinned"}  # `revision` does nothing there, and has a rule for that
    assert rule not in {f.rule for f in found("Example/Pinned", there | other)}


@pytest.mark.parametrize(
    ("context", "rules"),
    [
        (1024, {"memory.loads"}),
        # 320 KiB a token make 20 GiB on each of two cards, beside 33 of weights on 47: without a
        # fitting cache it does not matter how the weights were loaded
        (131072, {"memory.fits"}),
    ],
)
def test_what_surely_does_not_fit_is_not_doubted_while_it_loads(
    context: int, rules: set[str]
) -> None:
    unnamed = {"image": "own/vllm:1@sha256:" + "a" * 64, "engine_version": None}
    asked = {"quantization": "fp8", "context_length": context}
    said = {f.rule for f in found("Example/Llama-70B-BF16", **unnamed, **asked)}
    assert said & {"memory.loads", "memory.fits"} == rules


@pytest.mark.parametrize(
    ("saved", "length", "what"),
    [
        ("Example/Llama-70B-BF16", 4096, "GiB of weights"),
        ("Example/Llama-32B-BF16", 131072, "GiB of cache"),
    ],
)
@pytest.mark.parametrize(
    ("ranks", "stages", "where"), [(2, 1, "per GPU"), (1, 2, "on one of its cards")]
)
def test_stages_of_a_pipeline_are_not_each_as_full_as_the_fullest(
    saved: str, length: int, what: str, ranks: int, stages: int, where: str
) -> None:
    sizes = {"tensor_parallel_size": ranks, "pipeline_parallel_size": stages}
    (said,) = (
        f.message for f in found(saved, context_length=length, **sizes) if f.rule == "memory.fits"
    )
    assert f" {what} {where}, " in said
