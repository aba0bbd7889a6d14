"""Boot logs of vLLM, SGLang and llama.cpp: memory, capacity, readiness, refusals.

All three print GiB; SGLang and some vLLM versions call it GB. Figures are per GPU, the largest
over the ranks that print them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable

from rigspec.frozen import dataclass
from rigspec.observed.dressing import containers_of
from rigspec.observed.engine_failures import EngineFailure, find_failures
from rigspec.observed.record import Reading, Record, Unknown
from rigspec.observed.text import ends_open

_START = re.compile(
    r"vLLM API server version|█.*\bversion \d|server_args=|^(?:\S+ I )?build(?:_info)?: "
)
_RANK = re.compile(r"\b(?:DP|PP|TP|EP)\d+|\[gpu_id=\d+\]|rank ?\d+")
"""With pipelines one rank is named by two words: `PP1 TP0` is another card than `PP0 TP0`."""
_NONE = Unknown("the log does not say")


@dataclass(frozen=True)
class DeviceBuffer(Record):
    """One buffer line of llama.cpp, summed per device and use (`model`, `KV`, `compute`)."""

    device: str
    use: str
    mib: float


@dataclass(frozen=True)
class EngineLog(Record):
    """What one boot said; several boots in one log: the last."""

    engine: Reading[str]
    version: Reading[str]
    weights_gib: Reading[float]
    available_kv_gib: Reading[float]
    kv_tokens: Reading[int]
    max_concurrency: Reading[float]
    """Requests of `concurrency_context` tokens that fit at once."""
    concurrency_context: Reading[int]
    graph_gib: Reading[float]
    load_s: Reading[float]
    init_s: Reading[float]
    nccl_version: Reading[str]
    buffers: tuple[DeviceBuffer, ...]
    offloaded_layers: Reading[tuple[int, int]] | None
    """llama.cpp: layers on GPUs, of all; None for engines that have no such notion."""
    ready: bool
    """Whether the last boot reached the line that says it serves."""
    stalls: int
    """vLLM: minutes in which workers did not answer (long compilation, or a P2P hang)."""
    all_reduce: tuple[str, ...]
    failures: tuple[EngineFailure, ...]


_READY = re.compile(
    r"Application startup complete|fired up and ready to roll|main(?:: |\] )model loaded|"
    r"server is listening on http\S* - starting the main loop|all slots are idle"
)
_LOADING = re.compile(
    r"llama_model_loader: loaded meta data|Load weight begin|load_tensors: (?:loading|offload)|"
    r"Starting to load model"
)
_ENGINES = (
    ("vllm", r"API server version|EngineCore|VllmWorker|\[gpu_model_runner|LLM engine \(v"
             r"|Model loading took|Loading model weights took"),
    ("sglang", r"server_args=ServerArgs|Load weight (?:begin|end)|/sglang/srt/|KV Cache is al"),
    ("llama.cpp", r"llama_model_loader|load_tensors|llama_context|llama_kv_cache|llama-server"),
    ("vllm", r"vLLM|vllm"),
    ("sglang", r"sglang|SGLang"),
    ("llama.cpp", r"llama_|ggml_"),
)  # fmt: skip
"""What only that engine says, then their names: SGLang's first versions name vLLM, too."""
_VERSIONS = (
    re.compile(r"vLLM API server version (\S+)"),
    re.compile(r"LLM engine \(v([^)]+)\)"),
    re.compile(r"█.*\bversion (\S+)"),
    re.compile(r"[Ss][Gg][Ll]ang version:? (\S+)"),
    re.compile(r"build(?:_info)?: (b?\d+\S*)"),
)
_ALL_REDUCE = re.compile(r"custom[_ ]?all[-_ ]?reduce|all-?reduce backend", re.IGNORECASE)
_BUFFER = re.compile(
    r"(?:^|: )\s*(\w+(?:\[\w+\])?) +(?:(?:\w+ )*?(\w+) )?buffer size += +(\d+(?:\.\d+)?) MiB"
)
"""Device, and the last word before `buffer size`: `CUDA0 DSV4 csa state buffer size = 1.31 MiB`."""


def parse_engine_log(text: str | Iterable[str]) -> Reading[EngineLog]:
    """A boot log of any of the three engines, whole or cut at either end.

    Of many containers in one text: the first that holds an engine.
    """
    logs = containers_of(text)
    held = (log for signs in (_ENGINES[:3], _ENGINES) for log in logs if _first_of(log, signs))
    lines = _last_boot(next(held, logs[0]))
    engine = _engine(lines)
    failures = find_failures(lines)
    if ends_open(text):
        lines[-1] = re.sub(r"[\d.,]+$", "", lines[-1])  # perhaps half a number
    if isinstance(engine, Unknown) and not failures:
        return engine
    buffers = _buffers(lines)
    layers = _first(lines, r"offloaded (\d+)/(\d+) layers to GPU")
    return EngineLog(
        engine=engine,
        version=_version(lines),
        weights_gib=_weights(lines, buffers),
        available_kv_gib=_kv_gib(lines, buffers),
        kv_tokens=_kv_tokens(lines),
        max_concurrency=_float(
            lines, r"Maximum concurrency for [\d,]+ tokens per request: ([\d.]+)x"
        ),
        concurrency_context=_int(lines, r"Maximum concurrency for ([\d,]+) tokens per request"),
        graph_gib=_graphs(lines),
        load_s=_float(
            lines, r"Model loading took .* and ([\d.]+) sec|Load weight end\. elapsed=([\d.]+) ?s"
        ),
        init_s=_float(lines, r"init engine \(.*?\) took ([\d.]+) s"),
        nccl_version=_text(lines, r"using nccl==(\S+)"),
        buffers=buffers,
        offloaded_layers=(int(layers[1]), int(layers[2])) if layers else None,
        ready=any(_READY.search(line) for line in lines),
        stalls=sum("No available shared memory broadcast block" in line for line in lines),
        all_reduce=_all_reduce(lines),
        failures=failures,
    )


def _last_boot(lines: list[str]) -> list[str]:
    """From the line that starts an engine; without it, from where one that served loads again."""
    start, served = 0, False
    for number, line in enumerate(lines):
        if _START.search(line) or (served and _LOADING.search(line)):
            start, served = number, False
        served = served or _READY.search(line) is not None
    return lines[start:]


def _engine(lines: list[str]) -> Reading[str]:
    """The engine that speaks first of those that speak for themselves, else the one named."""
    found = _first_of(lines, _ENGINES[:3]) or _first_of(lines, _ENGINES[3:])
    return found or Unknown("no line of a known engine")


def _first_of(lines: Iterable[str], signs: Iterable[tuple[str, str]]) -> str:
    patterns = [(name, re.compile(sign)) for name, sign in signs]
    said = (name for line in lines for name, pattern in patterns if pattern.search(line))
    return next(said, "")


def _version(lines: list[str]) -> Reading[str]:
    for pattern in _VERSIONS:
        for line in lines:
            if match := pattern.search(line):
                return match.group(1)
    return _NONE


def _first(lines: Iterable[str], pattern: str) -> re.Match[str] | None:
    compiled = re.compile(pattern)
    return next((match for line in lines if (match := compiled.search(line))), None)


def _text(lines: Iterable[str], pattern: str) -> Reading[str]:
    match = _first(lines, pattern)
    return next(group for group in match.groups() if group) if match else _NONE


def _float(lines: Iterable[str], pattern: str) -> Reading[float]:
    found = _text(lines, pattern)
    return found if isinstance(found, Unknown) else float(found.rstrip(".").replace(",", ""))


def _int(lines: Iterable[str], pattern: str) -> Reading[int]:
    found = _float(lines, pattern)
    return found if isinstance(found, Unknown) else int(found)


def _per_rank(lines: Iterable[str], pattern: str) -> Reading[float]:
    """Sum per rank (target and draft print a line each), largest over the ranks."""
    compiled = re.compile(pattern)
    sums: dict[str, float] = defaultdict(float)
    for line in lines:
        match = compiled.search(line)
        if match:
            sums[" ".join(_RANK.findall(line))] += float(match.group(1).rstrip("."))
    return max(sums.values()) if sums else _NONE


def _largest(lines: Iterable[str], pattern: str) -> Reading[float]:
    compiled = re.compile(pattern)
    found = [float(m.group(1).rstrip(".")) for line in lines if (m := compiled.search(line))]
    return max(found) if found else _NONE


def _known(*readings: Reading[float]) -> Reading[float]:
    return next((reading for reading in readings if not isinstance(reading, Unknown)), _NONE)


def _weights(lines: list[str], buffers: tuple[DeviceBuffer, ...]) -> Reading[float]:
    return _known(
        _largest(lines, r"(?:Model loading|Loading model weights) took ([\d.]+) ?G"),
        _largest(lines, r"model weights take ([\d.]+) ?GiB"),
        _per_rank(lines, r"Load weight end\..*mem usage=(-?[\d.]+) ?GB"),
        _on_device(buffers, "model"),
    )


def _kv_gib(lines: list[str], buffers: tuple[DeviceBuffer, ...]) -> Reading[float]:
    """vLLM's pool before it is cut into blocks; SGLang's K and V; llama.cpp's buffers."""
    both = _first(lines, r"K size: ([\d.]+) GB, V size: ([\d.]+) GB")
    return _known(
        _float(lines, r"Available KV cache memory: (-?[\d.]+) ?G"),
        _float(lines, r"reserved for KV Cache is ([\d.]+) ?GiB"),
        _float(lines, r"reserved ([\d.]+) ?GiB memory for KV Cache"),
        float(both[1]) + float(both[2]) if both else _NONE,
        _float(lines, r"KV Cache is allocated.*KV size: ([\d.]+) GB"),
        _float(lines, r"KVPool mem usage: ([\d.]+) GB"),
        _on_device(buffers, "KV"),
    )


def _kv_tokens(lines: list[str]) -> Reading[int]:
    for pattern in (
        r"GPU KV cache size: ([\d,]+) tokens",
        r"max_total_num_tokens=(\d+)(?=,)",
        r"KV Cache is allocated.*#tokens: (\d+)(?=,)",
        r"\bn_ctx += +(\d+)",
    ):
        found = _int(lines, pattern)
        if not isinstance(found, Unknown):
            return found
    return _NONE


def _graphs(lines: list[str]) -> Reading[float]:
    return _known(
        _largest(lines, r"Graph capturing finished in .* took ([\d.]+) ?G"),
        _per_rank(lines, r"Capture .*(?i:cuda graph) end\..*mem usage=(-?[\d.]+) ?GB"),
    )


def _buffers(lines: Iterable[str]) -> tuple[DeviceBuffer, ...]:
    sums: dict[tuple[str, str], float] = defaultdict(float)
    for line in lines:
        match = _BUFFER.search(line)
        if match:
            sums[match.group(1), match.group(2) or "model"] += float(match.group(3))
    return tuple(DeviceBuffer(device, use, mib) for (device, use), mib in sums.items())


def _on_device(buffers: Iterable[DeviceBuffer], use: str) -> Reading[float]:
    gpus = [b.mib / 1024 for b in buffers if b.use == use and re.match(r"CUDA\d+$", b.device)]
    return max(gpus) if gpus else _NONE


def _all_reduce(lines: Iterable[str]) -> tuple[str, ...]:
    """Distinct sentences about all-reduce backends."""
    said: dict[str, None] = {}
    for line in lines:
        if _ALL_REDUCE.search(line) and "cuda graph addresses" not in line:
            said[re.sub(r"^.*?\[[\w.]+:\d+\] ", "", line).strip()[:200]] = None
    return tuple(said)[:12]
