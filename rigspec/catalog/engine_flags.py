"""Does an engine take this command line? Judged against the engine's own flag list, without it.

A stock image of the version the table was read from is judged strictly. For a patched image, an
unknown version or another version, what the table cannot know is only warned about.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches

from rigspec.catalog.flag_problems import Complaints, FlagProblem, Strictness
from rigspec.catalog.flag_table import FlagTable, load_flags, load_history, version_key
from rigspec.catalog.flag_values import OFF, ValueChecker
from rigspec.catalog.flag_walk import Seen, Walk

__all__ = ["FlagProblem", "check_argv", "check_env"]

_PROGRAMS: Mapping[str, tuple[str, ...]] = {
    "vllm": (r"(\S*/)?vllm serve", r"(\S*/)?python3? -m vllm\.entrypoints\.openai\.api_server"),
    "sglang": (r"(\S*/)?sglang serve", r"(\S*/)?python3? -m sglang\.launch_server"),
    "llama_cpp": (r"(\S*/)?llama-server",),
}
_POSITIONALS = {"vllm": 1, "sglang": 1, "llama_cpp": 0}
_SECRET_FLAGS = ("api_key", "hf_token", "admin_api_key")
_TYPO = 0.93
"""How alike two names are when one is a slip of the other, not a variable of another version."""


def check_argv(
    engine: str, version: str | None, argv: Sequence[str], lenient_image: bool = False
) -> tuple[FlagProblem, ...]:
    """Everything wrong with an engine's argv, in order of position.

    `argv` may begin with the program (`vllm serve`) or with its first argument. `version` is the
    engine's version in the image, None when unknown; `lenient_image` says the image is patched.
    """
    name = engine.replace(".", "_")
    table = load_flags(name)
    another = version is not None and version_key(version) != version_key(table.version)
    history = load_history(name) if another else None
    complaints = Complaints(Strictness.of(table, history, version, lenient_image))
    # what a patched image has of its own, no history of the stock engine can say
    walk = Walk(table, history, None if lenient_image else version, complaints)
    seen = walk.run(argv, _program_length(name, argv))
    _check_rules(name, seen, complaints)
    _check_secrets(seen, complaints)
    return tuple(sorted(complaints.found, key=lambda problem: problem.index))


def check_env(
    engine: str, env: Mapping[str, str], version: str | None = None
) -> tuple[FlagProblem, ...]:
    """Names of the engine's own that it does not know, which it ignores, and values it refuses."""
    name = engine.replace(".", "_")
    table = load_flags(name)
    complaints = Complaints(Strictness.of(table, None, version, lenient=False))
    checker = ValueChecker(table, complaints)
    for variable in sorted(env):
        if not variable.startswith(table.env_prefix):
            continue
        if variable in table.env_known:
            checker.variable(variable, env[variable])
        elif negated := table.negated_by(variable):
            _negating_variable(variable, env[variable], negated, complaints)
        else:
            _unknown_variable(
                table, variable, complaints, other=version not in (None, table.version)
            )
    return tuple(complaints.found)


def _negating_variable(name: str, value: str, negated: str, say: Complaints) -> None:
    if value in (*OFF, ""):
        message = f"`{name}` turns this off whatever it holds, `{value}` too"
        say.warn(-1, name, "env", message, f"`{negated}: on` turns it on; delete this one")


def _unknown_variable(table: FlagTable, name: str, say: Complaints, *, other: bool) -> None:
    near = get_close_matches(name, table.env_known, 1, _TYPO if other else 0.6)
    if near or not other:  # another version may well know it
        hint = f"did you mean `{near[0]}`?" if near else "leave it out"
        message = f"{table.engine} {table.version} does not know `{name}` and ignores it"
        say.warn(-1, name, "env", message, hint)


def _program_length(engine: str, argv: Sequence[str]) -> int:
    for count in (3, 2, 1):
        words = " ".join(argv[:count])
        if any(re.fullmatch(program, words) for program in _PROGRAMS[engine]):
            return count
    return 0


def _check_rules(engine: str, seen: Seen, say: Complaints) -> None:
    """What the engines themselves refuse at start although each flag alone is fine."""
    for index, word in seen.positionals[_POSITIONALS[engine] :]:
        flag, blank, value = word.partition(" ")
        glued = blank and flag.startswith("-")
        hint = f"two entries: `{flag}`, `{value}`" if glued else "a flag lacks its name?"
        say.error(index, word, "positional", f"`{word}` is a stray word", hint)
    if engine == "vllm":
        _check_vllm(seen, say)
    elif engine == "sglang" and not seen.positionals and seen.last("model_path") is None:
        say.error(-1, "--model-path", "rule", "no model is given", "add `--model-path`")
    elif engine == "llama_cpp":
        _check_llama(seen, say)


def _check_vllm(seen: Seen, say: Complaints) -> None:
    for flag, needs in (
        ("--enable-auto-tool-choice", "--tool-call-parser"),
        ("--enable-log-outputs", "--enable-log-requests"),
    ):
        dest, needed = (name.strip("-").replace("-", "_") for name in (flag, needs))
        if seen.is_on(dest) and not seen.is_on(needed):
            message = f"`{flag}` requires `{needs}`"
            say.error(seen.index[dest], flag, "rule", message, f"add `{needs}`")
    if seen.last("model") is not None and not seen.positionals:
        message = "`vllm serve` wants the model as its first argument; `--model` will go"
        say.warn(seen.index["model"], "--model", "deprecated", message)


def _check_llama(seen: Seen, say: Complaints) -> None:
    mode, flag = seen.last("split_mode"), "--split-mode"
    index = seen.index.get("split_mode", -1)
    if mode == "row":
        say.warn(index, flag, "deprecated", "split mode `row` is deprecated", "layer or tensor")
    if mode != "tensor":
        return
    if seen.last("flash_attn") in ("off", "0", "false", "disabled"):
        message = "split mode `tensor` needs flash attention"
        say.error(seen.index["flash_attn"], "--flash-attn", "rule", message, "set it on or auto")
    if seen.last("ctx_size") is None:
        message = "split mode `tensor` does not fit the context to the memory by itself"
        say.warn(index, flag, "rule", message, "set `--ctx-size`")


def _check_secrets(seen: Seen, say: Complaints) -> None:
    for dest in _SECRET_FLAGS:
        if seen.last(dest) not in (None, "true", "false"):
            flag = f"--{dest.replace('_', '-')}"
            message = f"`{flag}` puts a secret on the command line, where `ps` shows it"
            say.warn(seen.index[dest], flag, "secret", message, "use `api_key_env`")
