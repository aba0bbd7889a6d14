"""Which values must never be shown: tokens by their look, environment values by their name.

Messages ask `may_be_secret`; printed source lines go through `masked_lines`, which keeps every
column where it was.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import yaml

from rigspec.finding import Path
from rigspec.spec.source import Source

_TOKEN = re.compile(
    r"\b(?:hf_[A-Za-z0-9]{8,}|sk-[A-Za-z0-9_-]{8,}|gh[pousr]_[A-Za-z0-9]{16,}"
    r"|github_pat_[A-Za-z0-9_]{16,}|glpat-[A-Za-z0-9_-]{16,}|xox[abprs]-[A-Za-z0-9-]{10,}"
    r"|AKIA[0-9A-Z]{16}|nvapi-[A-Za-z0-9_-]{16,}|eyJ[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_.-]+)"
)
"""Prefixes that hubs and API vendors give their keys, so that scanners find them."""

_SECRET_WORDS = frozenset(
    ["apikey", "token", "secret", "password", "passwd", "passphrase", "credential", "credentials"]
)
_SECRET_PAIRS = frozenset(
    {("api", "key"), ("access", "key"), ("private", "key"), ("secret", "key")}
)
_ASSIGNED = re.compile(
    r"""(?i)((?:api[_-]?key|access[_-]?key|secret|password|passwd|token)["']?\s*[:=]\s*)(\S+)"""
)
_HARMLESS = re.compile(
    r"^(?:NCCL|CUDA|CUTE|OMP|MKL|PYTORCH|TORCH|TORCHINDUCTOR|TRITON|VLLM|SGLANG|GGML|LLAMA_ARG|"
    r"FLASHINFER|SAFETENSORS|NVIDIA|HF_HUB|TOKENIZERS|XDG|LD|PYTHON|RAY|UCX|GLOO)_|^HF_HOME$"
)


def names_secret(name: str) -> bool:
    """Whether a variable or flag is named like a secret: `HF_TOKEN`, `--api-key`."""
    words = tuple(re.split(r"[_-]", name.lstrip("-").lower()))
    return words[-1] in _SECRET_WORDS or words[-2:] in _SECRET_PAIRS


def looks_like_token(text: str) -> bool:
    """Whether a value is shaped like an API key, whatever its name."""
    return _TOKEN.search(text) is not None


def hide_tokens(text: str) -> str:
    """A message with every API key in it covered."""
    return _TOKEN.sub("***", text)


def may_be_secret(path: Path, text: str) -> bool:
    """Whether the value at this path must not be repeated in a message."""
    if looks_like_token(text):
        return True
    keys = [str(p) for p in path if isinstance(p, str)]
    last = keys[-1] if keys else ""
    if "environment" in keys[:-1]:
        return names_secret(last) or not _HARMLESS.match(last)
    if last.endswith("_env"):
        return re.fullmatch(r"[A-Z][A-Z0-9_]*", text) is None
    return last in ("environment", "extra_args") or names_secret(last)


def masked_lines(source: Source) -> tuple[str, ...]:
    """The lines of a spec, with every value that may be secret covered by `*`."""
    lines = [_mask_tokens(line, source.root is None) for line in source.lines]
    for node in _secret_nodes(source.root, (), set()):
        start, end = node.start_mark, node.end_mark
        for number in range(start.line, min(end.line, len(lines) - 1) + 1):
            left = start.column if number == start.line else 0
            right = end.column if number == end.line else len(lines[number])
            covered = re.sub(r"\S", "*", lines[number][left:right])
            lines[number] = lines[number][:left] + covered + lines[number][right:]
    return tuple(lines)


def _mask_tokens(line: str, unparsed: bool) -> str:
    line = _TOKEN.sub(lambda m: "*" * len(m[0]), line)
    return _ASSIGNED.sub(lambda m: m[1] + "*" * len(m[2]), line) if unparsed else line


def _secret_nodes(node: yaml.Node | None, path: Path, seen: set[int]) -> Iterator[yaml.ScalarNode]:
    if node is None or id(node) in seen:
        return
    if isinstance(node, yaml.ScalarNode):
        if node.value and _is_covered(path, node.value):
            yield node
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            yield from _secret_nodes(value, (*path, name), seen)
    else:
        before = ""
        for i, item in enumerate(node.value):
            here = (*path, before) if names_secret(before) else (*path, i)
            yield from _secret_nodes(item, here, seen)
            before = item.value if isinstance(item, yaml.ScalarNode) else ""


def _is_covered(path: Path, text: str) -> bool:
    if "extra_args" in path and not isinstance(path[-1], str):
        return "=" in text and names_secret(text.partition("=")[0])
    return may_be_secret(path, text)
