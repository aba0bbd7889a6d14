"""The type of the cache as an owner reads it: what is stored, and who says so."""

from __future__ import annotations

from typing import Literal

from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass
from rigspec.sizing.records import kv_kind
from rigspec.sizing.settings import Engine, EngineSettings


@dataclass(frozen=True)
class CacheType:
    """`fp8`, `q8_0`, `16 bits` …, and where that comes from."""

    name: str
    said_by: Literal["settings", "checkpoint", "model", "engine"]

    @property
    def why(self) -> str:
        """What nobody would expect who reads the settings; else empty."""
        asks = self.said_by == "checkpoint"
        return f"the checkpoint asks for {self.name}" if asks else ""


def engine_s_word(facts: ModelFacts, settings: EngineSettings) -> str:
    """The type as the engine takes it: `fp8` for an `auto` of which the checkpoint asks so."""
    is_open = settings.kv_dtype.lower() in ("", "auto")
    return "fp8" if is_open and facts.quantization.kv_fp8 else settings.kv_dtype


def cache_type(facts: ModelFacts, settings: EngineSettings) -> CacheType:
    """What is stated; else what the checkpoint asks for, else the width of the model's own type.

    llama.cpp takes f16 where it is told nothing.
    """
    stated = settings.kv_dtype.lower()
    if stated not in ("", "auto"):
        return CacheType(stated, "settings")
    if settings.engine is Engine.LLAMA_CPP:
        return CacheType("f16", "engine")
    if facts.quantization.kv_fp8:
        return CacheType("fp8", "checkpoint")
    if settings.engine is Engine.VLLM and facts.is_compressed:
        return CacheType("fp8", "engine")  # `fp8_ds_mla`
    bits = 32 if kv_kind(facts, settings) == "fp32" else 16
    return CacheType(f"{bits} bits", "model")
