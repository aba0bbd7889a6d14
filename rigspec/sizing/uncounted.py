"""Settings that change what lies in a card's memory, and that no estimate here reckons.

Each takes more than is counted, or sets the cache's size by itself: a service with one of them is
sized all the same, is never said to fit for sure, and the flag is named.
"""

from __future__ import annotations

from rigspec.sizing.flags import Flags
from rigspec.sizing.llamacpp_told import is_on
from rigspec.sizing.records import is_known_type
from rigspec.spec.services import Service

_WIDE = "weights and cache in 32 bits"
_OWN_SIZE = "the cache's size is set by hand"
_WINDOWS = "layers with a window cache like full ones"
_TOWER, _DRAFT = "a vision tower beside the model", "a draft model beside the model"
_ATTENTION = "copies of the attention within the ranks"
_COPIES = "copies of experts beside the experts"
_CONTEXTS = "ranks that share a context instead of the heads"
FLAGS: dict[str, dict[str, str]] = {
    "vllm": {
        "--disable-hybrid-kv-cache-manager": "every layer caches like a full one",
        "--num-gpu-blocks-override": _OWN_SIZE,
        "--enable-eplb": _COPIES,
        **dict.fromkeys(("--prefill-context-parallel-size", "-pcp"), _CONTEXTS),
    },
    "sglang": {
        "--ep-num-redundant-experts": _COPIES,
        **dict.fromkeys(("--attn-dp-size", "--attention-data-parallel-size"), _ATTENTION),
    },
    "llama_cpp": {
        "--swa-full": _WINDOWS,
        **dict.fromkeys(("--mmproj", "-mm", "--mmproj-url", "-mmu"), _TOWER),
        **dict.fromkeys(("--model-draft", "-md", "--spec-draft-model"), _DRAFT),
        **dict.fromkeys(("--hf-repo-draft", "-hfd", "-hfrd", "--spec-draft-hf"), _DRAFT),
        **dict.fromkeys(("--lora", "--lora-scaled"), "adapters beside the model"),
    },
}  # fmt: skip
_STAGES = ("VLLM_PP_LAYER_PARTITION", "SGLANG_PP_LAYER_PARTITION")
_OVERRIDES = ("--hf-overrides", "--json-model-override-args")
_SWITCHES = {"LLAMA_ARG_SWA_FULL": _WINDOWS}
_ENVIRONMENT = {
    "LLAMA_ARG_MMPROJ": _TOWER, "LLAMA_ARG_MMPROJ_URL": _TOWER,
    "LLAMA_ARG_SPEC_DRAFT_MODEL": _DRAFT, "LLAMA_ARG_SPEC_DRAFT_HF_REPO": _DRAFT,
    "LLAMA_ARG_MODEL_DRAFT": _DRAFT,
}  # fmt: skip
"""llama.cpp's; the last is the name of older builds."""


def uncounted(service: Service) -> dict[str, str]:
    """Such settings of a service, and what each adds; empty where all is counted."""
    flags, known = Flags(service.extra_args), FLAGS[service.engine]
    found = {name: what for name, what in known.items() if flags.given(name)}
    if service.engine == "llama_cpp":
        found |= {n: what for n, what in _SWITCHES.items() if is_on(service, n)}
        return found | {n: what for n, what in _ENVIRONMENT.items() if service.environment.get(n)}
    if not is_known_type(service.kv_cache_dtype or ""):
        found["kv_cache_dtype"] = "a cache of this type is counted as 16 bits"
    if flags.text("--dtype") in ("float32", "float"):
        found["--dtype"] = _WIDE
    if service.pipeline_parallel_size > 1:
        cut = (name for name in _STAGES if name in service.environment)
        found |= dict.fromkeys(cut, "layers by stage are set by hand")
    changed = {name: flags.text(name) or "rope" for name in _OVERRIDES}
    for name in (name for name, text in changed.items() if "rope" not in text):
        found[name] = "the model is not the one of its config"
    adapters = service.engine == "sglang" and flags.given("--enable-lora", "--lora-paths")
    if adapters and flags.whole("--max-lora-rank") is None:
        found["--enable-lora"] = "slots as wide as the adapters (`--max-lora-rank` sets it)"
    return found
