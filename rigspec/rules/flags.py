"""Engine flags against the engine's own list: `extra_args`, and the values the spec names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING

from rigspec.finding import Finding, Path, Severity, error
from rigspec.frozen import dataclass
from rigspec.rules.context import CheckContext
from rigspec.rules.images import is_stock, version_told
from rigspec.spec.rig import Rig
from rigspec.spec.secrets import hide_tokens
from rigspec.spec.services import Service

if TYPE_CHECKING:
    from rigspec.catalog.flag_problems import FlagProblem

FIELD_FLAGS: dict[str, dict[str, str]] = {
    "vllm": {
        "--model": "model",
        "--revision": "models.NAME.revision",
        "--served-model-name": "served_names",
        "--host": "listen.address",
        "--port": "listen.port",
        "--tensor-parallel-size": "tensor_parallel_size",
        "-tp": "tensor_parallel_size",
        "--pipeline-parallel-size": "pipeline_parallel_size",
        "-pp": "pipeline_parallel_size",
        "--data-parallel-size": "data_parallel_size",
        "-dp": "data_parallel_size",
        "--decode-context-parallel-size": "decode_context_parallel_size",
        "-dcp": "decode_context_parallel_size",
        "--enable-expert-parallel": "expert_parallel",
        "-ep": "expert_parallel",
        "--max-model-len": "context_length",
        "--gpu-memory-utilization": "gpu_memory_fraction",
        "--device-memory-utilization": "gpu_memory_fraction",
        "--max-num-seqs": "max_sequences",
        "--max-num-batched-tokens": "max_batched_tokens",
        "--kv-cache-dtype": "kv_cache_dtype",
        "--quantization": "quantization",
        "-q": "quantization",
        "--speculative-config": "speculative",
        "-sc": "speculative",
        "--tool-call-parser": "tool_call_parser",
        "--enable-auto-tool-choice": "tool_call_parser",
        "--reasoning-parser": "reasoning_parser",
        "--trust-remote-code": "trust_remote_code",
        "--disable-custom-all-reduce": "disable_custom_all_reduce",
        "--enforce-eager": "enforce_eager",
        "--device-ids": "gpus",
    },
    "sglang": {
        "--model-path": "model",
        "--model": "model",
        "--served-model-name": "served_names",
        "--host": "listen.address",
        "--port": "listen.port",
        "--tp-size": "tensor_parallel_size",
        "--tp": "tensor_parallel_size",
        "--tensor-parallel-size": "tensor_parallel_size",
        "--pp-size": "pipeline_parallel_size",
        "--pipeline-parallel-size": "pipeline_parallel_size",
        "--dp-size": "data_parallel_size",
        "--data-parallel-size": "data_parallel_size",
        "--dcp-size": "decode_context_parallel_size",
        "--decode-context-parallel-size": "decode_context_parallel_size",
        "--ep-size": "expert_parallel",
        "--expert-parallel-size": "expert_parallel",
        "--ep": "expert_parallel",
        "--context-length": "context_length",
        "--mem-fraction-static": "gpu_memory_fraction",
        "--max-running-requests": "max_sequences",
        "--chunked-prefill-size": "max_batched_tokens",
        "--kv-cache-dtype": "kv_cache_dtype",
        "--quantization": "quantization",
        "--speculative-algorithm": "speculative.method",
        "--tool-call-parser": "tool_call_parser",
        "--reasoning-parser": "reasoning_parser",
        "--trust-remote-code": "trust_remote_code",
        "--disable-custom-all-reduce": "disable_custom_all_reduce",
        "--disable-cuda-graph": "enforce_eager",
        "--base-gpu-id": "gpus",
    },
    "llama_cpp": {
        "--model": "model",
        "-m": "model",
        "--model-url": "model",
        "-mu": "model",
        "--docker-repo": "model",
        "-dr": "model",
        "--models-dir": "model",
        "--models-preset": "model",
        "-hf": "models.NAME.hub",
        "-hfr": "models.NAME.hub",
        "--hf-repo": "models.NAME.hub",
        "--hf-file": "models.NAME.file",
        "-hff": "models.NAME.file",
        "--alias": "served_names",
        "-a": "served_names",
        "--host": "listen.address",
        "--port": "listen.port",
        "--ctx-size": "context_length",
        "-c": "context_length",
        "--parallel": "max_sequences",
        "-np": "max_sequences",
        "--batch-size": "max_batched_tokens",
        "-b": "max_batched_tokens",
        "--cache-type-k": "kv_cache_dtype",
        "-ctk": "kv_cache_dtype",
        "--cache-type-v": "kv_cache_dtype",
        "-ctv": "kv_cache_dtype",
        "--n-gpu-layers": "gpu_layers",
        "--gpu-layers": "gpu_layers",
        "-ngl": "gpu_layers",
        "--split-mode": "split_mode",
        "-sm": "split_mode",
        "--device": "gpus",
        "-dev": "gpus",
        "--spec-type": "speculative.method",
    },
}
"""Flags that the spec has a field for, as the engine spells them."""

_VALUE_FLAGS = {
    "vllm": {
        "kv_cache_dtype": "--kv-cache-dtype",
        "quantization": "--quantization",
        "tool_call_parser": "--tool-call-parser",
        "reasoning_parser": "--reasoning-parser",
    },
    "sglang": {
        "kv_cache_dtype": "--kv-cache-dtype",
        "quantization": "--quantization",
        "tool_call_parser": "--tool-call-parser",
        "reasoning_parser": "--reasoning-parser",
    },
    "llama_cpp": {"kv_cache_dtype": "--cache-type-k"},
}
_FIRST = {
    "vllm": ("/models/m",),
    "sglang": ("--model-path", "/models/m"),
    "llama_cpp": ("--model", "/models/m.gguf"),
}


def flag_of_a_field(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A flag that a field of the spec decides."""
    for name, service in rig.services.items():
        for i, word in enumerate(service.extra_args):
            flag = word.partition("=")[0]
            flag = flag.replace("_", "-") if flag.startswith("--") else flag
            field = FIELD_FLAGS[service.engine].get(flag)
            if field:
                yield error(
                    "flags.flag-of-a-field",
                    ("services", name, "extra_args", i),
                    f"`{flag}` is decided by `{field}`",
                    why="the flag would stand twice, and checks and sizes would look at the field",
                    hint=f"delete it and set `{field}`",
                )


def flag_accepted(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The engine knows these flags and takes these values."""
    from rigspec.catalog.engine_flags import check_argv  # its tables are large

    for name, service in rig.services.items():
        line = _command_line(name, service)
        lenient = not is_stock(service.engine, service.image)
        problems = check_argv(
            service.engine, version_told(service), [w.text for w in line], lenient_image=lenient
        )
        for problem in problems:
            if problem.kind == "secret" or (lenient and problem.kind in ("registry", "suggested")):
                continue
            known = 0 <= problem.index < len(line)
            path = line[problem.index].path if known else ("services", name)
            yield Finding(
                problem.severity,
                "flags.flag-accepted",
                path,
                hide_tokens(problem.message),
                why=_how_sure(service, lenient, problem.severity),
                hint=_elsewhere(service, problem) or hide_tokens(problem.hint),
            )


def _elsewhere(service: Service, problem: FlagProblem) -> str:
    """What to write for a flag of another engine; empty where it is none."""
    from rigspec.catalog.flag_table import load_flags

    if problem.kind != "unknown":
        return ""
    flag = problem.flag.replace("_", "-")
    for other, fields in FIELD_FLAGS.items():
        if flag in load_flags(other).by_name:
            field = fields.get(flag, "")
            also = f" and set `{field}`" if field in FIELD_FLAGS[service.engine].values() else ""
            return f"it is a flag of {other}: delete it{also}"
    return ""


def variable_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The engine knows these variables, where it ignores others without a message, and takes these
    values."""
    from rigspec.catalog.engine_flags import check_env  # its tables are large

    for name, service in rig.services.items():
        if not service.environment or not is_stock(service.engine, service.image):
            continue  # a patched engine has variables of its own
        for problem in check_env(service.engine, service.environment, version_told(service)):
            yield Finding(
                problem.severity,
                "flags.variable-known",
                ("services", name, "environment", problem.flag),
                hide_tokens(problem.message),
                hint=problem.hint,
            )


@dataclass(frozen=True)
class _Word:
    """One word of the command line and the place in the spec it came from."""

    text: str
    path: Path


def _command_line(name: str, service: Service) -> list[_Word]:
    """As much of the command line as can be wrong: named values, then `extra_args`."""
    here: Path = ("services", name)
    line = [_Word(word, (*here, "model")) for word in _FIRST[service.engine]]
    for field, flag in _VALUE_FLAGS[service.engine].items():
        value = getattr(service, field)
        if value is not None:
            line += [_Word(flag, (*here, field)), _Word(value, (*here, field))]
    line += [_Word(w, (*here, "speculative", "method")) for w in _speculative(service)]
    if service.split_mode is not None and service.engine == "llama_cpp":
        words = ("--split-mode", service.split_mode)
        line += [_Word(w, (*here, "split_mode")) for w in words]
        if service.context_length is not None:
            size = ("--ctx-size", str(service.context_length))
            line += [_Word(w, (*here, "context_length")) for w in size]
    line += [_Word(w, (*here, "extra_args", i)) for i, w in enumerate(service.extra_args)]
    return line


def _speculative(service: Service) -> tuple[str, ...]:
    wanted = service.speculative
    if wanted is None:
        return ()
    if service.engine == "vllm":
        config: dict[str, object] = {
            "method": wanted.method,
            "num_speculative_tokens": wanted.tokens,
            **wanted.options,
        }
        return ("--speculative-config", json.dumps(config))
    if service.engine == "sglang":
        return ("--speculative-algorithm", wanted.method.upper())
    return ("--spec-type", wanted.method)


def _how_sure(service: Service, lenient: bool, severity: Severity) -> str:
    """What the judgement rests on, where it is softer than the engine's own."""
    if severity is Severity.ERROR:
        return ""
    if lenient:
        return "this image is not the project's own: a patched engine may know it"
    if version_told(service) is None:
        return (
            "neither `engine_version` nor the image's tag says the version, so the newest known "
            "flag list was used"
        )
    return ""
