"""The words of llama.cpp's `--override-tensor`: `expression=buffer`, with commas between.

What is no such word ends llama.cpp's start (`parse_tensor_buffer_overrides` of `common/arg.cpp`,
b11434), a broken expression the load of the model (`std::regex`, ECMAScript).
"""

from __future__ import annotations

import re

FLAGS, VARIABLE = ("-ot", "--override-tensor"), "LLAMA_ARG_OVERRIDE_TENSOR"
HOST = "CPU"
"""The buffer type of host memory."""
_FOREIGN = re.compile(r"(?<!\\)(?:\\\\)*(\(\?[^:=!])")
"""Python reads these groups, ECMAScript has none of them."""
_LITERAL, _BRACE = re.compile(r"\\.|\[[^]]*\]"), re.compile(r"\{(?!\d+\})")
"""What stands for itself, and a brace that begins no count: Python takes it as it is."""
_BROKEN = (
    "nothing to repeat", "unterminated character set", "missing )", "unbalanced parenthesis",
    "bad character range", "bad escape (end",
)  # fmt: skip
"""Python's words for what ECMAScript refuses, too; it takes some of what Python does not."""


def card(number: int) -> str:
    """The buffer type of a card, as the container counts them."""
    return f"CUDA{number}"


def words(text: str) -> tuple[tuple[str, str, str], ...]:
    """Expression, `=` and buffer type of every word; a part that is missing is empty."""
    return tuple(word.partition("=") for word in text.split(","))


def fault(word: tuple[str, str, str], cards: int) -> tuple[str, str]:
    """Why llama.cpp with so many `cards` ends at a word, and what to write; empty where it does
    not."""
    pattern, sign, buffer = word
    if not (pattern or sign):
        return "a word between its commas is empty", "delete the comma that is too many"
    if not sign:
        return f"`{pattern}` names no buffer type", f"`{pattern}={HOST}` leaves it in host memory"
    known = (HOST, *(card(number) for number in range(cards)))
    if buffer not in known:
        near = next((name for name in known if name.lower() == buffer.strip().lower()), "")
        listed = ", ".join(f"`{name}`" for name in known)
        return (
            f"llama.cpp has no buffer type `{buffer}` here",
            f"write `{pattern.strip()}={near}`" if near else f"it has {listed}",
        )
    broken = _broken(pattern)
    return (f"`{pattern}` is no expression: {broken}", "") if broken else ("", "")


def _broken(pattern: str) -> str:
    """What is wrong with an expression for sure; empty where nothing is, or nobody can say."""
    foreign = _FOREIGN.search(pattern)
    if foreign is not None:
        return f"ECMAScript, in which it is written, has no `{foreign[1]}`"
    if "[[" in pattern:
        return ""  # classes that Python does not know
    if _BRACE.search(_LITERAL.sub("", pattern)):
        return "a `{` begins a count, such as `{2}`"
    try:
        re.compile(pattern)
    except re.error as problem:
        return problem.msg if problem.msg.startswith(_BROKEN) else ""
    except (RecursionError, OverflowError):
        return ""
    return ""
