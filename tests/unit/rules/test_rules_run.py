"""All rules: ids that are addresses, and no valid rig that breaks one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rigspec.catalog.gpus import all_gpus
from rigspec.catalog.models import load_model_facts
from rigspec.finding import Severity, has_errors
from rigspec.report.findings import as_records
from rigspec.rules.context import CheckContext
from rigspec.rules.run import RULES, check, check_file, rule_id
from rigspec.spec.rig import Rig
from rigspec.spec.source import parse

ROOT = Path(__file__).resolve().parents[3]
ERRORS = ROOT / "tests" / "errors"

SKUS = [*(gpu.sku for gpu in all_gpus()), "unknown-card", "mi300x"]
REFS = st.sampled_from(["a", "b", "a.0", "a.1", "b.0", "b.9", "zz", "zz.3"])
FACTS = {
    name: load_model_facts(name, (ERRORS / "models",))
    for name in ("Qwen/Qwen3.6-27B-FP8", "Example/Odd-KV-Heads", "Example/Llama-70B-BF16")
}


def refs(least: int = 0) -> st.SearchStrategy[list[str]]:
    return st.lists(REFS, min_size=least, max_size=3)


def some(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Any of these optional fields."""
    return st.fixed_dictionaries({}, optional=fields)


@st.composite
def switch(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    below = st.lists(switch(depth=depth - 1), max_size=2) if depth else st.just([])
    made: dict[str, Any] = draw(
        st.fixed_dictionaries(
            {
                "name": st.sampled_from(["s", "t", "u"]),
                "model": st.sampled_from(["generic", "pm40100", "nobody-knows"]),
                "generation": st.integers(1, 6),
                "upstream_width": st.sampled_from([1, 4, 8, 16]),
                "downstream_width": st.sampled_from([1, 8, 16]),
                "gpus": refs(),
                "switches": below,
            }
        )
    )
    return made


GROUP = st.fixed_dictionaries(
    {"sku": st.sampled_from(SKUS), "count": st.integers(1, 16)},
    optional={
        "power_limit_w": st.integers(1, 2000),
        "slots": st.lists(st.sampled_from(["01:00.0", "0000:01:00.0", "41:00.0"]), max_size=3),
        "uuids": st.lists(
            st.sampled_from(["GPU-0c5b7a1e-1111-2222-3333-444455556666"]), max_size=2
        ),
    },
)
PSU = st.fixed_dictionaries(
    {"name": st.sampled_from(["p", "q"]), "watts": st.integers(100, 10000), "gpus": refs()},
    optional={"count": st.integers(1, 8), "feeds_host": st.booleans()},
)
WORDS = st.sampled_from(
    ["--api-key", "--api-key=x", "-tp", "4", "--seed", "{", "--config=", "hf_abcdefghijkl", "é",
     "--max_model_len", "--speculative-config", "--", "-"]
)  # fmt: skip
SERVICE = st.fixed_dictionaries(
    {
        "engine": st.sampled_from(["vllm", "sglang", "llama_cpp"]),
        "image": st.sampled_from(
            ["vllm/vllm-openai:v0.33.0", "own/image", f"own/image@sha256:{'a' * 64}"]
        ),
        "model": st.sampled_from(["m", "n", "nobody"]),
        "gpus": refs(1),
        "listen": st.fixed_dictionaries(
            {
                "address": st.sampled_from(["127.0.0.1", "::", "0.0.0.0", "8.8.8.8", "1.2", ":"]),  # noqa: S104
                "port": st.sampled_from([22, 8000, 8001]),
            }
        ),
    },
    optional={
        "engine_version": st.sampled_from(["0.33.0", "0.1", "b11434", "nightly"]),
        "cuda": st.sampled_from(["13.0", "19.9", "12.8"]),
        "instead_of": st.lists(st.sampled_from(["x", "y", "w"]), max_size=2),
        "tensor_parallel_size": st.integers(1, 16),
        "pipeline_parallel_size": st.integers(1, 4),
        "decode_context_parallel_size": st.integers(1, 4),
        "expert_parallel": st.booleans(),
        "context_length": st.integers(1, 10**9),
        "gpu_memory_fraction": st.floats(0.01, 0.99),
        "max_sequences": st.integers(1, 10**6),
        "max_batched_tokens": st.integers(1, 10**6),
        "kv_cache_dtype": st.sampled_from(["fp8", "auto", "nonsense"]),
        "quantization": st.sampled_from(["fp8", "nonsense"]),
        "speculative": st.fixed_dictionaries(
            {"method": st.sampled_from(["mtp", "eagle3", "x"]), "tokens": st.integers(1, 32)},
            optional={
                "model": st.sampled_from(["m", "nobody", ""]),
                "options": st.just({"a": {"b": "1"}}),
            },
        ),
        "split_mode": st.sampled_from(["layer", "tensor"]),
        "api_key_env": st.sampled_from(["KEY", "HF_TOKEN"]),
        "environment": st.dictionaries(
            st.sampled_from(
                ["NCCL_P2P_LEVEL", "NCCL_P2P_DISABLE", "HF_TOKEN", "VLLM_X", "CUDA_DEVICE_ORDER",
                 "PYTORCH_CUDA_ALLOC_CONF"]
            ),
            st.sampled_from(["", "1", "sys", "expandable_segments:True", "hf_abcdefghijkl"]),
            max_size=3,
        ),
        "extra_args": st.lists(WORDS, max_size=5),
    },
)  # fmt: skip
MODEL = some(
    hub=st.sampled_from(list(FACTS)),
    revision=st.sampled_from(["main", "e" * 40]),
    accept_moving_revision=st.booleans(),
    path=st.sampled_from(["/m", "/m.gguf", "/"]),
    storage=st.sampled_from(["s", "nobody"]),
    file=st.just("q.gguf"),
    include=st.lists(st.sampled_from(["*.gguf", "**"]), max_size=2),
    token_env=st.just("HF_TOKEN"),
)
RIG = st.fixed_dictionaries(
    {
        "rigspec": st.just("1"),
        "name": st.just("r"),
        "host": st.fixed_dictionaries(
            {
                "os": st.sampled_from(["debian-12", "debian-13", "ubuntu-22.04", "ubuntu-24.04"]),
                "cpu": st.sampled_from(["amd", "intel"]),
            },
            optional={
                "user": st.sampled_from(["root", "rig"]),
                "sudo": st.booleans(),
                "logical_cpus": st.integers(1, 8192),
            },
        ),
        "gpus": st.dictionaries(st.sampled_from(["a", "b", "c"]), GROUP, min_size=1),
        "pcie": st.fixed_dictionaries(
            {"generation": st.integers(1, 6)},
            optional={
                "width": st.sampled_from([1, 8, 16]),
                "direct": st.lists(
                    st.fixed_dictionaries(
                        {"gpus": refs(1)}, optional={"generation": st.integers(1, 6)}
                    ),
                    max_size=2,
                ),
                "switches": st.lists(switch(), max_size=2),
                "acs": st.sampled_from(["keep", "off_on_gpu_paths"]),
                "peer_to_peer": st.booleans(),
            },
        ),
        "kernel": some(
            iommu=st.sampled_from(["off", "pt", "on"]),
            arguments=st.lists(
                st.sampled_from(
                    ["pci=noacs", "pci=", "pci=a,b=c", "iommu=pt", "x", "quiet", "a=b=c", "panic=0"]
                ),
                max_size=4,
            ),
            module_options=st.just({"nvidia": {"x": "", "NVreg_RegistryDwords": "1"}, "zfs": {}}),
        ),
        "power": st.fixed_dictionaries(
            {
                "circuit": st.fixed_dictionaries(
                    {"volts": st.integers(100, 480), "amps": st.floats(0.1, 200)},
                    optional={"phases": st.integers(1, 3)},
                ),
                "psus": st.lists(PSU, min_size=1, max_size=3),
                "base_load_w": st.integers(0, 5000),
            }
        ),
        "driver": st.fixed_dictionaries(
            {"branch": st.integers(450, 999)},
            optional={
                "version": st.sampled_from(["595.71.05", "580.65", "450.80.02"]),
                "flavour": st.sampled_from(["auto", "open", "proprietary"]),
                "secure_boot": st.sampled_from(["on", "off"]),
            },
        ),
        "containers": some(engine=st.sampled_from(["docker", "podman"])),
        "storage": st.dictionaries(
            st.sampled_from(["s", "t"]),
            st.fixed_dictionaries({"path": st.sampled_from(["/", "/srv/m", "/srv/m/n", "//x/.."])}),
        ),
        "models": st.dictionaries(st.sampled_from(["m", "n"]), MODEL),
        "services": st.dictionaries(st.sampled_from(["x", "y", "w"]), SERVICE, max_size=3),
    },
    optional={
        "board": st.fixed_dictionaries({"model": st.sampled_from(["romed8-2t", "nobody-knows"])})
    },
)


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(RIG)
def test_no_valid_rig_breaks_a_rule(data: dict[str, Any]) -> None:
    rig = Rig.model_validate(data)
    known = {n: f for n, m in rig.models.items() if (f := FACTS.get(m.hub or "")) is not None}
    ids = {rule_id(rule) for rule in RULES}
    found = check(rig, CheckContext(models=known))
    assert {f.rule for f in found} <= ids
    source = parse("x", "a: 1\n")[0]
    assert len(as_records(found, source)) == len(found)


def test_rule_ids_are_addresses_and_unique() -> None:
    ids = [rule_id(rule) for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z]+\.[a-z0-9-]+", i) for i in ids)


@pytest.mark.parametrize("rule", RULES, ids=rule_id)
def test_each_rule_speaks_under_its_own_id(rule: Any) -> None:
    source = Path(rule.__code__.co_filename).read_text(encoding="utf-8")
    assert f'"{rule_id(rule)}"' in source


@pytest.mark.parametrize("rule", RULES, ids=rule_id)
def test_each_rule_says_in_one_sentence_what_must_hold(rule: Any) -> None:
    assert (rule.__doc__ or "").strip().endswith(".")


SEEN_ELSEWHERE = {"board.warm-reboot-fails"}
"""No board of ours is known to lose GPUs; `test_rules_board.py` brings one of the owner's."""


def test_every_rule_is_seen_in_an_error_case() -> None:
    seen = set()
    for golden in ERRORS.glob("*.txt"):
        seen |= set(re.findall(r"  \[([a-z]+\.[a-z0-9-]+)\]$", golden.read_text(), re.MULTILINE))
    assert {rule_id(rule) for rule in RULES} - SEEN_ELSEWHERE <= seen


def test_shipped_rigs_have_no_errors_and_only_the_warnings_they_deserve() -> None:
    # the guide serves 460,000 tokens with a fork of vLLM whose buffers nobody has published
    deserved = {"home": {"memory.fits-closely"}, "starter": set()}
    for name, rules in deserved.items():
        loaded = check_file(str(ROOT / "rigs" / f"{name}.yaml"))
        assert not has_errors(loaded.findings)
        assert {f.rule for f in loaded.findings if f.severity is not Severity.NOTE} == rules


STARTER = ROOT / "rigs" / "starter.yaml"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("tensor_parallel_size: 2", "tensor_parallel_size: 3", "parallel.world-size"),
        ("context_length: 32768", "context_length: 1000000", "engine.context-beyond-model"),
    ],
)
def test_a_number_that_cannot_stay_is_one_error(
    old: str, new: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "models").symlink_to(ROOT / "rigs" / "models")
    spec = tmp_path / "starter.yaml"
    spec.write_text(STARTER.read_text().replace(old, new, 1))
    found = [f.rule for f in check_file(str(spec)).findings if f.severity is Severity.ERROR]
    assert found == [said]


def test_a_shape_that_is_refused_on_the_right_number_of_cards_is_said(tmp_path: Path) -> None:
    (tmp_path / "models").symlink_to(ROOT / "rigs" / "models")
    spec = tmp_path / "starter.yaml"
    text = STARTER.read_text().replace("tensor_parallel_size: 2", "tensor_parallel_size: 3", 1)
    spec.write_text(text.replace("count: 2", "count: 3", 1))
    rules = {f.rule for f in check_file(str(spec)).findings}
    assert {"parallel.kv-heads-divide", "memory.shape-accepted"} <= rules
