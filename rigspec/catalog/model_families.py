"""Model types whose layers rigspec reads, by their whole names: a name that is merely like one of
them may mean anything.

The names are the `model_type` of transformers' configuration classes, of the code that checkpoints
bring themselves, and `general.architecture` of GGUF files (`MODEL_ARCH_NAMES` of the gguf package).
"""

from __future__ import annotations

_TIED_CLASSES = ("gemma", "granite", "cohere", "starcoder2", "gpt2", "bloom", "mpt", "lfm2", "opt")

_OF_TRANSFORMERS = frozenset({
    "bloom", "cohere", "cohere2", "cohere2_moe", "cohere2_vision", "deepseek_v2", "deepseek_v3",
    "deepseek_v32", "deepseek_v4", "deepseek_vl", "deepseek_vl_hybrid", "gemma", "gemma2", "gemma3",
    "gemma3n", "gemma4", "gemma4_unified", "glm", "glm4", "glm46v", "glm4_moe", "glm4_moe_lite",
    "glm4v", "glm4v_moe", "glm_moe_dsa", "glm_ocr", "gpt2", "gpt_oss", "granite", "granite_speech",
    "granite_swa", "granitemoe", "granitemoe_swa", "granitemoehybrid", "granitemoeshared",
    "kimi_k25", "lfm2", "lfm2_moe", "lfm2_vl", "llama", "llama4", "mimo_v2_flash", "minimax",
    "minimax_m2", "minimax_m3_vl", "ministral", "ministral3", "mistral", "mistral3", "mistral4",
    "mixtral", "mpt", "muse_glimmer", "nemotron", "nemotron_h", "olmo", "olmo2", "olmo3",
    "olmo_hybrid", "olmoe", "opt", "phi", "phi3", "phi4_multimodal", "phimoe", "qwen2",
    "qwen2_5_omni", "qwen2_5_vl", "qwen2_audio", "qwen2_moe", "qwen2_vl", "qwen3", "qwen3_5",
    "qwen3_5_moe", "qwen3_asr", "qwen3_moe", "qwen3_next", "qwen3_omni_moe", "qwen3_vl",
    "qwen3_vl_moe", "starcoder2", "step3p5", "step3p7",
})  # fmt: skip

_OF_CHECKPOINTS = frozenset({
    "deepseek", "deepseek_ref", "deepseek_v41", "deepseek_vl_v2", "glm5_next", "internlm",
    "internlm2", "internlm3", "kimi_k2", "kimi_k3", "kimi_linear", "kimi_vl", "mimo", "mimo_v2",
    "minimax_m1", "minimax_m3", "minimax_text_01", "nemotron-nas", "phi3_v", "phi3small", "phi4mm",
    "qwen", "qwen4_exp", "step1", "step3", "step3_vl",
})  # fmt: skip

_OF_GGUF = frozenset({
    "deepseek2", "gemma", "glm-dsa", "glm4moe", "gpt-oss", "granitehybrid", "kimi-linear",
    "lfm2moe", "mimo2", "minimax-m2", "nemotron_h_moe", "phi2", "qwen2moe", "qwen2vl", "qwen35",
    "qwen35moe", "qwen3moe", "qwen3next", "qwen3vl", "qwen3vlmoe", "step35",
})  # fmt: skip

_KNOWN = _OF_TRANSFORMERS | _OF_CHECKPOINTS | _OF_GGUF


def is_known(model_type: str) -> bool:
    """Whether a type is one of those, or the language part of one (`_text`)."""
    return model_type.removesuffix("_text") in _KNOWN


def tied_by_class(model_type: str) -> bool:
    """Whether head and table are one where the config leaves it open."""
    return model_type.startswith(_TIED_CLASSES)
