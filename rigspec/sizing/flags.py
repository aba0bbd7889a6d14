"""Engine flags that an owner adds by hand, by name."""

from __future__ import annotations

import re

from rigspec.spec.services import Service


class Flags:
    """The engine flags an owner adds by hand: `--flag value` and `--flag=value`."""

    def __init__(self, words: tuple[str, ...]) -> None:
        self.words = tuple(part for word in words for part in _parts(word))

    def given(self, *names: str) -> bool:
        """Whether one of the flags is there."""
        return any(name in self.words for name in names)

    def text(self, *names: str) -> str | None:
        """The word after the last of the flags, which wins; None when none is there."""
        return next(reversed(self.texts(*names)), None)

    def texts(self, *names: str) -> tuple[str, ...]:
        """The words after every one of the flags."""
        pairs = zip(self.words, self.words[1:], strict=False)
        return tuple(value for flag, value in pairs if flag in names)

    def whole(self, *names: str) -> int | None:
        """The whole number after one of the flags; None when it is not there or is none."""
        value = self.text(*names) or ""
        return int(value) if value.isdecimal() else None

    def number(self, *names: str) -> float | None:
        """The number after one of the flags; None when it is not there or is none."""
        value = self.text(*names) or ""
        found = re.fullmatch(r"\d+(?:\.\d*)?|\.\d+", value)
        return float(value) if found else None

    def size(self, *names: str) -> int | None:
        """The whole number after one of the flags, with the suffix that vLLM reads: `10k` is
        10,000, `10K` is 10,240 (`human_readable_int` of its `arg_utils.py`)."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)([kmgt]?)", self.text(*names) or "", re.IGNORECASE)
        if found is None:
            return None
        number, suffix = found.groups()
        step = 1024 if suffix.isupper() else 1000
        return int(float(number) * step ** " kmgt".index(suffix.lower() or " "))


def state_bytes(flags: Flags) -> int | None:
    """Bytes per element of a recurrent state, as vLLM and SGLang are told; None where they are not,
    or with a word that neither knows."""
    word = flags.text("--mamba-ssm-cache-dtype", "--mamba-ssm-dtype")
    return {"float32": 4, "float16": 2, "bfloat16": 2}.get(word or "")


def copies_attention(service: Service) -> bool:
    """Whether SGLang's data parallel copies are of the attention alone, within the TP ranks."""
    return service.engine == "sglang" and Flags(service.extra_args).given("--enable-dp-attention")


CONTEXT_FLAGS = ("--attn-cp-size", "--attention-context-parallel-size")


def attention_context(service: Service) -> int:
    """SGLang's ranks that share a context instead of the heads of attention; 1 where it has none,
    or a number of them that the ranks do not hold."""
    asked = Flags(service.extra_args).whole(*CONTEXT_FLAGS)
    fitting = bool(asked) and service.tensor_parallel_size % (asked or 1) == 0
    return asked or 1 if service.engine == "sglang" and fitting else 1


def _parts(word: str) -> tuple[str, ...]:
    """Name and value apart; vLLM and llama.cpp take `_` for `-` in a long name."""
    name, sign, value = word.partition("=")
    if name.startswith("--"):
        name = name.replace("_", "-")
    return (name, value) if sign and name.startswith("-") else (name + sign + value,)
