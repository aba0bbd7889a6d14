"""Flags and variables of an engine: what a field decides, and what another engine knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rigspec.catalog.flag_table import load_flags
from rigspec.finding import Finding
from rigspec.rules.context import CheckContext
from rigspec.rules.environment import field_by_variable
from rigspec.rules.flags import FIELD_FLAGS, flag_accepted, variable_known
from rigspec.rules.overrides import words_taken
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
IMAGES = {
    "vllm": "docker.io/vllm/vllm-openai:v0.33.0",
    "llama_cpp": "ghcr.io/ggml-org/llama.cpp:server-cuda-b11434",
}
SGLANG = "docker.io/lmsysorg/sglang:v0.5.23"


def serving(**service: Any) -> Rig:
    """One service on the cards of the starter."""
    head = (ROOT / "rigs/starter.yaml").read_text().partition("\nservices:")[0]
    image = IMAGES.get(service["engine"], "")
    common = {"model": "qwen", "gpus": ["pair"], "listen": {"port": 8000}, "image": image}
    text = f"{head}\n{yaml.safe_dump({'services': {'one': common | service}})}"
    loaded = load_text("rig.yaml", text)
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


def hints(found: list[Finding]) -> list[str]:
    return [finding.hint for finding in found]


@pytest.mark.parametrize(
    ("engine", "words", "hint"),
    [
        ("vllm", ["--n-cpu-moe", "12"], "it is a flag of llama_cpp: delete it"),
        (
            "vllm",
            ["--mem-fraction-static", "0.8"],
            "it is a flag of sglang: delete it and set `gpu_memory_fraction`",
        ),
        (
            "llama_cpp",
            ["--max-model-len", "8192"],
            "it is a flag of vllm: delete it and set `context_length`",
        ),
        ("llama_cpp", ["--gpu-memory-utilization", "0.9"], "it is a flag of vllm: delete it"),
    ],
)
def test_a_flag_of_another_engine_is_called_that(engine: str, words: list[str], hint: str) -> None:
    found = list(flag_accepted(serving(engine=engine, extra_args=words), CheckContext()))
    assert hint in hints(found)


def test_a_slip_is_still_answered_with_the_nearest_flag() -> None:
    rig = serving(engine="vllm", extra_args=["--enable-prefix-cachin"])
    (hint,) = hints(list(flag_accepted(rig, CheckContext())))
    assert "--enable-prefix-caching" in hint


def test_a_variable_that_counts_nothing_is_refused_where_it_stands() -> None:
    told = {"LLAMA_ARG_N_CPU_MOE": "a few"}
    (finding,) = variable_known(serving(engine="llama_cpp", environment=told), CheckContext())
    assert finding.severity == "error"
    assert finding.path == ("services", "one", "environment", "LLAMA_ARG_N_CPU_MOE")
    assert "needs a whole number, 0 or more, not `a few`" in finding.message


VARIABLES = {
    "--model": "MODEL", "--hf-repo": "HF_REPO", "--alias": "ALIAS", "--host": "HOST",
    "--port": "PORT", "--ctx-size": "CTX_SIZE", "--parallel": "N_PARALLEL",
    "--batch-size": "BATCH", "--cache-type-k": "CACHE_TYPE_K", "--cache-type-v": "CACHE_TYPE_V",
    "--n-gpu-layers": "N_GPU_LAYERS", "--split-mode": "SPLIT_MODE", "--device": "DEVICE",
    "--spec-type": "SPEC_TYPE", "--model-url": "MODEL_URL", "--docker-repo": "DOCKER_REPO",
    "--models-dir": "MODELS_DIR", "--models-preset": "MODELS_PRESET", "--hf-file": "HF_FILE",
    "--gpu-layers": "N_GPU_LAYERS",
}  # fmt: skip
"""`llama-server --help` of b11434 names the variable beside each flag."""


def test_every_flag_of_llama_cpp_that_has_a_field_has_it_by_variable_too() -> None:
    fields = {flag: field for flag, field in FIELD_FLAGS["llama_cpp"].items() if flag[:2] == "--"}
    assert set(fields) == set(VARIABLES)
    told = {f"LLAMA_ARG_{VARIABLES[flag]}": "1" for flag in fields}
    found = list(field_by_variable(serving(engine="llama_cpp", environment=told), CheckContext()))
    decided = {str(finding.path[-1]): finding.message for finding in found}
    for flag, field in fields.items():
        assert decided[f"LLAMA_ARG_{VARIABLES[flag]}"].endswith(f"is decided by `{field}`")


@pytest.mark.parametrize("engine", FIELD_FLAGS)
def test_a_flag_that_a_field_decides_is_known_by_all_its_names(engine: str) -> None:
    fields, table = FIELD_FLAGS[engine], load_flags(engine).by_name
    for flag in fields.keys() & table.keys():
        assert {fields.get(name) for name in table[flag][0].names} == {fields[flag]}


@pytest.mark.parametrize(
    ("engine", "variable", "reader"),
    [
        ("vllm", "LLAMA_ARG_CTX_SIZE", "llama_cpp"),
        ("llama_cpp", "VLLM_PORT", "vllm"),
        ("vllm", "SGLANG_PORT", "sglang"),
    ],
)
def test_a_variable_of_another_engine_is_never_read(
    engine: str, variable: str, reader: str
) -> None:
    rig = serving(engine=engine, environment={variable: "512"})
    (finding,) = field_by_variable(rig, CheckContext())
    assert finding.severity == "warning"
    assert finding.message == f"`{variable}` is a variable of {reader}; {engine} never reads it"


def test_a_joined_flag_of_another_engine_is_called_that_at_once() -> None:
    rig = serving(engine="llama_cpp", extra_args=["--mem-fraction-static=0.5"])
    assert hints(list(flag_accepted(rig, CheckContext()))) == ["it is a flag of sglang: delete it"]


def test_a_flag_of_another_engine_may_be_written_with_underscores() -> None:
    rig = serving(engine="sglang", image=SGLANG, extra_args=["--max_model_len", "4096"])
    found = hints(list(flag_accepted(rig, CheckContext())))
    assert "it is a flag of vllm: delete it and set `context_length`" in found


@pytest.mark.parametrize(
    ("variable", "value", "severity"),
    [
        ("CPU_MOE", "1", None),
        ("CPU_MOE", "off", None),  # turns nothing on, as it says
        ("CPU_MOE", "yes", "warning"),
        ("CPU_MOE", "True", "warning"),
        ("KV_OFFLOAD", "disabled", None),
        ("KV_OFFLOAD", "no", "error"),
        ("KV_OFFLOAD", "", "error"),
        ("NO_KV_OFFLOAD", "1", None),
        ("NO_KV_OFFLOAD", "0", "warning"),  # off all the same
        ("NO_KV_OFFLOAD", "", "warning"),
        ("NO_UBATCH", "1", "warning"),  # nothing that can be turned off
        ("NO_ESCAPE", "1", "warning"),  # a flag alone: no variable turns it off
        ("UBATCH", "1024", None),
        ("UBATCH", "x", "error"),
        ("UBATCH", "-5", "error"),
    ],
)
def test_the_words_of_a_variable_are_llama_cpp_s_own(
    variable: str, value: str, severity: str | None
) -> None:
    rig = serving(engine="llama_cpp", environment={f"LLAMA_ARG_{variable}": value})
    found = list(variable_known(rig, CheckContext()))
    assert [finding.severity for finding in found] == ([severity] if severity else [])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("exps=CPU", ""),
        ("exps=CUDA1,attn=CUDA0", ""),
        (r"blk\.(?:[0-9]|1[0-2])\.ffn_.*_exps\.=CPU", ""),
        (r"\(?P=CPU", ""),  # a parenthesis that may be there
        ("a**=CPU", ""),  # std::regex takes what Python does not
        ("=CPU", ""),  # everything
        ("exps", "`exps` names no buffer type"),
        ("exps=", "llama.cpp has no buffer type `` here"),
        ("exps=CUDA2", "llama.cpp has no buffer type `CUDA2` here"),  # of two cards
        ("exps=CUDA_Host", "llama.cpp has no buffer type `CUDA_Host` here"),
        ("exps=CPU ,a=CPU", "llama.cpp has no buffer type `CPU ` here"),
        ("", "a word between its commas is empty"),
        ("exps=CPU,", "a word between its commas is empty"),
        ("[a-=CPU", "`[a-` is no expression: unterminated character set"),
        (
            r"blk\.{0..9}=CPU",
            r"`blk\.{0..9}` is no expression: a `{` begins a count, such as `{2}`",
        ),
        (r"blk\.[0-9]{2}\.ffn\{[{]=CPU", ""),
        ("[[:digit:]]+exps=CPU", ""),  # classes that Python does not know
        ("*exps=CPU", "`*exps` is no expression: nothing to repeat"),
        (
            "(?<!x)y=CPU",
            "`(?<!x)y` is no expression: ECMAScript, in which it is written, has no `(?<`",
        ),
    ],
)
def test_what_ends_llama_cpp_at_a_word_of_override_tensor_is_refused(words: str, said: str) -> None:
    for told in (
        {"environment": {"LLAMA_ARG_OVERRIDE_TENSOR": words}},
        *([{"extra_args": ["-ot", words]}] if words else []),
    ):
        found = list(words_taken(serving(engine="llama_cpp", **told), CheckContext()))
        assert [finding.message for finding in found] == ([said] if said else [])
        assert all(finding.severity == "error" for finding in found)


def test_a_patched_llama_cpp_may_have_buffers_of_its_own() -> None:
    rig = serving(engine="llama_cpp", image="example/fork:v1", extra_args=["-ot", "exps=Fast"])
    (finding,) = words_taken(rig, CheckContext())
    assert finding.severity == "warning"
    other = serving(engine="llama_cpp", extra_args=["--override_tensor", "exps=Fast"])
    (finding,) = words_taken(other, CheckContext())
    assert finding.severity == "error"
    remote = serving(engine="llama_cpp", extra_args=["--rpc", "host:1", "-ot", "exps=RPC0"])
    assert not list(words_taken(remote, CheckContext()))
