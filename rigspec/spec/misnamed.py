"""Did you mean: near-namesakes, words of other tools, and keys that belong elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

from rigspec.finding import Path
from rigspec.spec.fields import all_fields

ALIASES = {
    "tp": "tensor_parallel_size",
    "tensor_parallel": "tensor_parallel_size",
    "tp_size": "tensor_parallel_size",
    "pp": "pipeline_parallel_size",
    "pp_size": "pipeline_parallel_size",
    "dp": "data_parallel_size",
    "dcp": "decode_context_parallel_size",
    "ep": "expert_parallel",
    "enable_expert_parallel": "expert_parallel",
    "max_model_len": "context_length",
    "ctx_size": "context_length",
    "n_ctx": "context_length",
    "context": "context_length",
    "gpu_memory_utilization": "gpu_memory_fraction",
    "mem_fraction_static": "gpu_memory_fraction",
    "max_num_seqs": "max_sequences",
    "max_running_requests": "max_sequences",
    "parallel": "max_sequences",
    "max_num_batched_tokens": "max_batched_tokens",
    "chunked_prefill_size": "max_batched_tokens",
    "kv_dtype": "kv_cache_dtype",
    "cache_type_k": "kv_cache_dtype",
    "n_gpu_layers": "gpu_layers",
    "ngl": "gpu_layers",
    "served_model_name": "served_names",
    "speculative_config": "speculative",
    "env": "environment",
    "args": "extra_args",
    "flags": "extra_args",
    "host_port": "listen",
    "api_key": "api_key_env",
    "shm_size": "shm_gib",
    "model_path": "model",
    "devices": "gpus",
    "tool_parser": "tool_call_parser",
    "num_speculative_tokens": "tokens",
    "repo": "hub",
    "repository": "hub",
    "repo_id": "hub",
    "commit": "revision",
    "branch_or_tag": "revision",
    "hf_token": "token_env",
    "token": "token_env",
    "power_limit": "power_limit_w",
    "power_cap": "power_limit_w",
    "power_cap_w": "power_limit_w",
    "type": "sku",
    "name_of_card": "sku",
    "number": "count",
    "bdf": "slots",
    "slot": "slots",
    "uuid": "uuids",
    "cmdline": "arguments",
    "kernel_args": "arguments",
    "args_kernel": "arguments",
    "modprobe": "module_options",
    "modules": "module_options",
    "ip": "address",
    "hostname": "address",
    "ssh_user": "user",
    "ssh_port": "port",
    "become": "sudo",
    "distro": "os",
    "threads": "logical_cpus",
    "gen": "generation",
    "lanes": "width",
    "p2p": "peer_to_peer",
    "rebar": "resizable_bar",
    "breaker": "circuit",
    "voltage": "volts",
    "idle_w": "base_load_w",
    "host_w": "base_load_w",
    "open": "flavour",
    "flavor": "flavour",
    "kernel_module": "flavour",
    "runtime": "engine",
    "mount": "path",
    "fstype": "filesystem",
}
"""Words of engines and other tools → our key, where a near-namesake would not find it."""


_VALUES = {
    "passthrough": "pt",
    "no": "off",
    "false": "off",
    "disabled": "off",
    "none": "off",
    "yes": "on",
    "true": "on",
    "enabled": "on",
    "threadripper": "amd",
    "epyc": "amd",
    "ryzen": "amd",
    "xeon": "intel",
    "core": "intel",
    "tensor_parallel": "tensor",
    "llama.cpp": "llama_cpp",
    "llamacpp": "llama_cpp",
    "llama_server": "llama_cpp",
    "ollama": "llama_cpp",
    "bookworm": "debian-12",
    "trixie": "debian-13",
    "jammy": "ubuntu-22.04",
    "noble": "ubuntu-24.04",
    "closed": "proprietary",
}
"""Words for a choice that other tools use."""


def nearest_choice(word: str, allowed: Sequence[str]) -> str | None:
    """The choice that was probably meant, also by its beginning or another tool's word."""
    folded = word.strip().lower().replace("-", "_")
    if _VALUES.get(folded) in allowed:
        return _VALUES[folded]
    begins = [a for a in allowed if len(folded) > 1 and a.startswith(folded)]
    return nearest(word, allowed) or (begins[0] if len(begins) == 1 else None)


def nearest(word: str, allowed: Sequence[str]) -> str | None:
    """The allowed word that was probably meant; None when none is near."""
    folded = word.strip().lower().replace("-", "_").replace(" ", "_")
    by_fold = {a.lower().replace("-", "_"): a for a in allowed}
    if folded in by_fold:
        return by_fold[folded]
    found = get_close_matches(folded, by_fold, n=1, cutoff=0.72)
    return by_fold[found[0]] if found else None


def hint_for_unknown(key: str, keys: Sequence[str], section: Path) -> str:
    """Where the owner should look instead; empty when nothing is near."""
    alias = ALIASES.get(key.lower().replace("-", "_"))
    meant = alias if alias in keys else nearest(key, keys)
    if meant:
        return f"did you mean `{meant}`?"
    if key in ("host", "port") and "listen" in keys:
        return "write it below `listen`: `listen: {address: 127.0.0.1, port: 8000}`"
    homes = sorted({f.path for f in all_fields() if f.name == (alias or key)})
    if homes:
        return "this key belongs elsewhere: " + " or ".join(f"`{home}`" for home in homes[:3])
    return ""
