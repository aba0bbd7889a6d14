"""Flags that take memory nobody reckons, those that are reckoned, and what is said of them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from published import CONFIGS

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.models import load_model_facts
from rigspec.report.sizing import as_text
from rigspec.report.sizing_json import rig_record
from rigspec.rules.context import CheckContext
from rigspec.rules.memory import contexts_have_room, stated_cache, states_have_room
from rigspec.rules.run import unchecked
from rigspec.sizing.accepted import refusals
from rigspec.sizing.adapters import adapters_gib
from rigspec.sizing.cards import card_of
from rigspec.sizing.from_spec import settings_of
from rigspec.sizing.remedies import remedies
from rigspec.sizing.settings import Engine, EngineSettings, Lora
from rigspec.sizing.uncounted import FLAGS, uncounted
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
STARTER = (ROOT / "rigs/starter.yaml").read_text()
ENGINES = {
    "vllm": "    gpus: [pair]\n    tensor_parallel_size: 2\n    max_sequences: 8\n",
    "sglang": "    gpus: [pair]\n    tensor_parallel_size: 2\n",
    "llama_cpp": "    gpus: [pair]\n    split_mode: layer\n",
}


def rig(engine: str, *lines: str) -> Rig:
    """The starter's model on its two 3090s, with these lines below the service."""
    head = STARTER.partition("\nservices:")[0]
    written = "".join(f"    {line}\n" for line in lines)
    service = (
        f"    engine: {engine}\n    image: e/e:v1\n    model: qwen\n{ENGINES[engine]}{written}"
    )
    text = f"{head}\nservices:\n  qwen:\n{service}    listen: {{port: 8000}}\n"
    loaded = load_text("rig.yaml", text)
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


def known(name: str = "Qwen/Qwen3.6-27B-FP8") -> CheckContext:
    facts = load_model_facts(name, [ROOT / "rigs/models", CONFIGS])
    assert facts is not None
    return CheckContext(models={"qwen": facts})


@pytest.mark.parametrize(
    ("engine", "line", "flag"),
    [
        ("vllm", "extra_args: [--dtype, float32]", "--dtype"),
        ("vllm", "extra_args: [--disable-hybrid-kv-cache-manager]", None),
        ("vllm", "extra_args: [--num-gpu-blocks-override=900]", "--num-gpu-blocks-override"),
        ("vllm", "extra_args: [--enable-eplb]", None),
        ("vllm", "extra_args: [-pcp, 2]", "-pcp"),
        ("vllm", "kv_cache_dtype: octave_k3v4", "kv_cache_dtype"),
        ("vllm", "extra_args: ['--hf-overrides={\"num_hidden_layers\": 2}']", "--hf-overrides"),
        ("sglang", "extra_args: [--ep-num-redundant-experts, 8]", "--ep-num-redundant-experts"),
        ("sglang", "extra_args: [--lora-paths, a=/a]", "--enable-lora"),
        ("llama_cpp", "extra_args: [--swa-full]", None),
        ("llama_cpp", "extra_args: [--mmproj, /m]", "--mmproj"),
        ("llama_cpp", "extra_args: [--model-draft, /m]", "--model-draft"),
        ("llama_cpp", "environment: {LLAMA_ARG_SWA_FULL: '1'}", "LLAMA_ARG_SWA_FULL"),
    ],
)
def test_a_flag_that_nobody_reckons_is_named_and_nothing_fits_for_sure(
    engine: str, line: str, flag: str | None
) -> None:
    spec = rig(engine, line, "context_length: 4096")
    named = flag or line.partition("[")[2].rstrip("]")
    assert list(uncounted(spec.services["qwen"])) == [named]
    facts = known("Qwen/Qwen3-4B")
    said = list(unchecked(spec, facts))
    assert any(each.startswith(f"`{named}` of `qwen` is not reckoned: ") for each in said)
    assert f"  not reckoned: `{named}`, " in as_text(spec, facts)
    record = rig_record(spec, facts)["services"]["qwen"]
    assert record["verdict"] == "close"
    assert list(record["not_reckoned"]) == [named]


@pytest.mark.parametrize(
    ("engine", "line"),
    [
        ("vllm", "extra_args: [--dtype, half]"),
        ("vllm", "environment: {VLLM_PP_LAYER_PARTITION: '20,16'}"),  # of one stage
        ("vllm", "extra_args: [--swa-full]"),  # no flag of this engine
        ("sglang", "extra_args: [--lora-paths, a=/a, --max-lora-rank, 16]"),
        ("llama_cpp", "environment: {LLAMA_ARG_SWA_FULL: '0'}"),
        ("llama_cpp", "environment: {LLAMA_ARG_SWA_FULL: 'false'}"),
        ("llama_cpp", "environment: {LLAMA_ARG_SWA_FULL: 'yes'}"),  # no word that it knows
    ],
)
def test_what_is_reckoned_or_changes_nothing_is_not_named(engine: str, line: str) -> None:
    spec, facts = rig(engine, line, "context_length: 4096"), known("Qwen/Qwen3-4B")
    assert not uncounted(spec.services["qwen"])
    assert rig_record(spec, facts)["services"]["qwen"]["verdict"] == "yes"
    assert not list(unchecked(spec, facts))


@pytest.mark.parametrize("engine", ["vllm", "sglang", "llama_cpp"])
def test_every_name_of_a_flag_is_known(engine: str) -> None:
    data = ROOT / "rigspec/catalog/data/engine_flags"
    rows = json.loads((data / f"{engine}.json").read_text())["flags"]
    for row in rows:
        named = [name for name in row["names"] if name in FLAGS[engine]]
        assert named in ([], row["names"])
    assert FLAGS[engine].keys() <= {name for row in rows for name in row["names"]}


@pytest.mark.parametrize(
    ("name", "value"),
    [("SWA_FULL", "on"), ("MMPROJ", "/m"), ("MMPROJ_URL", "/m"), ("SPEC_DRAFT_MODEL", "/m"),
     ("SPEC_DRAFT_HF_REPO", "/m"), ("MODEL_DRAFT", "/m")],
)  # fmt: skip
def test_a_variable_does_what_its_flag_does(name: str, value: str) -> None:
    # `set_env` of llama.cpp's `common/arg.cpp`; builds before the drafts' new names have the last
    spec = rig("llama_cpp", f"environment: {{LLAMA_ARG_{name}: '{value}'}}")
    assert list(uncounted(spec.services["qwen"])) == [f"LLAMA_ARG_{name}"]


def test_stages_cut_by_hand_and_a_stretched_model() -> None:
    spec = rig(
        "vllm", "pipeline_parallel_size: 2", "environment: {VLLM_PP_LAYER_PARTITION: '9,27'}"
    )
    assert list(uncounted(spec.services["qwen"])) == ["VLLM_PP_LAYER_PARTITION"]
    spec = rig("vllm", """extra_args: ['--hf-overrides={"rope_scaling": {"factor": 2}}']""")
    assert not uncounted(spec.services["qwen"])


def test_a_model_that_nobody_saved_is_said_to_be_unread_once() -> None:
    said = list(unchecked(rig("vllm", "extra_args: [--enable-eplb]"), CheckContext()))
    assert len(said) == 1
    assert "nothing is saved" in said[0]


@pytest.mark.parametrize(
    ("lines", "on"),
    [
        (["extra_args: [-fa, 'off']"], False),
        (["extra_args: [--flash-attn=off]"], False),
        (["environment: {LLAMA_ARG_FLASH_ATTN: 'off'}"], False),
        (["extra_args: [-fa, 'on']", "environment: {LLAMA_ARG_FLASH_ATTN: 'off'}"], True),
        ([], True),
    ],
)
def test_flash_attention_that_is_off_takes_room_for_scores(lines: list[str], on: bool) -> None:
    assert settings_of(rig("llama_cpp", *lines), "qwen").flash_attention is on


@pytest.mark.parametrize(
    ("written", "read"),
    # vLLM's `human_readable_int`: small letters count by the thousand
    [("4294967296", 1 << 32), ("4g", 4 * 10**9), ("4G", 1 << 32), ("1.5M", 1572864), ("4GB", None)],
)
def test_the_size_of_a_cache_is_read_with_its_suffix(written: str, read: int | None) -> None:
    spec = rig("vllm", f"extra_args: [--kv-cache-memory-bytes, '{written}']")
    assert settings_of(spec, "qwen").kv_bytes == read


@pytest.mark.parametrize(
    ("written", "complaint"), [("2G", None), ("6G", "warning"), ("1T", "error")]
)
def test_a_stated_cache_must_find_room(written: str, complaint: str | None) -> None:
    lines = (f"extra_args: [--kv-cache-memory-bytes, {written}]", "context_length: 4096")
    found = list(stated_cache(rig("vllm", *lines), known()))
    assert [each.severity.value for each in found] == ([complaint] if complaint else [])
    if found:
        cured = found[0].hint.split()[2]
        lines = (f"extra_args: [--kv-cache-memory-bytes, '{cured}']", lines[1])
        assert not list(stated_cache(rig("vllm", *lines), known()))


@pytest.mark.parametrize(("share", "short"), [(0.91, False), (0.92, True), (0.99, True)])
def test_sglang_needs_room_beside_its_share(share: float, short: bool) -> None:
    # 23.6 GiB of a 3090, of which SGLang leaves 3.8 at TP 2: 512 + 1.5 × 2048 + 256 + 48 MiB
    lines = (f"gpu_memory_fraction: {share}", "context_length: 4096")
    found = list(contexts_have_room(rig("sglang", *lines), known("Qwen/Qwen3-4B")))
    assert bool(found) is short
    verdict = rig_record(rig("sglang", *lines), known("Qwen/Qwen3-4B"))["services"]["qwen"][
        "verdict"
    ]
    assert verdict == ("close" if short else "yes")
    if found:
        assert found[0].hint == "at most 0.91"


def test_sglang_s_adapters_have_eight_slots_unless_told() -> None:
    def asked(*words: str) -> Lora | None:
        spec = rig("sglang", f"extra_args: [--enable-lora, {', '.join(words)}]")
        return settings_of(spec, "qwen").lora

    assert asked("--max-lora-rank", "64") == Lora(8, 64)
    assert asked("--max-lora-rank", "64", "--max-loras-per-batch", "2") == Lora(2, 64)
    facts = known("Qwen/Qwen3-4B").models["qwen"]
    one, eight = (
        adapters_gib(facts, EngineSettings(engine=Engine.SGLANG, lora=Lora(slots, 64)))
        for slots in (1, 8)
    )
    assert eight.value == pytest.approx(8 * one.value)


def test_vllm_s_copies_cut_their_experts_together() -> None:
    # 768 / (2 × DP 4) = 96, no multiple of 128; 768 / 2 of one copy alone is
    facts = load_model_facts("Example/MoE-30B-FP8-Blocks", [ROOT / "tests/errors/models"])
    assert facts is not None
    width = facts.layers[-1].experts
    assert width is not None
    assert width.width == 768
    gpu = find_gpu("a100-80gb-pcie")
    assert gpu is not None
    alone = EngineSettings(version=(0, 28), tensor_parallel=2, data_parallel=1)
    copies = replace(alone, tensor_parallel=2, data_parallel=4)
    assert not refusals(facts, alone, card_of(gpu))
    (found,) = refusals(facts, copies, card_of(gpu))
    assert found.surely
    assert "(TP 2 × DP 4) = 96" in found.message
    assert not refusals(facts, replace(copies, expert_parallel=True), card_of(gpu))
    assert not refusals(facts, replace(copies, engine=Engine.SGLANG), card_of(gpu))


def test_no_remedy_asks_for_more_than_sixteen_cards() -> None:
    facts, gpu = known("Qwen/Qwen3-14B").models["qwen"], find_gpu("rtx-3060")
    assert gpu is not None
    for copies in (1, 4, 16):
        asked = EngineSettings(context=4096, data_parallel=copies)
        found = remedies(facts, (card_of(gpu),), asked)
        more = [each for each in found if each.name == "more GPUs"]
        assert bool(more) is (copies < 16)
        assert all(int(each.write.split()[0]) <= 16 for each in more)


def test_a_hint_never_repeats_the_number_of_sequences_that_is_written() -> None:
    hints = []
    for share in (0.69, 0.7, 0.71, 0.72):
        lines = ("context_length: 1024", f"gpu_memory_fraction: {share}")
        spec = rig("vllm", *lines)
        service = spec.services["qwen"].model_copy(update={"max_sequences": 1})
        spec = spec.model_copy(update={"services": {"qwen": service}})
        hints += [finding.hint for finding in states_have_room(spec, known())]
    assert hints
    assert not [hint for hint in hints if "`max_sequences: 1` fits" in hint]


def test_a_stated_cache_beside_weights_that_exceed_the_card_is_told_what_would_fit() -> None:
    # 61 GiB of weights on two cards of 23.6: no size of the cache is small enough
    lines = ("extra_args: [--kv-cache-memory-bytes, 1G]", "context_length: 4096")
    spec = rig("vllm", *lines)
    (found,) = stated_cache(spec, known("Qwen/Qwen3-32B"))
    assert "at most 0 bytes" not in found.hint
    assert "fits" in found.hint or "larger cards" in found.hint
