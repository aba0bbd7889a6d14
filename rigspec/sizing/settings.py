"""What an engine is told, and what it assumes when it is told nothing."""

from __future__ import annotations

from dataclasses import field
from enum import StrEnum
from typing import Literal

from rigspec.catalog.model_parts import Layer
from rigspec.frozen import dataclass
from rigspec.sizing.overrides import Override


class Engine(StrEnum):
    """The engines rigspec can size."""

    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA_CPP = "llama.cpp"

    @property
    def reads_gguf(self) -> bool:
        """Whether a GGUF file is its own format; others read one with a plugin at best."""
        return self is Engine.LLAMA_CPP

    @property
    def label(self) -> str:
        """Its name as its makers write it."""
        return {"vllm": "vLLM", "sglang": "SGLang"}.get(self.value, self.value)


Speculation = Literal["mtp", "eagle", "dflash", "draft", "ngram", "unstated"]


@dataclass(frozen=True)
class Speculative:
    """Speculative decoding: how, how deep, and the accepted length if the owner states one."""

    method: Speculation
    tokens: int | None = None
    accepted: float | None = None
    """Mean tokens per step, the first one included."""
    draft_gib: float = 0.0
    draft_layers: tuple[Layer, ...] = ()
    """Of a draft model of its own: vLLM runs it at the target's TP and binds its layers into the
    same pool (`vllm/v1/spec_decode/draft_model.py`)."""

    @property
    def depth(self) -> int:
        """Drafted tokens per step; what recipes ship when the owner states none."""
        usual = {"mtp": 3, "eagle": 3, "dflash": 7, "draft": 5, "ngram": 3, "unstated": 3}
        return self.tokens if self.tokens is not None else usual[self.method]


@dataclass(frozen=True)
class Lora:
    """Slots for LoRA adapters and their rank: vLLM's `--max-loras` of `--max-lora-rank`."""

    slots: int = 1
    rank: int = 16


@dataclass(frozen=True)
class Portion:
    """What one card of llama.cpp's split holds."""

    layers: range
    """Of the model's; the output matrix counts as one more."""
    rows: float = 1.0
    """Share of each matrix of these layers."""
    cache: float = 1.0
    """Share of the cache of these layers."""
    spread: float | None = None
    """Of a split by row: share of the matrices of all layers; only experts, which have no rows to
    split, and the cache lie with their layer (`make_gpu_buft_list` of `llama-model.cpp`)."""


@dataclass(frozen=True)
class EngineSettings:
    """One service: engine, version and the settings that move memory or speed; None is unset."""

    engine: Engine = Engine.VLLM
    version: tuple[int, ...] | None = None
    beyond_known: bool = False
    """The release is newer than any that was looked at: its version is None, and surely not old."""
    patched: bool = False
    """Not the project's own build: it may hold kernels that the project's do not."""
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    stage: int | None = None
    """The stage of the pipeline in question; None is the fullest."""
    decode_context_parallel: int = 1
    data_parallel: int = 1
    dp_attention: bool = False
    """SGLang: the copies of `data_parallel` are of the attention alone, within the TP ranks."""
    attention_context: int = 1
    """SGLang's `--attn-cp-size`: ranks that share a prompt instead of the heads of attention."""
    expert_parallel: bool = False
    memory_fraction: float | None = None
    kv_bytes: int | None = None
    context: int | None = None
    auto_context: bool = False
    """The engine takes the longest context that the cache holds."""
    stretched: bool = False
    """The owner scales the positions, or tells vLLM to take longer contexts all the same."""
    max_seqs: int | None = None
    max_batched_tokens: int | None = None
    max_graph_size: int | None = None
    eager: bool = False
    kv_dtype: str = "auto"
    block_size: int | None = None
    prefix_caching: bool | None = True
    """None is the engine's default, which for recurrent states changed with the version."""
    state_bytes: int | None = None
    """Bytes per element of a recurrent state, where the owner sets it."""
    state_ratio: float = 0.9
    """SGLang's `--mamba-full-memory-ratio`: bytes of recurrent states per byte of the cache."""
    pool_tokens: int | None = None
    """SGLang's `--max-total-tokens`: the most that its pool holds, whatever is free."""
    state_slots: int | None = None
    """SGLang's `--max-mamba-cache-size`: recurrent states, where the owner sets their number."""
    language_only: bool = False
    speculative: Speculative | None = None
    lora: Lora | None = None
    estimates_graphs: bool | None = None
    """vLLM's VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS; None is the version's default."""
    split: Literal["layer", "row", "tensor"] = "layer"
    tensor_split: tuple[float, ...] = field(default=())
    main_gpu: int = 0
    portion: Portion | None = None
    """llama.cpp: what the card in question holds; None is the fullest of equal cards, to the byte
    instead of to the layer."""
    parallel: int = 1
    slots: int = 1
    """llama.cpp: caches of `context` tokens that are set aside at start, one per sequence."""
    batch: int = 2048
    ubatch: int = 512
    flash_attention: bool = True
    host_experts: int = 0
    """llama.cpp's `--n-cpu-moe`: the first layers, whose experts lie in host memory."""
    overrides: tuple[Override, ...] = ()
    """llama.cpp's `--override-tensor`: other experts that do."""
    other_processes_gib: float = 0.0
    complete: bool = False
    """What is not set is left to the engine, as in a spec; else nobody says, as of a published run.
    """
    uncounted: bool = False
    """Flags are given that take memory in ways nobody here reckons, or a service beside it takes
    what it finds."""

    @property
    def fullest_share(self) -> float:
        """Share of layers on the fullest GPU of llama.cpp's split; 1 / GPUs when it is even."""
        parts = self.tensor_split[: self.tensor_parallel]
        if len(parts) == self.tensor_parallel and sum(parts) > 0:
            return max(parts) / sum(parts)
        return 1 / max(1, self.tensor_parallel)

    @property
    def turns(self) -> int:
        """Cards that work one after another on a single sequence: llama.cpp's split by layers."""
        if self.engine is not Engine.LLAMA_CPP or self.split != "layer":
            return 1
        stated = self.tensor_split[: self.tensor_parallel]
        held = sum(part > 0 for part in stated) if any(stated) else self.tensor_parallel
        return max(1, held)

    @property
    def of_loading(self) -> EngineSettings:
        """What decides the weights a rank holds; everything else is at its default."""
        return EngineSettings(
            engine=self.engine,
            version=self.version,
            beyond_known=self.beyond_known,
            tensor_parallel=self.tensor_parallel,
            pipeline_parallel=self.pipeline_parallel,
            stage=self.stage,
            data_parallel=self.data_parallel,
            dp_attention=self.dp_attention,
            attention_context=self.attention_context,
            expert_parallel=self.expert_parallel,
            language_only=self.language_only,
            speculative=self.speculative,
            lora=self.lora,
            max_batched_tokens=self.max_batched_tokens,
            tensor_split=self.tensor_split,
            portion=self.portion,
            host_experts=self.host_experts,
            overrides=self.overrides,
        )

    def is_since(self, first: tuple[int, ...]) -> bool:
        """Whether the release is surely this one or a later one."""
        return self.beyond_known or (self.version is not None and self.version >= first)

    @property
    def replicas(self) -> int:
        """Copies of the whole model, each with `max_seqs` streams of its own."""
        return 1 if self.dp_attention else max(1, self.data_parallel)

    @property
    def attention_ranks(self) -> int:
        """Parts that attention is cut into: SGLang's copies of it take their share of the ranks, so
        do ranks of one context (32B on four 5090s, two by two: 18.25 GiB, not 15.5)."""
        copies = self.data_parallel if self.dp_attention else 1
        return max(1, self.tensor_parallel // max(1, copies * self.attention_context))

    @property
    def expert_ranks(self) -> int:
        """GPUs that the experts are spread over whole; 1 where each of them is cut."""
        return self._expert_group if self.expert_parallel else 1

    @property
    def expert_shards(self) -> int:
        """Parts that one expert is cut into."""
        return 1 if self.expert_parallel else self._expert_group

    @property
    def _expert_group(self) -> int:
        """GPUs that share the experts of a layer: with vLLM those of all copies of the model."""
        return max(1, self.tensor_parallel) * (self.replicas if self.engine is Engine.VLLM else 1)

    @property
    def ranks(self) -> int:
        """GPUs one replica uses."""
        return max(1, self.tensor_parallel) * max(1, self.pipeline_parallel)
