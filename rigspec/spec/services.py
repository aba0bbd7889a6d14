"""`services`: one inference server each."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    Field,
    PlainSerializer,
    StringConstraints,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)

from rigspec.spec.base import AbsolutePath, GpuRef, JsonObject, Name, Port, Section
from rigspec.spec.models import EnvName

Positive = Annotated[int, Field(ge=1)]
AUTO = -1
"""`context_length: auto`; the number is vLLM's own for it."""


def _or_auto(value: Any, read: ValidatorFunctionWrapHandler) -> Any:
    return AUTO if value in ("auto", "Auto", "AUTO", str(AUTO)) else read(value)


ContextLength = Annotated[
    int,
    Field(ge=1),
    WrapValidator(_or_auto),
    PlainSerializer(lambda tokens: "auto" if tokens == AUTO else tokens),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"enum": ["auto", AUTO]}]}),
]
ParallelSize = Annotated[int, Field(ge=1, le=16)]
ImageRef = Annotated[
    str,
    StringConstraints(
        pattern=r"^[a-z0-9][A-Za-z0-9._/:-]{0,200}(@sha256:[0-9a-f]{64})?$", max_length=300
    ),
]
Token = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.:/-]+$", max_length=64)]
ServedName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,95}$")]
Argument = Annotated[str, StringConstraints(min_length=1, pattern=r"^[^\x00-\x1f\x7f]+$")]
EnvValue = Annotated[str, StringConstraints(pattern=r"^[^\x00-\x1f\x7f]*$")]


class Listen(Section):
    """Where the API answers."""

    address: Annotated[str, StringConstraints(pattern=r"^[0-9a-fA-F.:]+$")] = Field(
        default="127.0.0.1",
        description="IP address to listen on. Anything but loopback needs `api_key_env`.",
    )
    port: Port = Field(description="TCP port.")


class Speculative(Section):
    """Speculative decoding: a draft guesses, the model checks."""

    method: Token = Field(description="Engine's name of the method, for example `mtp`.")
    tokens: Annotated[int, Field(ge=1, le=32)] = Field(description="Draft tokens per step.")
    model: str | None = Field(
        default=None, description="Draft model: a name below `models`, where the method needs one."
    )
    acceptance: Annotated[float, Field(ge=0, le=1)] | None = Field(
        default=None,
        description="Share of draft tokens accepted, as measured by you; speed predictions need "
        "it.",
    )
    options: JsonObject = Field(
        default_factory=dict, description="Further keys of the engine's speculative JSON."
    )


class Service(Section):
    """One inference server in a container, run by systemd."""

    engine: Literal["vllm", "sglang", "llama_cpp"] = Field(description="Inference engine.")
    image: ImageRef = Field(
        description="Container image, pinned as `name@sha256:…` or `name:tag@sha256:…`."
    )
    accept_moving_tag: bool = Field(
        default=False,
        description="Consent to an image without digest: the same spec may then run other code "
        "tomorrow.",
    )
    engine_version: (
        Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][A-Za-z0-9_.+-]*$")] | None
    ) = Field(
        default=None,
        description="Engine version inside the image; flags are checked against it.",
    )
    cuda: Annotated[str, StringConstraints(pattern=r"^1[0-9]\.[0-9]$")] | None = Field(
        default=None, description="CUDA version the image was built with; sets the driver floor."
    )
    model: Name = Field(description="Which of `models` it serves.")
    gpus: tuple[GpuRef, ...] = Field(
        min_length=1, description="Groups or members it uses, in order."
    )
    instead_of: tuple[Name, ...] = Field(
        default=(),
        description="Services that cannot run at the same time: starting this one stops them, and "
        "it is not started at boot.",
    )
    tensor_parallel_size: ParallelSize = Field(default=1, description="Tensor parallel size (TP).")
    pipeline_parallel_size: ParallelSize = Field(
        default=1, description="Pipeline parallel size (PP)."
    )
    data_parallel_size: ParallelSize = Field(default=1, description="Data parallel size (DP).")
    decode_context_parallel_size: ParallelSize = Field(
        default=1, description="Decode context parallel size (DCP); reuses the TP ranks."
    )
    expert_parallel: bool = Field(
        default=False, description="Spread experts over the ranks instead of slicing each."
    )
    context_length: ContextLength | None = Field(
        default=None,
        description="Longest sequence in tokens (default: the model's own); `auto` or -1: the "
        "longest that the cache holds, found by vLLM itself (from 0.14).",
    )
    gpu_memory_fraction: Annotated[float, Field(gt=0, le=0.99)] | None = Field(
        default=None,
        description="Share of each card's memory the engine may use (vLLM "
        "`--gpu-memory-utilization`, SGLang `--mem-fraction-static`).",
    )
    max_sequences: Positive | None = Field(
        default=None, description="Sequences decoded at the same time."
    )
    max_batched_tokens: Positive | None = Field(
        default=None, description="Tokens per forward pass (prefill chunk)."
    )
    kv_cache_dtype: Token | None = Field(default=None, description="Type of the KV cache.")
    quantization: Token | None = Field(
        default=None, description="Quantization, where the checkpoint does not say it itself."
    )
    speculative: Speculative | None = Field(default=None, description="Speculative decoding.")
    tool_call_parser: Token | None = Field(
        default=None, description="Tool call parser; also turns automatic tool choice on."
    )
    reasoning_parser: Token | None = Field(default=None, description="Reasoning parser.")
    trust_remote_code: bool = Field(
        default=False, description="Run Python code that comes with the weights."
    )
    disable_custom_all_reduce: bool = Field(
        default=False, description="Use NCCL instead of the engine's own all-reduce."
    )
    enforce_eager: bool = Field(default=False, description="No CUDA graphs.")
    split_mode: Literal["layer", "row", "tensor", "none"] | None = Field(
        default=None, description="llama.cpp: how several GPUs share the model."
    )
    gpu_layers: Annotated[int, Field(ge=0)] | None = Field(
        default=None, description="llama.cpp: layers on the GPUs (default: all)."
    )
    served_names: tuple[ServedName, ...] = Field(
        default=(), description="Model names the API answers to (default: the service's name)."
    )
    listen: Listen = Field(description="Where the API answers.")
    api_key_env: EnvName | None = Field(
        default=None,
        description="Environment variable on your machine that holds the API key; it reaches the "
        "host as a root-only file, never as an argument.",
    )
    environment: dict[
        Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], EnvValue
    ] = Field(default_factory=dict, description="Environment of the engine. No secrets here.")
    extra_args: tuple[Argument, ...] = Field(
        default=(),
        description="Further engine flags, one word per entry; checked against the engine's own "
        "flag list.",
    )
    mounts: dict[AbsolutePath, AbsolutePath] = Field(
        default_factory=dict,
        description="Further files and folders of the host that the engine reads, for example chat "
        "templates and LoRA adapters: path on the host to path in the container, read-only. They "
        "must be there; rigspec does not copy them.",
    )
    shm_gib: Annotated[int, Field(ge=1, le=512)] = Field(
        default=16, description="Shared memory of the container, GiB (NCCL needs it)."
    )
    start_timeout_s: Annotated[int, Field(ge=30, le=7200)] = Field(
        default=1800, description="How long it may take until it answers, seconds."
    )
