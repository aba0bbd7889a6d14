"""What an engine is known to refuse at start, or to die of at the first kernel.

Rows and their sources: `catalog/data/engine_support.yaml`. An error where the image is the
project's own and its version known, else a warning: a patched build may hold kernels of its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from rigspec.catalog.engine_support import Arguments, Kind, Support, support, unlisted
from rigspec.catalog.engines import version_of
from rigspec.catalog.flag_table import version_key
from rigspec.catalog.gpus import BFLOAT16_SINCE, Gpu
from rigspec.catalog.model_facts import ModelFacts
from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.images import is_stock, version_told
from rigspec.rules.places import a_card
from rigspec.sizing.flags import Flags
from rigspec.sizing.llamacpp_told import without_flash_attention
from rigspec.spec.rig import Rig
from rigspec.spec.services import Service

_LABELS = {"vllm": "vLLM", "sglang": "SGLang"}
_UNCHUNKED_FROM = (0, 11)
"""SchedulerConfig.verify_max_model_len of vLLM 0.11.2 to 0.33.0; older ones were not looked at."""
_FLASH_ATTENTION_BUILD = 6325
"""From this build of llama.cpp on flash attention is `auto`, before it was off (pull 15434)."""
_QUANTIZED_CACHE = frozenset({"q8_0", "q4_0", "q4_1", "iq4_nl", "q5_0", "q5_1"})
_PACKED = re.compile(r"awq|gptq|int4|w4a16|4bit|autoround", re.IGNORECASE)
"""A repository named so may keep its record in a file that rigspec does not read."""


def card(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The engine's builds hold code for every card."""
    for name, service, taken in _supported(rig):
        built = taken.least_card(_version(service))
        for i, gpu in _cards(rig, facts, service):
            if gpu.compute_capability >= built.least:
                continue
            label = _LABELS[service.engine]
            older = taken.held(gpu.compute_capability)
            sure = bool(_version(service)) or not older
            yield _say(service, sure)(
                "refused.card",
                ("services", name, "gpus", i),
                built.refusal(label, a_card(gpu), gpu.compute_capability),
                why=_unsure(service, sure)
                or "`no kernel image is available for execution on the device`",
                hint=(f"{label} before {built.since} held code for it; " if older else "")
                + "`engine: llama_cpp` with a GGUF file serves such cards",
            )


def attention(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The engine has kernels for this attention and cache type on every card."""
    for name, service, taken in _supported(rig):
        model = facts.models.get(service.model)
        kind, weights = _kind_and_weights(model)
        told = service.kv_cache_dtype if service.kv_cache_dtype != "auto" else None
        asks = "fp8" if model is not None and model.quantization.kv_fp8 else ""
        cache, version = told or asks or "auto", _version(service)
        for _, gpu in _cards(rig, facts, service):
            compute = gpu.compute_capability
            row = taken.refused_attention(cache, kind, weights, compute, version)
            if row is None or compute < taken.least_card(version).least:
                continue
            sure = bool(version) or row.versions.every
            yield _say(service, sure)(
                "refused.attention",
                ("services", name, "kv_cache_dtype" if row.types else "model"),
                row.refusal(_LABELS[service.engine], cache, a_card(gpu), compute)
                + (", and the checkpoint asks for it" if row.types and asks else ""),
                why="; ".join(filter(None, (row.why, _unsure(service, sure)))),
                hint=_other_type(gpu, bool(asks)) if row.types else OTHER_ENGINE,
            )
            break


OTHER_ENGINE = (
    "a GGUF file of it in `engine: llama_cpp`, or an `image` that was built for such cards"
)
"""Where a kind of attention has no kernels: llama.cpp's are its own."""


def _other_type(gpu: Gpu, checkpoint_asks: bool) -> str:
    if not checkpoint_asks:
        return "delete it: the model's own type is taken"
    plain = "bfloat16" if gpu.compute_capability >= BFLOAT16_SINCE else "float16"
    return f"`kv_cache_dtype: {plain}`"


def _kind_and_weights(model: ModelFacts | None) -> tuple[Kind | None, str]:
    if model is None:
        return None, ""
    from rigspec.sizing.accepted import attention_kind  # only where something is saved

    return attention_kind(model), model.quantization.method


def quantization(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`quantization` is the checkpoint's own word, or one that the engine takes for it."""
    for name, service, taken in _supported(rig):
        model = facts.models.get(service.model)
        found = _mismatch(service, model, taken.arguments) if model is not None else None
        if found is not None:
            message, why, hint = found
            yield _say(service, True)(
                "refused.quantization",
                ("services", name, "quantization"),
                message,
                why=why,
                hint=hint,
            )


def _mismatch(
    service: Service, model: ModelFacts, arguments: Arguments
) -> tuple[str, str, str] | None:
    """Message, why and hint; None where the engine takes the argument or nobody knows."""
    asked, stored = service.quantization, model.quantization
    if asked not in arguments.judged:
        return None
    if stored.method in arguments.taken and asked not in arguments.taken[stored.method]:
        return (
            f"`quantization: {asked}`, but `{service.model}` says of itself `{stored.method}`",
            "the engine compares the two and ends: `does not match the quantization method "
            "specified in the quantization argument`",
            "delete the line: the checkpoint says it itself",
        )
    unpacked = stored.scheme == "plain" and not stored.method and not model.doubts
    if unpacked and asked in arguments.recorded and not _PACKED.search(model.name):
        return (
            f"`quantization: {asked}`, but `{service.model}` is not quantized",
            f"`{asked}` reads weights that somebody packed before, and their record; the engine "
            "finds none and ends",
            "delete the line, or take a checkpoint that was packed so; `fp8` is made of 16-bit "
            "weights while they load",
        )
    return None


def architecture(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The engine's version lists the model's architecture."""
    for name, service in rig.services.items():
        model = facts.models.get(service.model)
        if model is None:
            continue
        label = _LABELS.get(service.engine, service.engine)
        found = unlisted(service.engine, label, model, version_told(service))
        if found is not None:
            place = "engine_version" if service.engine_version else "image"
            yield warning(
                "refused.architecture",
                ("services", name, place if found.of_version else "model"),
                found.message,
                why="a model that is not listed is loaded by Transformers at best, slower and with "
                "another need of memory; most are refused",
                hint=f"take an image of {found.first} or newer" if found.first else "",
            )


def bfloat16(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """vLLM computes in bfloat16 where the cards do."""
    for name, service in rig.services.items():
        place = _argument(name, service, "--dtype", "bfloat16")
        if service.engine != "vllm" or place is None:
            continue
        half = "" if _refuses_half(facts.models.get(service.model)) else ", or `--dtype half`"
        for _, gpu in _cards(rig, facts, service):
            if gpu.compute_capability < BFLOAT16_SINCE:
                yield _say(service, True)(
                    "refused.bfloat16",
                    place,
                    f"{a_card(gpu)} does not compute in bfloat16",
                    why="vLLM ends: `Bfloat16 is only supported on GPUs with compute capability "
                    "of at least 8.0`",
                    hint=f"delete it{half}",
                )
                break


def float16(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """vLLM computes in float16 but for the models whose numbers that does not hold."""
    for name, service in rig.services.items():
        model = facts.models.get(service.model)
        places = (_argument(name, service, "--dtype", word) for word in ("half", "float16"))
        place = next(filter(None, places), None)
        if service.engine == "vllm" and place is not None and _refuses_half(model):
            yield _say(service, True)(
                "refused.float16",
                place,
                f"vLLM does not compute a model of type `{model.model_type if model else ''}` in "
                "float16",
                why="vLLM ends: `does not support float16. Reason: Numerical instability`",
                hint="delete it: bfloat16 is taken where the cards have it, else 32 bits, of which "
                "the sizes are",
            )


def _refuses_half(model: ModelFacts | None) -> bool:
    if model is None:
        return False
    from rigspec.sizing.as_loaded import NO_HALF  # only where something is saved

    return model.model_type in NO_HALF


def long_prompts(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Without chunked prefill a whole prompt is one batch."""
    for name, service in rig.services.items():
        tokens, context = service.max_batched_tokens, service.context_length
        whole = Flags(service.extra_args).given("--no-enable-chunked-prefill")
        if service.engine != "vllm" or not whole:
            continue
        if (_version(service) or _UNCHUNKED_FROM) < _UNCHUNKED_FROM:
            continue
        if tokens and context and tokens < context:
            yield _say(service, True)(
                "refused.long-prompts",
                ("services", name, "max_batched_tokens"),
                f"`max_batched_tokens: {tokens}` is less than `context_length: {context}`, and "
                "prompts are not to be cut",
                why="vLLM ends: it would have to reject longer prompts",
                hint=f"delete `--no-enable-chunked-prefill`, or `max_batched_tokens: {context}`",
            )


def value_cache(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """llama.cpp reads a quantized cache of values with flash attention only."""
    for name, service in rig.services.items():
        cache = service.kv_cache_dtype
        if service.engine != "llama_cpp" or cache not in _QUANTIZED_CACHE:
            continue
        off = without_flash_attention(service)
        if off or _unasked_flash_attention(service):
            yield _say(service, True)(
                "refused.value-cache",
                ("services", name, "kv_cache_dtype"),
                f"a cache of type `{cache}` needs flash attention",
                why="llama.cpp ends: `quantized V cache requires flash_attn`",
                hint=f"delete `{off}`" if off else "add `-fa` to `extra_args`",
            )


def _unasked_flash_attention(service: Service) -> bool:
    """Whether the build is so old that flash attention must be asked for, and nobody does."""
    build = version_key(version_told(service) or "")
    old = len(build) == 1 and build[0] < _FLASH_ATTENTION_BUILD
    return old and not Flags(service.extra_args).given("-fa", "--flash-attn")


def _supported(rig: Rig) -> Iterator[tuple[str, Service, Support]]:
    for name, service in rig.services.items():
        taken = support(service.engine)
        if taken is not None:
            yield name, service, taken


def _cards(rig: Rig, facts: CheckContext, service: Service) -> Iterator[tuple[int, Gpu]]:
    """Each kind of card of a service once, with the place of its reference."""
    seen: set[str] = set()
    for i, ref in enumerate(service.gpus):
        gpu = facts.gpu(rig, ref)
        if gpu is not None and gpu.sku not in seen:
            seen.add(gpu.sku)
            yield i, gpu


def _version(service: Service) -> tuple[int, ...] | None:
    return version_of(version_told(service))


def _say(service: Service, sure: bool) -> Callable[..., Finding]:
    return error if sure and is_stock(service.engine, service.image) else warning


def _unsure(service: Service, sure: bool) -> str:
    """Why it is only a warning; empty where it is none."""
    if not is_stock(service.engine, service.image):
        return "this image is not the project's own: a patched engine may have the kernels"
    return "" if sure else "the version is not known, so the newest release was taken"


def _argument(name: str, service: Service, flag: str, value: str) -> Path | None:
    """The place of `flag value` or `flag=value` in `extra_args`; None where it is not there."""
    words = service.extra_args
    for i, word in enumerate(words):
        if word == f"{flag}={value}" or (word == value and i and words[i - 1] == flag):
            return ("services", name, "extra_args", i)
    return None
