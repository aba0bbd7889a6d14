"""Whether a value fits its flag: type, choices, open lists, keys of JSON objects."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

from rigspec.catalog.data import nearest
from rigspec.catalog.flag_problems import Complaints
from rigspec.catalog.flag_table import Flag, FlagTable

NUMBER = re.compile(r"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_WHOLE = re.compile(r"-?\d+")
_COUNT = re.compile(r"[0-9]{1,9}")
_SIZE = re.compile(r"\d+(\.\d+)?[kKmMgGtT]?")
_SIZE_OR_AUTO = re.compile(r"\d+(\.\d+)?[kKmMgGtT]?|-1|auto")
_NUMBER_AUTO_ALL = re.compile(rf"{NUMBER.pattern}|auto|all")
_TYPES = {
    "int": (_WHOLE, "a whole number"),
    "count": (_COUNT, "a whole number, 0 or more"),
    "float": (NUMBER, "a number"),
    "number": (NUMBER, "a number"),
    "int-human": (_SIZE, "a whole number such as 8192 or 8k"),
    "human_readable_int": (_SIZE, "a whole number such as 8192 or 8k"),
    "int-human-or-auto": (_SIZE_OR_AUTO, "a whole number, 8k, -1 or auto"),
    "number-or-auto-or-all": (_NUMBER_AUTO_ALL, "a number, auto or all"),
}
_POSITIVE = frozenset(
    {
        "max_loras", "max_lora_rank", "max_loras_per_batch", "block_size", "page_size",
        "max_mamba_cache_size", "max_total_tokens", "mamba_full_memory_ratio",
    }
)  # fmt: skip
"""Options that an engine takes no zero for (vLLM's `config/lora.py` and `config/cache.py`, SGLang's
`check_lora_server_args`), or that would leave it nothing at all to keep."""
_REGISTRY_OF = {"spec_method": "speculative_method"}
_SHOWN = 12
ON, OFF = ("on", "enabled", "true", "1"), ("off", "disabled", "false", "0")
"""llama.cpp's words for yes and no, in small letters (`is_truthy` of `common/arg.cpp`)."""


class ValueChecker:
    """Judges values of one engine's flags."""

    def __init__(self, table: FlagTable, complaints: Complaints) -> None:
        self.table = table
        self.say = complaints

    def check(self, index: int, flag: Flag, name: str, value: str) -> None:
        """All complaints about one value."""
        if flag.takes_none and value in ("", "None"):
            return
        if not self._type_fits(index, flag, name, value):
            return
        if flag.folds_case:
            value = value.lower().replace("-", "_")
        if flag.choices and value not in flag.choices + flag.also_accepts:
            message, hint = _not_one_of(name, value, flag.choices)
            self.say.about_value(index, name, "choice", message, hint)
        elif flag.suggested and value not in flag.suggested:
            message, hint = _not_one_of(name, value, flag.suggested)
            self.say.warn(index, name, "suggested", message, hint)
        if not flag.choices:
            self._registry(index, flag, name, value)

    def variable(self, name: str, value: str) -> None:
        """All complaints about the value of a variable that holds what a flag would."""
        flag = self.table.flag_of(name)
        if flag is None:
            return
        if flag.kind not in ("bool", "switch"):
            self.check(-1, flag, name, value)
        elif flag.kind == "bool" and value not in (*ON, *OFF):
            message = f"`{name}` needs {_either(ON)}, or {_either(OFF)}, not `{value}`"
            self.say.error(-1, name, "type", message)
        elif value not in (*ON, *OFF, ""):
            message = f"`{name}: {value}` turns nothing on: {self.table.engine} knows {_either(ON)}"
            self.say.warn(-1, name, "env", message, f"write `{ON[0]}`, or delete it")

    def keys(self, index: int, flag: Flag, name: str, keys: Iterable[str]) -> None:
        """Complaints about the keys of a JSON option."""
        allowed: Sequence[str] = flag.object_keys
        if flag.dest == "speculative_config":
            allowed = self.table.registries.get("speculative_config_keys", ())
        for key in keys:
            if allowed and key not in allowed:
                message = f"`{name}` has no key `{key}`"
                self.say.about_value(index, name, "key", message, _did_you_mean(key, allowed))

    def _type_fits(self, index: int, flag: Flag, name: str, value: str) -> bool:
        if flag.type in ("json", "json-object"):
            return self._json(index, flag, name, value)
        if flag.type in _TYPES:
            pattern, wanted = _TYPES[flag.type]
            if pattern.fullmatch(value) is None:
                self.say.error(index, name, "type", f"`{name}` needs {wanted}, not `{value}`")
                return False
        if flag.dest in _POSITIVE and NUMBER.fullmatch(value) and float(value) <= 0:
            kind = "number" if flag.type == "float" else "whole number"
            message = f"`{name}` needs a {kind} above 0, not `{value}`"
            self.say.error(index, name, "type", message)
            return False
        return True

    def _json(self, index: int, flag: Flag, name: str, value: str) -> bool:
        try:
            content = json.loads(value)
        except ValueError as error:
            hint = "write JSON with double quotes, one argument"
            self.say.error(index, name, "json", f"`{name}` needs JSON: {error}", hint)
            return False
        if not isinstance(content, dict):
            if flag.type == "json-object":
                self.say.error(index, name, "json", f"`{name}` needs a JSON object, not `{value}`")
                return False
            return True
        self.keys(index, flag, name, content)
        methods = self.table.registries.get("speculative_method", ())
        method = content.get("method")
        if flag.dest == "speculative_config" and methods and method and method not in methods:
            message, hint = _not_one_of(f"{name} method", str(method), methods)
            self.say.about_value(index, name, "choice", message, hint)
        return True

    def _registry(self, index: int, flag: Flag, name: str, value: str) -> None:
        registry = _REGISTRY_OF.get(flag.dest, flag.dest)
        built_in = self.table.registries.get(registry, ())
        if not built_in or not value or value in built_in or value.upper() in built_in:
            return
        message, hint = _not_one_of(name, value, built_in)
        soft = registry in self.table.soft_registries
        say = self.say.warn if soft else self.say.about_value
        say(index, name, "registry", message, hint or "a plugin may bring it")


def _either(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"


def _not_one_of(name: str, value: str, allowed: Sequence[str]) -> tuple[str, str]:
    shown = ", ".join(allowed[:_SHOWN])
    more = f" and {len(allowed) - _SHOWN} more" if len(allowed) > _SHOWN else ""
    return f"`{name}`: `{value}` is none of {shown}{more}", _did_you_mean(value, allowed)


def _did_you_mean(word: str, allowed: Sequence[str]) -> str:
    near = nearest(word, tuple(allowed), 1)
    return f"did you mean `{near[0]}`?" if near else ""
