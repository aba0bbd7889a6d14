"""A way out is written into the spec word for word, and the spec is checked again."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from rigspec.catalog.models import load_model_facts
from rigspec.finding import WAYS_OUT, Finding, Severity
from rigspec.rules.context import CheckContext, saved_context
from rigspec.rules.run import check
from rigspec.spec.load import load, load_text
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
CONFIGS = ROOT / "benchmarks/data/model-configs"
IMAGES = {
    "vllm": "vllm/vllm-openai:v0.30.0",
    "sglang": "lmsysorg/sglang:v0.5.23",
    "llama_cpp": "ghcr.io/ggml-org/llama.cpp:server-cuda-b7000",
}
BYTES = "--kv-cache-memory-bytes"
Service = dict[str, Any]


def rig_of(cards: str, service: Service) -> Rig:
    """One service on the starter's cards, in another number and of another kind."""
    count, _, sku = cards.partition(" ")
    head = (ROOT / "rigs/starter.yaml").read_text().partition("\nservices:")[0]
    head = head.replace("sku: rtx-3090\n    count: 2", f"sku: {sku}\n    count: {count}")
    whole: Service = {
        "engine": "vllm",
        "model": "qwen",
        "gpus": ["pair"],
        "listen": {"port": 8000},
    } | service
    whole.setdefault("image", IMAGES[whole["engine"]])
    loaded = load_text("rig.yaml", f"{head}\n{yaml.safe_dump({'services': {'one': whole}})}")
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


def complaints(model: str, cards: str, service: Service) -> list[Finding]:
    """What is said of the memory."""
    facts = load_model_facts(model, [CONFIGS])
    assert facts is not None
    found = check(rig_of(cards, service), CheckContext(models={"qwen": facts}))
    return [each for each in found if each.rule.startswith("memory.")]


def ways(hint: str) -> Iterator[tuple[str, bool]]:
    """What to write, and whether that surely fits, of each way out but another checkpoint."""
    for way in hint.partition(WAYS_OUT)[2].partition(": ")[2].split("; "):
        name, _, rest = way.partition(": ")
        write, gives = rest.rsplit(" (", 1)
        if name != "another quantization":
            yield write, "too close to call" not in gives


def plain(text: str) -> bool | float | str:
    """The value as a spec reads it."""
    if text in ("true", "false"):
        return text == "true"
    return float(text) if "." in text else int(text) if text.isdigit() else text


def followed(cards: str, service: Service, write: str) -> tuple[str, Service]:
    """The cards and the service with what a hint says to write."""
    new = dict(service)
    flags = [str(word) for word in new.get("extra_args", ())]
    parts = re.findall(r"(no )?`([^`]+)`", write)
    for left_out, words in ((no, each) for no, text in parts for each in text.split(", ")):
        key, _, value = words.partition(": ")
        if words.endswith(" such GPUs"):
            cards = words.removesuffix("such GPUs") + cards.partition(" ")[2]
        elif left_out and words.startswith("--"):
            del flags[flags.index(words) : flags.index(words) + 2]
        elif left_out:
            del new[key]
        elif words.startswith("--"):
            flags[flags.index(words.split()[0]) + 1] = words.split()[1]
        else:
            new[key] = plain(value)
    return cards, new | {"extra_args": flags}


AWQ = "Qwen/Qwen2.5-72B-Instruct-AWQ"
LLAMA = "meta-llama/Llama-3.1-8B-Instruct"
FOUR = {"tensor_parallel_size": 4, "context_length": 32768}
TWO = {"tensor_parallel_size": 2}
SGLANG = {"engine": "sglang"}
BYTES_OF_1K = {"extra_args": [BYTES, "1000"]}
CASES = [
    (AWQ, "4 rtx-3090", FOUR | {"gpu_memory_fraction": 0.3}, "`gpu_memory_fraction: 0."),
    (AWQ, "4 rtx-3090", FOUR | {"gpu_memory_fraction": 0.01}, "`gpu_memory_fraction: 0."),
    (AWQ, "4 rtx-3090", FOUR | {"gpu_memory_fraction": 0.55}, "`gpu_memory_fraction: 0."),
    (AWQ, "4 rtx-3090", FOUR | BYTES_OF_1K, f"no `{BYTES}`"),
    (AWQ, "4 rtx-3090", FOUR | BYTES_OF_1K | {"gpu_memory_fraction": 0.3}, f"`{BYTES} "),
    (AWQ, "2 rtx-3090", TWO | BYTES_OF_1K | {"gpu_memory_fraction": 0.3}, f"no `{BYTES}`, `gpu_"),
    (AWQ, "2 rtx-3090", TWO, "`max_sequences: 8, context_length: "),
    (AWQ, "2 rtx-3090", TWO | {"gpu_memory_fraction": 0.3}, "`gpu_memory_fraction: 0.92, "),
    ("deepseek-ai/DeepSeek-V2-Lite", "1 rtx-3090", {"gpu_memory_fraction": 0.3},
     " such GPUs, tensor_parallel_size: "),
    ("Qwen/Qwen3-Next-80B-A3B-Instruct", "2 h100", TWO | BYTES_OF_1K,
     f"`4 such GPUs, tensor_parallel_size: 4`, no `{BYTES}`, `gpu_memory_fraction: "),
    (LLAMA, "1 rtx-a6000", SGLANG | {"gpu_memory_fraction": 0.5, "context_length": 131072},
     "`gpu_memory_fraction: 0."),
    (LLAMA, "1 rtx-3090", SGLANG | {"gpu_memory_fraction": 0.3, "context_length": 57344},
     ", kv_cache_dtype: fp8_e5m2`"),
    ("Qwen/Qwen3-32B", "1 rtx-3090",
     {"engine": "llama_cpp", "split_mode": "none", "context_length": 8192},
     "`3 such GPUs` and no `split_mode: none`"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "cards", "service", "offered"), CASES)
def test_every_way_out_is_one(model: str, cards: str, service: Service, offered: str) -> None:
    found = complaints(model, cards, service)[0]
    assert offered in found.hint
    for write, surely in ways(found.hint):
        again = complaints(model, *followed(cards, service, write))
        assert not [each for each in again if surely or each.severity is Severity.ERROR], write


def test_sequences_are_a_way_out_only_where_one_surely_has_a_block() -> None:
    few = {"context_length": 4096, "max_sequences": 32}
    for share, cured in ((0.6, False), (0.64, True)):
        service = FOUR | few | {"gpu_memory_fraction": share}
        found = {f.rule: f for f in complaints("Qwen/Qwen3.5-27B", "4 rtx-3090", service)}
        said = found["memory.states-have-room"]
        assert ("its cache holds 0 to" not in said.message) is cured
        assert ("`max_sequences: 8` fits" in said.hint) is cured
        assert ("the first start decides" in said.hint) is not cured


def test_no_start_decides_where_the_states_never_find_room() -> None:
    service = FOUR | {"context_length": 4096, "max_sequences": 200, "gpu_memory_fraction": 0.64}
    found = {f.rule: f for f in complaints("Qwen/Qwen3.5-27B", "4 rtx-3090", service)}
    said = found["memory.states-have-room"]
    assert said.severity is Severity.ERROR
    assert "the first start decides" not in said.hint


def test_room_for_a_cache_of_unknown_size_is_no_proof_and_nothing_to_change() -> None:
    service = FOUR | SGLANG | {"context_length": 65536}
    said = complaints("deepseek-ai/DeepSeek-V4-Flash", "4 h200", service)[0]
    assert said.rule == "memory.fits-closely"
    assert said.severity is Severity.WARNING
    assert "needs an unknown amount of cache for one full request" in said.message
    assert said.hint.startswith("the first start decides: how this model lays out its cache")
    # on one card the weights alone find no room: there something else has to change
    alone = SGLANG | {"context_length": 65536}
    said = complaints("deepseek-ai/DeepSeek-V4-Flash", "1 h200", alone)[0]
    assert said.rule == "memory.fits"
    assert said.hint.startswith(f"{WAYS_OUT}may fit: more GPUs in `pair`: `2 such GPUs, ")


def test_only_more_cards_ask_for_another_split() -> None:
    service = {"engine": "llama_cpp", "split_mode": "none", "context_length": 131072}
    said = complaints(LLAMA, "1 rtx-3090", service)[0]
    for write, _ in ways(said.hint):
        assert ("no `split_mode: none`" in write) is ("such GPUs" in write), said.hint
    assert "context_length: " in said.hint


def test_graphs_of_less_than_half_a_gib_are_no_way_out() -> None:
    # without them the host launches every kernel of every step, for 0.4 of 95 GiB
    home = ROOT / "rigs/home.yaml"
    rig = load(home).rig
    assert rig is not None
    (found,) = (f for f in check(rig, saved_context(rig, home)) if f.rule == "memory.fits-closely")
    assert "smaller context" in found.hint
    assert "enforce_eager" not in found.hint
