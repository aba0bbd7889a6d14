"""Variables of the engine: no secrets, words NCCL knows, nothing that rigspec sets itself."""

from __future__ import annotations

from collections.abc import Iterator

from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.images import is_stock
from rigspec.rules.places import joined_by_nvlink
from rigspec.spec.rig import Rig, members
from rigspec.spec.secrets import looks_like_token, names_secret
from rigspec.spec.services import Service

P2P_LEVELS = ("LOC", "NVL", "NVB", "C2C", "PIX", "PXB", "P2C", "PXN", "PHB", "SYS")
"""NCCL 2.30, `src/graph/paths.cc`; case-sensitive, any other word is ignored without a message."""

_READERS = {"LLAMA_ARG_": "llama_cpp", "VLLM_": "vllm", "SGLANG_": "sglang", "SGL_": "sglang"}
"""How an engine's own variables begin."""
_GPU_CHOICE = ("CUDA_VISIBLE_DEVICES", "NVIDIA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES")
_ADDRESS = {
    "VLLM_HOST_IP": "listen.address",
    "VLLM_PORT": "listen.port",
    "LLAMA_ARG_HOST": "listen.address",
    "LLAMA_ARG_PORT": "listen.port",
    "LLAMA_ARG_MODEL": "model",
    "LLAMA_ARG_MODEL_URL": "model",
    "LLAMA_ARG_DOCKER_REPO": "model",
    "LLAMA_ARG_MODELS_DIR": "model",
    "LLAMA_ARG_MODELS_PRESET": "model",
    "LLAMA_ARG_HF_REPO": "models.NAME.hub",
    "LLAMA_ARG_HF_FILE": "models.NAME.file",
    "LLAMA_ARG_ALIAS": "served_names",
    "LLAMA_ARG_DEVICE": "gpus",
    "LLAMA_ARG_CTX_SIZE": "context_length",
    "LLAMA_ARG_N_PARALLEL": "max_sequences",
    "LLAMA_ARG_BATCH": "max_batched_tokens",
    "LLAMA_ARG_CACHE_TYPE_K": "kv_cache_dtype",
    "LLAMA_ARG_CACHE_TYPE_V": "kv_cache_dtype",
    "LLAMA_ARG_N_GPU_LAYERS": "gpu_layers",
    "LLAMA_ARG_SPLIT_MODE": "split_mode",
    "LLAMA_ARG_SPEC_TYPE": "speculative.method",
}
"""Of llama.cpp every one whose flag has a field (`rules/flags.py`): where the field is not set, no
flag would win over the variable."""


def _all(rig: Rig) -> Iterator[tuple[Path, str, str]]:
    for name, service in rig.services.items():
        for key, value in service.environment.items():
            yield ("services", name, "environment", key), key, value


def secret_in_environment(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Secrets do not stand in a file that is kept in git."""
    for path, key, value in _all(rig):
        if value and (names_secret(key) or looks_like_token(value)):
            yield error(
                "environment.secret-in-environment",
                path,
                f"`{key}` holds a secret in plain text",
                why="the spec is kept in git, and this value would be readable on the host",
                hint="if it has been pushed, revoke it; `api_key_env` and `token_env` name a "
                "variable of your own machine instead",
            )


def secret_in_arguments(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Secrets do not stand on a command line."""
    for name, service in rig.services.items():
        words = service.extra_args
        for i, word in enumerate(words):
            flag, equals, value = word.partition("=")
            follows = not equals and i + 1 < len(words) and not words[i + 1].startswith("-")
            named = flag.startswith("-") and names_secret(flag) and (value or follows)
            if named or looks_like_token(word):
                yield error(
                    "environment.secret-in-arguments",
                    ("services", name, "extra_args", i),
                    f"`{flag}` puts a secret on the command line" if named else "this is a secret",
                    why="`ps` shows it to every user of the host, and the spec is kept in git",
                    hint="use `api_key_env` (or `token_env` of the model), and revoke what has "
                    "been pushed",
                )


def gpus_by_variable(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Cards are handed over by UUID, never by index."""
    for path, key, _ in _all(rig):
        if key in _GPU_CHOICE:
            yield error(
                "environment.gpus-by-variable",
                path,
                f"`{key}` chooses cards a second time",
                why="the container sees only the cards of `gpus`, numbered anew; an index means "
                "another card after the next boot",
                hint="delete it and name the cards in `gpus`",
            )


def field_by_variable(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A variable that a field of the spec decides, or that another engine reads."""
    for path, key, _ in _all(rig):
        engine = rig.services[str(path[1])].engine
        reader = next((own for start, own in _READERS.items() if key.startswith(start)), engine)
        if reader != engine:
            yield warning(
                "environment.field-by-variable",
                path,
                f"`{key}` is a variable of {reader}; {engine} never reads it",
                hint="delete it",
            )
        elif key in _ADDRESS:
            yield error(
                "environment.field-by-variable",
                path,
                f"`{key}` is decided by `{_ADDRESS[key]}`",
                why="two places for one value contradict each other sooner or later",
                hint=f"delete it and set `{_ADDRESS[key]}`",
            )


def nccl_level(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`NCCL_P2P_LEVEL` takes certain words."""
    for path, key, value in _all(rig):
        if key != "NCCL_P2P_LEVEL" or value in P2P_LEVELS:
            continue
        if value.isdigit():
            yield warning(
                "environment.nccl-level",
                path,
                f"`NCCL_P2P_LEVEL: {value}` is a number of old; which level it means is easily "
                "mistaken",
                why="in the source 1 is PIX, 2 PXB, 3 PHB and 4 SYS; guides say otherwise",
                hint="write the word",
            )
            continue
        meant = value.upper() if value.upper() in P2P_LEVELS else ""
        yield error(
            "environment.nccl-level",
            path,
            f"NCCL does not know the level `{value[:20]}` and ignores it without a message; it "
            f"knows {', '.join(f'`{level}`' for level in P2P_LEVELS)}",
            why="peer copies would then end at the PCIe switch, or at nothing",
            hint=f"write `{meant}`; the case matters" if meant else "`SYS` allows every path",
        )


def nccl_peers_contradict(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`NCCL_P2P_DISABLE` against `pcie.peer_to_peer`."""
    for path, key, value in _all(rig):
        if key != "NCCL_P2P_DISABLE":
            continue
        if value != "1":
            yield warning(
                "environment.nccl-peers-contradict",
                path,
                f"`NCCL_P2P_DISABLE: {value[:20]}` does nothing; only `1` acts",
                hint="delete it, or write `1`",
            )
        elif rig.pcie.peer_to_peer and len(members(rig.gpus, rig.services[str(path[1])].gpus)) > 1:
            cleared = "" if rig.pcie.acs == "keep" else "ACS is cleared and "
            yield warning(
                "environment.nccl-peers-contradict",
                path,
                "`NCCL_P2P_DISABLE: 1` while `pcie.peer_to_peer` is wanted",
                why=f"{cleared}links are checked for copies that this service never makes",
                hint="delete one of the two; measured, peer copies are not always faster",
            )


def nccl_protocol(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Forced protocols."""
    for path, key, _ in _all(rig):
        if key in ("NCCL_PROTO", "NCCL_ALGO"):
            yield warning(
                "environment.nccl-protocol",
                path,
                f"`{key}` overrides NCCL's own choice",
                why="NVIDIA calls it a switch for debugging; `LL128` on links that do not support "
                "it corrupts data",
                hint="delete it for anything but a measurement",
            )


def expandable_segments(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """PyTorch's growing segments cannot be shared between processes."""
    for path, key, value in _all(rig):
        service = rig.services[str(path[1])]
        asked = key in ("PYTORCH_CUDA_ALLOC_CONF", "PYTORCH_ALLOC_CONF")
        if not asked or "expandable_segments:true" not in value.replace(" ", "").lower():
            continue
        if _shares_buffers(rig, facts, service):
            yield warning(
                "environment.expandable-segments",
                path,
                "`expandable_segments:True` breaks all-reduce kernels that share memory by IPC",
                why="ranks map each other's buffers; segments that grow cannot be mapped",
                hint="delete it, or set `disable_custom_all_reduce: true`",
            )


def _shares_buffers(rig: Rig, facts: CheckContext, service: Service) -> bool:
    """Whether the engine's own all-reduce runs: vLLM and SGLang leave it off above two cards that
    no NVLink switch joins; what a patched image does is not known."""
    ranks = service.tensor_parallel_size
    if ranks < 2 or service.disable_custom_all_reduce:
        return False
    joined = joined_by_nvlink(rig, facts, service)
    return joined or ranks == 2 or not is_stock(service.engine, service.image)


def developer_mode(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """vLLM's developer mode opens administrative routes."""
    for path, key, value in _all(rig):
        if key == "VLLM_SERVER_DEV_MODE" and value not in ("", "0"):
            yield error(
                "environment.developer-mode",
                path,
                "`VLLM_SERVER_DEV_MODE` opens administrative routes",
                why="they reload weights and run code in the workers, and ask for no key",
                hint="delete it",
            )


def order_by_speed(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """CUDA's default order puts the fastest card first."""
    for path, key, value in _all(rig):
        if key == "CUDA_DEVICE_ORDER" and value != "PCI_BUS_ID":
            yield warning(
                "environment.order-by-speed",
                path,
                f"`CUDA_DEVICE_ORDER: {value[:30]}`: ranks then follow speed, not slots",
                hint="write `PCI_BUS_ID`, or delete it: rigspec sets it",
            )
