"""Fields and numbers that the chosen engine takes, and models it can read."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.catalog.engines import version_of
from rigspec.finding import Finding, Path, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.images import is_stock
from rigspec.sizing.flags import Flags
from rigspec.spec.rig import Rig, members
from rigspec.spec.services import AUTO, Service
from rigspec.units import count

_RANKS = "llama.cpp shares a model by `split_mode` (`layer`, `tensor`)"
AUTO_SINCE = (0, 14)
"""vllm-project/vllm pull 29431, in the notes of 0.14.0."""
FOREIGN: dict[str, dict[str, str]] = {
    "llama_cpp": {
        "tensor_parallel_size": f"{_RANKS}; `tensor` is its tensor parallel",
        "pipeline_parallel_size": f"{_RANKS}; `layer` is its pipeline",
        "data_parallel_size": "write one service per copy",
        "decode_context_parallel_size": "llama.cpp has no such thing",
        "expert_parallel": "llama.cpp keeps experts with their layer; `--cpu-moe` is a flag",
        "gpu_memory_fraction": "llama.cpp takes what `context_length` and `gpu_layers` need",
        "quantization": "a GGUF file says it itself: choose another `file`",
        "tool_call_parser": "llama.cpp reads the chat template instead; delete it",
        "reasoning_parser": "llama.cpp has the flag `--reasoning-format` in `extra_args`",
        "trust_remote_code": "a GGUF file holds no code; delete it",
        "disable_custom_all_reduce": "llama.cpp has no all-reduce of its own; delete it",
        "enforce_eager": "`GGML_CUDA_DISABLE_GRAPHS: 1` in `environment` is its word",
    },
    "vllm": {
        "split_mode": "vLLM's word is `tensor_parallel_size`",
        "gpu_layers": "vLLM keeps the whole model on the GPUs; `--cpu-offload-gb` is a flag",
    },
    "sglang": {
        "split_mode": "SGLang's word is `tensor_parallel_size`",
        "gpu_layers": "SGLang keeps the whole model on the GPUs; `--cpu-offload-gb` is a flag",
    },
}
"""Engine → field it does not have → what to write instead."""


def field_of_other_engine(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Fields that another engine has."""
    for name, service in rig.services.items():
        for field, instead in FOREIGN[service.engine].items():
            default = type(service).model_fields[field].default
            if getattr(service, field) != default:
                yield error(
                    "engine.field-of-other-engine",
                    ("services", name, field),
                    f"`{service.engine}` has no `{field}`",
                    why="the engine would be started without it, or not at all",
                    hint=instead,
                )


def served_names_many(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """SGLang answers to one name."""
    for name, service in rig.services.items():
        if service.engine == "sglang" and len(service.served_names) > 1:
            yield error(
                "engine.served-names-many",
                ("services", name, "served_names", 1),
                f"SGLang answers to one name, `served_names` has {len(service.served_names)}",
                hint="keep the one that clients ask for",
            )


def gguf_file(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """llama.cpp serves one GGUF file, and nothing else."""
    for service in rig.services.values():
        model = rig.models.get(service.model)
        if service.engine != "llama_cpp" or model is None or model.file:
            continue
        if (model.path or "").endswith(".gguf"):
            continue
        if (model.path or "").lower().endswith(".gguf"):
            yield error(
                "engine.gguf-file",
                ("models", service.model, "path"),
                "the ending of a GGUF file is written in small letters",
                why="engines and rigspec know such a file by it",
                hint=f"rename the file on the host: `{(model.path or '')[:-5]}.gguf`",
            )
            continue
        yield error(
            "engine.gguf-file",
            ("models", service.model),
            f"llama.cpp serves a GGUF file, and model `{service.model}` names none",
            hint="add `file:` with the GGUF file (the first part of a split one); a repository of "
            "safetensors holds none, take one of GGUF files",
        )


def gguf_elsewhere(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Other engines read GGUF with a plugin at best."""
    for name, service in rig.services.items():
        model = rig.models.get(service.model)
        if service.engine == "llama_cpp" or model is None:
            continue
        if model.file or (model.path or "").endswith(".gguf"):
            yield warning(
                "engine.gguf-elsewhere",
                ("services", name, "engine"),
                f"`{service.model}` is a GGUF file; {service.engine} reads it only with a plugin "
                "or not at all",
                why="GGUF left vLLM's core and is a plugin that the stock image does not hold",
                hint="use `engine: llama_cpp`, or the safetensors checkpoint of the model",
            )


def batch_below_sequences(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """vLLM wants a token per sequence in each batch."""
    for name, service in rig.services.items():
        tokens, sequences = service.max_batched_tokens, service.max_sequences
        if service.engine == "vllm" and tokens and sequences and tokens < sequences:
            yield error(
                "engine.batch-below-sequences",
                ("services", name, "max_batched_tokens"),
                f"`max_batched_tokens: {tokens}` is less than `max_sequences: {sequences}`",
                why="each running sequence needs one token per step; vLLM refuses to start",
                hint="2048 to 8192 is usual",
            )


_BEYOND = {
    "vllm": "vLLM refuses to start",
    "sglang": "SGLang refuses to start",
    "llama_cpp": "llama.cpp starts, and answers nonsense beyond that length",
}


def context_beyond_model(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """No context longer than the model's own, where it is known."""
    for name, service in rig.services.items():
        model = facts.models.get(service.model)
        if model is None:
            continue
        from rigspec.sizing.accepted import is_beyond  # only where something is saved
        from rigspec.sizing.from_spec import settings_of

        if is_beyond(model, settings_of(rig, name)):
            yield error(
                "engine.context-beyond-model",
                ("services", name, "context_length"),
                f"{service.context_length} tokens are more than the {model.max_positions} that "
                f"`{service.model}` was made for",
                why=_BEYOND[service.engine],
                hint=f"at most {model.max_positions}",
            )


def split_understood(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """llama.cpp's shares are numbers, one per card; its main GPU is one of the cards."""
    from rigspec.sizing import llamacpp_told as told

    for name, service in rig.services.items():
        cards, main = len(members(rig.gpus, service.gpus)), told.main_gpu_of(service)
        shares = told.shares_told(service)
        if shares is not None and len(shares) != cards:
            path, flag = _written(name, service, told.SPLIT_FLAGS, told.SPLIT_VARIABLE)
            complain = warning if shares else error
            yield complain(
                "engine.split-understood",
                path,
                f"`{flag}` takes {count(cards, 'number')}, one per card, and "
                + (f"{len(shares)} are given" if shares else "has a word that is none"),
                why=_SPLITS[len(shares) > cards]
                if shares
                else "llama.cpp ends at a word that is no number; less than nothing it does not "
                "share out",
                hint=f"such as `{','.join('1' * cards)}`",
            )
        if main is not None and not (main.isdecimal() and int(main) < cards):
            path, flag = _written(name, service, told.MAIN_FLAGS, told.MAIN_VARIABLE)
            yield error(
                "engine.split-understood",
                path,
                f"`{flag} {main[:20]}`: the service has {count(cards, 'card')}, counted from 0",
                why="llama.cpp ends: invalid value for main_gpu",
                hint=f"0 to {cards - 1}" if cards > 1 else "delete it",
            )


_SPLITS = ("llama.cpp puts nothing on the last ones", "llama.cpp leaves the rest aside")


def _written(
    name: str, service: Service, flags: tuple[str, ...], variable: str
) -> tuple[Path, str]:
    """Where something is told, and its long name there: the flag wins over the variable."""
    if Flags(service.extra_args).given(*flags):
        return ("services", name, "extra_args"), flags[-1]
    return ("services", name, "environment", variable), variable


def auto_context(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Only vLLM finds the longest context by itself, and only since 0.14."""
    for name, service in rig.services.items():
        if service.context_length != AUTO:
            continue
        version = version_of(service.engine_version)
        if service.engine != "vllm" or (version is not None and version < AUTO_SINCE):
            who = f"vLLM {service.engine_version}" if service.engine == "vllm" else service.engine
            yield error(
                "engine.auto-context",
                ("services", name, "context_length"),
                f"{who} does not take `auto`",
                why="vLLM finds the longest context that fits from 0.14 on, others do not",
                hint="write tokens; `rigspec plan --sizing` names the longest that fits",
            )


def remote_code(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What `trust_remote_code` allows."""
    for name, service in rig.services.items():
        if service.trust_remote_code and service.engine != "llama_cpp":
            yield note(
                "engine.remote-code",
                ("services", name, "trust_remote_code"),
                f"Python files that come with `{service.model}` run in this container",
                why="they can read the weights, the requests and the API key, and use the network",
            )


def draft_needed(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Methods that draft with a second model need one."""
    for name, service in rig.services.items():
        wanted = service.speculative
        if wanted is None or wanted.model is not None or not _drafts(service, wanted.method):
            continue
        model = facts.models.get(service.model)
        if service.engine == "sglang" and (model is None or model.draft.layers):
            continue  # SGLang drives the model's own prediction layers by the name `EAGLE`
        if "model" not in wanted.options and "draft_model_path" not in wanted.options:
            yield warning(
                "engine.draft-needed",
                ("services", name, "speculative", "method"),
                f"`{wanted.method}` drafts with a second model, and none is named",
                hint="describe it below `models` and name it in `speculative.model`",
            )


def draft_layers(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A model that drafts with layers of its own has some."""
    for name, service in rig.services.items():
        wanted, model = service.speculative, facts.models.get(service.model)
        if wanted is None or model is None or wanted.model is not None:
            continue
        named_elsewhere = bool({"model", "draft_model_path"} & wanted.options.keys())
        named_elsewhere |= Flags(service.extra_args).given(*_DRAFT_FILES)
        own = wanted.method.lower().endswith(_OWN_LAYERS.get(service.engine, ()))
        if own and not named_elsewhere and model.surely_draftless:
            yield (error if is_stock(service.engine, service.image) else warning)(
                "engine.draft-layers",
                ("services", name, "speculative", "method"),
                f"`{wanted.method}` drafts with the model's own layers, and a "
                f"`{model.model_type}` such as `{service.model}` has none for it",
                why="its config states that it has 0 of them"
                if model.draft.stated_none
                else _NO_LAYERS[service.engine],
                hint="delete `speculative`, or take `ngram`, or a draft model made for it "
                "(`speculative.model`) with its method",
            )


_OWN_LAYERS = {"vllm": ("mtp",), "sglang": ("nextn", "mtp"), "llama_cpp": ("mtp",)}
"""How an engine's names of the method end: vLLM also takes `qwen3_next_mtp` and the like."""
_DRAFT_FILES = ("--spec-draft-model", "-md", "--model-draft", "--spec-draft-hf", "-hfd", "-hfrd")
"""llama.cpp's flags for a file that holds the layers by themselves."""
_NO_LAYERS = {
    "vllm": "`Unsupported speculative method: 'mtp'` (`vllm/config/speculative.py`)",
    "sglang": "it then looks for a draft model, and none is named",
    "llama_cpp": "`context type MTP requested but model doesn't contain MTP layers` ends the start",
}


def _drafts(service: Service, method: str) -> bool:
    word = method.lower().replace("-", "_")
    separate = {
        "vllm": ("eagle", "eagle3", "medusa", "draft_model", "mlp_speculator"),
        "sglang": ("eagle", "eagle3", "standalone"),
        "llama_cpp": ("draft_simple", "draft_eagle3"),
    }
    return word in separate[service.engine]
