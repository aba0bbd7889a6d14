"""`--override-tensor` of llama.cpp: which experts leave the cards, and when nobody can say."""

from __future__ import annotations

from time import perf_counter

import pytest
from llama_rig import ROOT, gguf, rig

from rigspec.catalog.model_facts import ModelFacts
from rigspec.report.sizing import as_text
from rigspec.report.sizing_json import rig_record
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check
from rigspec.sizing.overrides import is_moved, name_of_experts, overrides_in, overrides_of
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig


def held(spec: Rig, facts: ModelFacts | None = None) -> tuple[float, str]:
    """GiB on the host, and what lies there."""
    context = CheckContext(models={"qwen": facts or gguf()})
    record = rig_record(spec, context)["services"]["qwen"]
    assert record["unsized"] is None, record["unsized"]
    lines = [line for line in as_text(spec, context).splitlines() if "in host memory  " in line]
    gib = record["host_gib"]["value"] if record["host_gib"] else 0.0
    return gib, lines[0].partition("GiB, ")[2] if lines else ""


def moved_by(expression: str) -> tuple[float, str]:
    return held(rig(f"extra_args: ['-ot', '{expression}']"))


ALL, _ = held(rig("extra_args: [--cpu-moe]"))


@pytest.mark.parametrize(
    ("expression", "layers"),
    [
        ("exps=CPU", 36),
        (".ffn_.*_exps.=CPU", 36),
        (r"\.ffn_(up|down|gate|gate_up)_(ch|)exps=CPU", 36),
        (r"blk\.([0-9]|1[01])\.ffn_.*_exps=CPU", 12),
        (r"blk\.(3[0-5])\.ffn_.*_exps\.weight=CPU", 6),
        (r"blk\.3\.ffn=CPU", 1),
        ("blk.3.ffn=CPU", 1),
        (r"blk\.1\.ffn_.*_exps=CPU,blk\.2\.ffn_.*_exps=CPU", 2),
        (r"blk\.99\.ffn_.*_exps=CPU", 0),
    ],
)
def test_experts_of_the_layers_that_an_expression_finds_lie_on_the_host(
    expression: str, layers: int
) -> None:
    gib, which = moved_by(expression)
    assert gib == pytest.approx(ALL * layers / 36, rel=0.001)
    assert which == (f"experts of {layers} of 36 layers" if layers else "")


def test_as_many_leave_by_an_expression_as_by_their_count() -> None:
    counted, told = held(rig("extra_args: [--n-cpu-moe, '12']"))
    assert moved_by(r"blk\.([0-9]|1[01])\.ffn_.*_exps=CPU") == (pytest.approx(counted), told)


def test_a_part_of_a_layer_s_experts_is_called_that() -> None:
    gib, which = moved_by("ffn_(up|down)_exps=CPU")
    assert gib == pytest.approx(ALL * 2 / 3, rel=0.01)
    assert which == "a part of the experts of 36 of 36 layers"


def test_the_first_expression_decides_and_the_environment_comes_before_the_flags() -> None:
    words = r"extra_args: ['-ot', 'blk\.[0-5]\.ffn_.*_exps=CUDA0,exps=CPU']"
    assert held(rig(words, count=1))[1] == "experts of 30 of 36 layers"
    words = r"extra_args: ['-ot', 'exps=CPU', '-ot', 'blk\.[0-5]\.ffn_.*_exps=CUDA0']"
    assert held(rig(words, count=1))[1] == "experts of 36 of 36 layers"
    words = "extra_args: ['--override-tensor', 'exps=CPU']"
    variable = r"environment: {LLAMA_ARG_OVERRIDE_TENSOR: 'blk\.[0-5]\.ffn_.*_exps=CUDA0'}"
    assert held(rig(words, variable, count=1))[1] == "experts of 30 of 36 layers"


def test_counts_and_expressions_that_take_experts_add_up() -> None:
    spec = rig(r"extra_args: [--n-cpu-moe, '4', '-ot', 'blk\.1[0-1]\.ffn_.*_exps=CPU']")
    assert held(spec)[1] == "experts of 6 of 36 layers"


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ("'-ot', 'attn=CPU'", 2),
        ("'-ot', '.*=CPU'", 2),
        (r"'-ot', 'blk\.3\.=CPU'", 2),
        ("'-ot', 'output=CPU'", 2),
        (r"'-ot', 'blk\.[0-5]\.ffn_.*_exps=CUDA0,exps=CPU'", 2),  # between cards
        ("'-ot', 'exps=CUDA1'", 1),
        (r"--cpu-moe, '-ot', 'blk\.1\.ffn=CUDA0'", 1),  # which comes first decides
        ("'-ot', 'exps=cpu'", 2),
        ("'-ot', 'exps=CUDA_Host'", 2),  # no buffer type of a released llama.cpp
        ("'-ot', 'exps=CPU,'", 2),
        ("'-ot', 'token_embd=CUDA0'", 1),  # on a card it weighs, else it lies on the host
        ("'-ot', '.=CUDA0'", 1),
        ("'-ot', 'per_layer_token_embd=CUDA0'", 1),
        ("'-ot', '.?.?.?.?.?exps=CPU'", 2),
        ("'-ot', 'exps'", 2),
        ("'-ot', '(exps=CPU'", 2),
        ("'-ot', '(a+)+exps=CPU'", 2),
        ("'-ot', 'a{1,2}exps=CPU'", 2),
        ("'-ot', '.*.*.*.*.*exps=CPU'", 2),
        ("'-ot', '(?i)EXPS=CPU'", 2),
        ("'-ot', '[[:alpha:]]exps=CPU'", 2),
    ],
)
def test_what_nobody_can_follow_is_not_sized(words: str, count: int) -> None:
    context = CheckContext(models={"qwen": gguf()})
    record = rig_record(rig(f"extra_args: [{words}]", count=count), context)["services"]["qwen"]
    assert record["unsized"] is not None
    assert "`--override-tensor` leaves a part of the model in host memory" in record["unsized"]


@pytest.mark.parametrize(
    ("model", "expression", "sized"),
    [
        ("Qwen/Qwen3-30B-A3B", r"blk\.[0-3]\.ffn=CPU", True),  # experts and their router alone
        ("zai-org/GLM-4.5-Air", r"blk\.[0-3]\.ffn=CPU", False),  # shared experts, a dense layer
        ("zai-org/GLM-4.5-Air", r"blk\.[0-3]\.ffn_.*_exps=CPU", True),
        ("zai-org/GLM-4.5-Air", "shexp=CPU", False),
        ("Qwen/Qwen3-30B-A3B", "shexp=CPU", True),  # has none
        ("zai-org/GLM-4.5-Air", r"blk\.46\.attn=CPU", False),  # the layer that drafts
        ("Qwen/Qwen3-30B-A3B", r"^output\.weight=CPU", False),
        ("Qwen/Qwen3-30B-A3B", "token_embd=CPU", True),  # lies there anyway
        ("google/gemma-4-26B-A4B", "token_embd=CPU", False),  # is the output, too
    ],
)
def test_an_expression_that_takes_more_than_experts_is_not_sized(
    model: str, expression: str, sized: bool
) -> None:
    context = CheckContext(models={"qwen": gguf(model)})
    spec = rig(f"extra_args: ['-ot', '{expression}']")
    assert (rig_record(spec, context)["services"]["qwen"]["unsized"] is None) is sized


@pytest.mark.parametrize(
    ("expression", "count", "offered"),
    [
        (r"blk\.3[0-3]\.ffn_.*_exps=CPU", 2, True),
        ("nothing=CPU", 2, True),
        (r"blk\.3[0-3]\.ffn_.*_exps=CUDA0", 1, False),  # which of the two comes first decides
    ],
)
def test_a_count_goes_with_expressions_that_keep_nothing_on_a_card(
    expression: str, count: int, offered: bool
) -> None:
    spec = rig(f"extra_args: ['-ot', '{expression}']", count=count)
    context = CheckContext(models={"qwen": gguf()})
    (found,) = (f for f in check(spec, context) if f.rule == "memory.fits")
    assert ("add `--n-cpu-moe, " in found.hint) is offered


def test_another_engine_has_no_such_variable() -> None:
    text = (ROOT / "rigs/starter.yaml").read_text()
    told = "    environment: {LLAMA_ARG_OVERRIDE_TENSOR: attn=CPU}\n"
    loaded = load_text("rig.yaml", text.replace("    max_sequences: 8\n", told))
    assert loaded.rig is not None
    assert told in loaded.source.text
    assert overrides_of(loaded.rig.services["qwen"]) == ()


def test_a_long_expression_takes_no_time() -> None:
    assert overrides_in(f"{'a' * 401}=CPU") is None
    assert overrides_in(",".join(["exps=CPU"] * 1001)) is None
    assert overrides_in(",".join(["exps=CPU"] * 1000)) is not None
    assert overrides_in("(?:a)(?:b)(?:c)(?:d)(?:e)=CPU") is not None
    began = perf_counter()
    for expression in ("(a*)*" * 30, "x*" * 200, ".*" * 4 + "z", "(" * 5000):
        held_by = overrides_in(f"{expression}=CPU") or ()
        is_moved(held_by, name_of_experts(93, "gate_proj"))
    assert perf_counter() - began < 1.0


@pytest.mark.parametrize(
    ("words", "lost"),
    [
        ("exps=CPU", []),
        ("attn_norm=CPU", []),  # weighs nothing, but is there
        ("per_layer_token_embd=CPU", []),  # lies there anyway, where a model has it
        (r"blk\.35\.attn_output\.bias=CPU", []),
        (r"blk\.36\.=CPU", [r"`blk\.36\.`"]),
        ("shexp=CPU", ["`shexp`"]),  # this model has none
        ("exps=CPU, attn=CPU", ["` attn`"]),
        (
            ",".join(f"no{number}=CPU" for number in range(8)),
            ["`no0`, `no1`, `no2`, `no3`, `no4` and 3 more"],
        ),
    ],
)
def test_expressions_that_find_nothing_are_named(words: str, lost: list[str]) -> None:
    spec, context = rig(f"extra_args: ['-ot', '{words}']"), CheckContext(models={"qwen": gguf()})
    said = [f.message for f in check(spec, context) if f.rule == "overrides.finds-something"]
    assert said == [f"no matrix of `qwen` is found by {names}" for names in lost]
    unknown = CheckContext()
    assert not [f for f in check(spec, unknown) if f.rule == "overrides.finds-something"]
