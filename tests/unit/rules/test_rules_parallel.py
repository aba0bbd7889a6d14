"""Sizes against cards, where the engine counts in its own way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.finding import Path as SpecPath
from rigspec.report.sizing import as_text
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]


def found(rule: str, **service: Any) -> list[SpecPath]:
    """Where a rule complains about the fine base spec (two equal cards) with a changed service."""
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["services"]["chat"] |= service
    return [f.path for f in check(Rig.model_validate(data)) if f.rule == rule]


@pytest.mark.parametrize(
    ("sizes", "complains"),
    [
        ({"tensor_parallel_size": 2}, False),
        ({"tensor_parallel_size": 1, "pipeline_parallel_size": 2}, False),
        ({"tensor_parallel_size": 1, "data_parallel_size": 2}, False),
        ({"tensor_parallel_size": 2, "data_parallel_size": 2}, True),
        ({"tensor_parallel_size": 1}, True),
        ({"tensor_parallel_size": 1, "gpus": ["main.1"]}, False),
        ({"tensor_parallel_size": 2, "gpus": ["main.1", "main.2"]}, False),  # no such card
    ],
)
def test_product_of_sizes_is_the_number_of_cards(sizes: dict[str, Any], complains: bool) -> None:
    assert bool(found("parallel.world-size", **sizes)) is complains


@pytest.mark.parametrize(
    ("sizes", "hint"),
    [
        ({"tensor_parallel_size": 2, "data_parallel_size": 2}, "`data_parallel_size: 3` uses all"),
        ({"tensor_parallel_size": 4, "data_parallel_size": 2}, "`tensor_parallel_size: 3` uses"),
        ({"tensor_parallel_size": 4, "pipeline_parallel_size": 4}, "choose sizes whose product"),
        ({"tensor_parallel_size": 2, "data_parallel_size": 4}, "`data_parallel_size: 3` uses all"),
        ({"tensor_parallel_size": 2}, "`tensor_parallel_size: 6` uses all"),
        (
            {"tensor_parallel_size": 2, "data_parallel_size": 2, "engine": "sglang",
             "extra_args": ["--enable-dp-attention"]},
            "`tensor_parallel_size: 6` uses all",
        ),
    ],
)  # fmt: skip
def test_copies_that_use_every_card_are_offered_first(sizes: dict[str, Any], hint: str) -> None:
    assert hint_of_six(CheckContext(), **sizes).startswith(hint)


def hint_of_six(facts: CheckContext, **sizes: Any) -> str:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"]["main"]["count"] = 6
    data["services"]["chat"] |= sizes
    (hint,) = (
        f.hint for f in check(Rig.model_validate(data), facts) if f.rule == "parallel.world-size"
    )
    return hint


def test_copies_use_the_cards_that_tensor_parallel_cannot() -> None:
    facts = load_model_facts("Qwen/Qwen3-8B", (ROOT / "benchmarks/data/model-configs",))
    assert facts is not None  # 32 heads: no TP 6
    hint = hint_of_six(CheckContext(models={"chat": facts}), tensor_parallel_size=2)
    assert hint == "`data_parallel_size: 3` uses all of them"


def test_peers_that_the_driver_refuses_are_said_once() -> None:
    rig = load(ROOT / "tests" / "errors" / "fabric-geforce-peers.yaml").rig
    assert rig is not None
    rules = [f.rule for f in check(rig) if f.rule.startswith("fabric.")]
    assert "fabric.peers-refused" in rules
    kept = rig.model_copy(update={"pcie": rig.pcie.model_copy(update={"acs": "keep"})})
    assert "fabric.acs-kept" not in [f.rule for f in check(kept)]


def test_data_parallel_attention_of_sglang_adds_no_ranks() -> None:
    sglang = {"engine": "sglang", "data_parallel_size": 2}
    assert found("parallel.world-size", **sglang)
    assert not found("parallel.world-size", **sglang, extra_args=["--enable-dp-attention"])


def test_ranks_of_one_context_do_not_divide_the_heads() -> None:
    # 24 heads over 16 ranks: no; over eight parts, each read by two ranks: three heads each
    facts = load_model_facts("Example/Hybrid-27B-FP8", (ROOT / "tests" / "errors" / "models",))
    assert facts is not None
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"]["main"]["count"] = 16
    data["services"]["chat"] |= {"engine": "sglang", "tensor_parallel_size": 16}

    def divides() -> bool:
        findings = check(Rig.model_validate(data), CheckContext({"chat": facts}))
        return "parallel.heads-divide" not in {each.rule for each in findings}

    assert not divides()
    data["services"]["chat"]["extra_args"] = ["--attn-cp-size", "2"]
    assert divides()


@pytest.mark.parametrize(
    ("sizes", "args", "complains"),
    [
        ({"tensor_parallel_size": 2}, ["--attn-cp-size", "2"], False),
        ({"tensor_parallel_size": 2}, ["--attn-cp-size", "3"], True),
        ({"tensor_parallel_size": 2}, ["--attention-context-parallel-size=0"], True),
        ({"tensor_parallel_size": 2}, ["--attn_cp_size", "3"], True),
        (
            {"tensor_parallel_size": 2, "data_parallel_size": 2},
            ["--enable-dp-attention", "--attn-cp-size", "2"],
            True,  # one rank is left of each copy
        ),
        ({"tensor_parallel_size": 2, "engine": "vllm"}, ["--attn-cp-size", "3"], False),
    ],
)
def test_ranks_of_one_context_are_dealt_out_evenly(
    sizes: dict[str, Any], args: list[str], complains: bool
) -> None:
    asked = {"engine": "sglang", **sizes, "extra_args": args}
    assert bool(found("parallel.attention-contexts-divide", **asked)) is complains


def test_llama_cpp_has_no_ranks_to_count() -> None:
    llama = {"engine": "llama_cpp", "tensor_parallel_size": 1}
    assert not found("parallel.world-size", **llama)
    llama["split_mode"] = "none"
    assert found("engine.split-understood", **llama, extra_args=["--main-gpu", "²"])
    assert not found("engine.split-understood", **llama, extra_args=["--main-gpu", "1"])


LLAMA_PAIR = {"engine": "llama_cpp", "tensor_parallel_size": 1}


@pytest.mark.parametrize("told", ["1e3,1", "3/1", "3,1,", "3,/1", ".5,1E-1"])
def test_shares_are_what_llama_cpp_reads_as_numbers(told: str) -> None:
    assert not found("engine.split-understood", **LLAMA_PAIR, extra_args=["-ts", told])


def test_cards_without_a_share_and_where_it_is_written_are_named() -> None:
    here = ("services", "chat")
    few = found("engine.split-understood", **LLAMA_PAIR, extra_args=["-ts", "1"])
    assert few == [(*here, "extra_args")]
    told = {"LLAMA_ARG_TENSOR_SPLIT": "1,one", "LLAMA_ARG_MAIN_GPU": "7"}
    named = found("engine.split-understood", **LLAMA_PAIR, environment=told)
    assert named == [(*here, "environment", name) for name in told]


def test_unknown_model_is_not_judged_by_heads() -> None:
    assert not found("parallel.heads-divide", model="chat")
    assert not found("parallel.experts-missing", expert_parallel=True)


def test_partner_that_runs_instead_may_use_the_same_port_and_cards() -> None:
    rig = load(ROOT / "tests" / "errors" / "services-instead-of-shares.yaml").rig
    assert rig is not None
    assert not [f for f in check(rig) if f.rule.startswith("services.")]


def test_hint_of_sizes_leads_to_one_that_the_model_takes() -> None:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"]["main"]["count"] = 3
    changed = Rig.model_validate(data)
    unknown = [f for f in check(changed) if f.rule == "parallel.world-size"]
    assert "`tensor_parallel_size: 3`" in unknown[0].hint
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", (ROOT / "tests" / "errors" / "models",))
    assert facts is not None
    known = [
        f for f in check(changed, CheckContext({"chat": facts})) if f.rule == "parallel.world-size"
    ]
    assert "`gpus: [main.0, main.1]`" in known[0].hint
    assert "`tensor_parallel_size: 3`" not in known[0].hint


def test_cards_on_an_nvlink_switch_need_no_peers_over_pcie() -> None:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["services"]["chat"].pop("disable_custom_all_reduce")
    rules = {f.rule for f in check(Rig.model_validate(data))}
    assert "parallel.all-reduce-without-peers" in rules
    data["gpus"]["main"] |= {"sku": "h100", "power_limit_w": 700}
    rules = {f.rule for f in check(Rig.model_validate(data))}
    assert "parallel.all-reduce-without-peers" not in rules


def test_growing_segments_disturb_only_where_the_engines_own_all_reduce_runs() -> None:
    grow = {"environment": {"PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True"}}
    own = {"disable_custom_all_reduce": False}
    rule = "environment.expandable-segments"
    assert found(rule, **grow, **own)  # two cards
    assert not found(rule, **grow)
    four = {"tensor_parallel_size": 4, "gpus": ["main"]}
    assert not found(rule, **grow, **own, **four)  # PCIe only: vLLM leaves its own off
    assert found(rule, **grow, **own, **four, image="patched/vllm:1@sha256:" + "a" * 64)


def test_sglang_drives_built_in_drafts_by_the_name_eagle() -> None:
    eagle = {"speculative": {"method": "EAGLE", "tokens": 4}}
    assert not found("engine.draft-needed", engine="sglang", **eagle)
    assert found("engine.draft-needed", engine="vllm", **eagle)


@pytest.mark.parametrize(
    ("engine", "draft", "known", "said"),
    [
        ("vllm", {"method": "mtp"}, "Example/Llama-8B-FP8", True),
        ("sglang", {"method": "NEXTN"}, "Example/Llama-8B-FP8", True),
        ("vllm", {"method": "mtp"}, "Qwen/Qwen3.6-27B-FP8", False),
        ("vllm", {"method": "mtp", "model": "chat"}, "Example/Llama-8B-FP8", False),
        ("vllm", {"method": "ngram"}, "Example/Llama-8B-FP8", False),
        ("vllm", {"method": "mtp"}, None, False),
        ("llama_cpp", {"method": "draft-mtp"}, "Example/Llama-8B-FP8", True),
        ("llama_cpp", {"method": "draft-mtp"}, "Qwen/Qwen3.6-27B-FP8", False),
    ],
)
def test_a_model_without_prediction_layers_cannot_draft_with_them(
    engine: str, draft: dict[str, str], known: str | None, said: bool
) -> None:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["services"]["chat"] |= {"engine": engine, "speculative": draft | {"tokens": 3}}
    folders = [ROOT / "rigs/models", ROOT / "tests/errors/models"]
    facts = load_model_facts(known, folders) if known else None
    saved = CheckContext(models={"chat": facts} if facts else {})
    changed = Rig.model_validate(data)
    rules = {finding.rule for finding in check(changed, saved)}
    assert ("engine.draft-layers" in rules) is said
    drafts_itself = known is not None and (known.startswith("Qwen") or "model" in draft)
    assert ("with drafts" in as_text(changed, saved)) is (
        drafts_itself or "ngram" in draft.values()
    )


@pytest.mark.parametrize(
    ("model", "said"),
    [("moonshotai/Kimi-K2-Instruct", True), ("deepseek-ai/DeepSeek-V3", False)],  # states 0, 1
)
@pytest.mark.parametrize(("engine", "method"), [("vllm", "mtp"), ("sglang", "NEXTN")])
def test_a_config_that_states_no_prediction_layers_is_believed(
    engine: str, method: str, model: str, said: bool
) -> None:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    drafting = {"engine": engine, "speculative": {"method": method, "tokens": 3}}
    data["services"]["chat"] |= drafting
    facts = load_model_facts(model, [ROOT / "benchmarks/data/model-configs"])
    assert facts is not None
    findings = check(Rig.model_validate(data), CheckContext(models={"chat": facts}))
    why = [finding.why for finding in findings if finding.rule == "engine.draft-layers"]
    assert why == (["its config states that it has 0 of them"] if said else [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], True),
        (["--spec-draft-model", "/models/mtp.gguf"], False),
        (["-md=/models/mtp.gguf"], False),
        (["--spec-draft-n-max", "3"], True),
    ],
)
def test_prediction_layers_in_a_file_of_their_own_are_no_fault(
    words: list[str], said: bool
) -> None:
    llama = {"engine": "llama_cpp", "speculative": {"method": "draft-mtp", "tokens": 3}}
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["services"]["chat"] |= llama | {"extra_args": words}
    facts = load_model_facts("Example/Llama-8B-FP8", [ROOT / "tests/errors/models"])
    assert facts is not None
    gguf = replace(facts, quantization=Quantization(Scheme.GGUF, bits_per_weight=4.5))
    findings = check(Rig.model_validate(data), CheckContext(models={"chat": gguf}))
    assert ("engine.draft-layers" in {finding.rule for finding in findings}) is said


@pytest.mark.parametrize(
    ("gpus", "joined"),
    [(["main"], False), (["main.0", "main.1"], True), (["main.2", "main.3"], True),
     (["main.1", "main.2"], False)],
)  # fmt: skip
def test_a_bridge_joins_the_first_with_the_second_card(gpus: list[str], joined: bool) -> None:
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"]["main"] |= {"count": 4, "nvlink_bridge": True}
    data["services"]["chat"].pop("disable_custom_all_reduce")
    data["services"]["chat"] |= {"gpus": gpus, "tensor_parallel_size": 2}
    rules = {f.rule for f in check(Rig.model_validate(data))}
    assert ("parallel.all-reduce-without-peers" not in rules) is joined


def test_only_copies_of_attention_in_sglang_share_the_ranks() -> None:
    # DP 3 does not divide TP 2; where DP adds ranks of its own it need not
    rule, sizes = "parallel.attention-copies-divide", {"data_parallel_size": 3}
    copies = {"extra_args": ["--enable-dp-attention"]}
    assert found(rule, engine="sglang", **sizes, **copies)
    assert not found(rule, engine="sglang", **sizes)
    assert not found(rule, engine="vllm", **sizes)
    assert not found(rule, engine="vllm", **sizes, **copies)  # a word that vLLM does not know
