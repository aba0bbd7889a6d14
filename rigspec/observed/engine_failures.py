"""Why an engine did not start: its own words, sorted into what the owner can do about it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import StrEnum

from rigspec.frozen import dataclass
from rigspec.observed.record import Record


class FailureKind(StrEnum):
    """What kind of refusal a line is."""

    KV_NONE = "no-memory-for-kv"
    CONTEXT_TOO_LONG = "context-does-not-fit"
    MEMORY_TAKEN = "memory-taken-by-others"
    OUT_OF_MEMORY = "out-of-memory"
    SHAPE = "shape"
    ARGUMENT = "argument"
    MODEL = "model-files"
    PORT = "port-in-use"
    NO_GPU = "no-gpu"
    KERNEL = "no-kernel-for-gpu"
    COMMUNICATION = "communication"
    ENGINE = "engine-failed"


@dataclass(frozen=True)
class EngineFailure(Record):
    """One refusal, with the context length that would fit where the engine names one."""

    kind: FailureKind
    line: str
    fitting_tokens: int | None = None


_PATTERNS = (
    (
        FailureKind.CONTEXT_TOO_LONG,
        re.compile(
            r"larger than the (?:maximum number of tokens that can be stored in KV|available KV)"
            r" cache|estimated maximum model length is|max seq len \(\d+\) is larger"
        ),
    ),
    (FailureKind.KV_NONE, re.compile(r"No available memory for the cache blocks")),
    (FailureKind.KV_NONE, re.compile(r"Loaded weights leave no GPU memory for the KV cache")),
    (FailureKind.KV_NONE, re.compile(r"Not enough memory\. Please try to increase")),
    (
        FailureKind.MEMORY_TAKEN,
        re.compile(r"Free memory on device .*(?:less than desired|Desired) GPU memory utilization"),
    ),
    (
        FailureKind.OUT_OF_MEMORY,
        re.compile(
            r"OutOfMemoryError|CUDA out of memory|failed: out of memory|Failed to CUDA calloc|"
            r"CUDA error(?: 2 at \S+)?: out of memory|unable to allocate CUDA\d+ buffer|"
            r"Failed to load model.*OOM"
        ),
    ),
    (
        FailureKind.SHAPE,
        re.compile(
            r"must be divisible by|is not divisible by|greater than the derived max_model_len|"
            r"resulting max_num_reqs=0"
        ),
    ),
    (
        FailureKind.ARGUMENT,
        re.compile(
            r"error: (?:unrecognized arguments|argument|invalid argument|the following arguments)|"
            r"error while handling argument|invalid choice:"
        ),
    ),
    (FailureKind.PORT, re.compile(r"[Aa]ddress already in use|couldn't bind")),
    (
        FailureKind.NO_GPU,
        re.compile(
            r"No CUDA GPUs are available|no CUDA-capable device|Failed to infer device type|"
            r"no usable GPU found|ggml_cuda_init: failed to initialize CUDA"
        ),
    ),
    (
        FailureKind.KERNEL,
        re.compile(
            r"No valid attention backend|Unsupported (?:gpu )?architecture|no kernel image is av|"
            r"Value 'sm_\w+' is not defined|not supported in this architecture|"
            r"only supported on GPUs with compute capability"
        ),
    ),
    (
        FailureKind.COMMUNICATION,
        re.compile(r"NCCL error|ncclUnhandled|ncclSystemError|failed to extend /dev/shm"),
    ),
    (
        FailureKind.MODEL,
        re.compile(
            r"error loading model|failed to load model|failed to open GGUF|Repository Not Found|"
            r"does not appear to have a file named|is not a local folder|Can't load the config|"
            r"Invalid repository ID|HFValidationError: |LocalEntryNotFoundError: |"
            r"couldn't connect to 'https://huggingface|"
            r"(?:safetensors|gguf|config\.json).*No such file"
        ),
    ),
    (
        FailureKind.ENGINE,
        re.compile(
            r"Engine core initialization failed|EngineCore failed to start|EngineDeadError|"
            r"Scheduler hit an exception|exiting due to model loading error"
        ),
    ),
)
_FITTING = (
    re.compile(r"estimated maximum model length is (\d+)"),
    re.compile(r"stored in KV cache \((\d+)\)"),
)


def find_failures(lines: Iterable[str]) -> tuple[EngineFailure, ...]:
    """Refusals in the order printed, each sentence once (every worker repeats it)."""
    found: dict[tuple[FailureKind, str], EngineFailure] = {}
    for line in lines:
        for kind, pattern in _PATTERNS:
            match = pattern.search(line)
            if match is None:
                continue
            sentence = line[max(0, line.rfind("Error: ", 0, match.start())) :].strip()
            key = (kind, re.sub(r"\d+", "#", sentence)[-120:])
            found.setdefault(key, EngineFailure(kind, line.strip(), _fitting(line)))
            break
    return tuple(found.values())


def _fitting(line: str) -> int | None:
    match = next((m for pattern in _FITTING if (m := pattern.search(line))), None)
    return int(match.group(1)) if match else None
