"""What one engine's command line accepts, and since when: tables read out of the engines' parsers.

`data/engine_flags/ENGINE.json` is the parser of one version; `ENGINE-history.json` the first and
last sampled version of every long flag. Only the table of the engine in use is read.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from rigspec.catalog.data import DATA, CatalogError
from rigspec.frozen import dataclass

ENGINES = ("vllm", "sglang", "llama_cpp")
_ARG, _NO = "LLAMA_ARG_", "LLAMA_ARG_NO_"
Presence = Literal["present", "not yet", "gone", "unknown"]


@dataclass(frozen=True)
class Flag:
    """One option of an engine."""

    names: tuple[str, ...]
    dest: str
    kind: str
    """value, bool (has a `--no-` form), switch, multi, append, optional-value, any."""
    type: str
    choices: tuple[str, ...]
    also_accepts: tuple[str, ...]
    """Values the parser takes without listing them."""
    suggested: tuple[str, ...]
    """An open list: other values only deserve a warning."""
    object_keys: tuple[str, ...]
    folds_case: bool
    takes_none: bool
    nargs: str
    values: int
    deprecated: bool
    removed: bool
    replacement: tuple[str, ...]


@dataclass(frozen=True)
class FlagHistory:
    """When a long flag came and went, as far as sampled versions tell."""

    versions: tuple[str, ...]
    spans: Mapping[str, tuple[str, str]]

    def covers(self, version: str) -> bool:
        """Whether `version` lies between the first and the last sample."""
        keys = [version_key(sample) for sample in self.versions]
        return keys[0] <= version_key(version) <= keys[-1]

    def presence(self, name: str, version: str) -> Presence:
        """Whether `version` has the flag; `unknown` between two samples that differ."""
        if name not in self.spans:
            return "unknown"
        key = version_key(version)
        samples = [version_key(sample) for sample in self.versions]
        first, last = (version_key(end) for end in self.spans[name])
        if first <= key <= last:
            return "present"
        if key < first:
            return "not yet" if any(key <= sample < first for sample in samples) else "unknown"
        return "gone" if any(last < sample <= key for sample in samples) else "unknown"


@dataclass(frozen=True)
class FlagTable:
    """One engine's options, registries and environment names."""

    engine: str
    version: str
    by_name: Mapping[str, tuple[Flag, bool]]
    """Spelling to flag, and whether that spelling says yes."""
    registries: Mapping[str, tuple[str, ...]]
    soft_registries: tuple[str, ...]
    removed: Mapping[str, str]
    """Flags that are gone: what to use instead, or when they went."""
    env_prefix: str
    env_known: frozenset[str]
    env_flags: Mapping[str, str]
    """The flag of a variable that is named otherwise."""
    underscore_is_dash: bool
    abbreviations: bool
    equals_form: bool
    dotted_json: bool

    def flag_of(self, variable: str) -> Flag | None:
        """The flag whose value a variable holds."""
        own = f"--{variable.removeprefix(_ARG).lower().replace('_', '-')}"
        return self.by_name.get(self.env_flags.get(variable, own), (None, True))[0]

    def negated_by(self, variable: str) -> str:
        """The variable of llama.cpp whose flag this one turns off, whatever it holds
        (`get_value_from_env` of `common/arg.cpp`); empty where it is none of that kind."""
        positive = f"{_ARG}{variable.removeprefix(_NO)}" if variable.startswith(_NO) else ""
        flag = self.flag_of(positive) if positive in self.env_known else None
        return positive if flag is not None and flag.kind == "bool" else ""

    def spelled(self, name: str) -> str:
        """A flag as the engine compares it (`_` is `-` in some)."""
        if not (self.underscore_is_dash and name.startswith("--")):
            return name
        head, dot, tail = name.partition(".")
        return head.replace("_", "-") + dot + tail


@lru_cache(maxsize=8)
def load_flags(engine: str) -> FlagTable:
    """The table of `vllm`, `sglang` or `llama_cpp`."""
    if engine not in ENGINES:
        raise CatalogError(f"no flag table for engine `{engine}`", hint=f"known: {ENGINES}")
    raw = _read(engine)
    syntax = raw["syntax"]
    by_name: dict[str, tuple[Flag, bool]] = {}
    for row in raw["flags"]:
        flag = _flag(row)
        by_name |= dict.fromkeys(flag.names, (flag, True))
        by_name |= dict.fromkeys(row.get("negated", ()), (flag, False))
    return FlagTable(
        engine=engine,
        version=raw["version"],
        by_name=by_name,
        registries={name: tuple(words) for name, words in raw["registries"].items()},
        soft_registries=tuple(raw["soft_registries"]),
        removed=raw["removed_flags"],
        env_prefix=raw["env"]["prefix"],
        env_known=frozenset(raw["env"]["known"]),
        env_flags=raw["env"].get("flags", {}),
        underscore_is_dash=syntax["underscore_equals_dash"],
        abbreviations=syntax["prefix_abbreviation"],
        equals_form=syntax.get("equals_form", True),
        dotted_json=syntax["dotted_json"],
    )


@lru_cache(maxsize=8)
def load_history(engine: str) -> FlagHistory | None:
    """First and last sampled version of each long flag; None where nobody sampled (llama.cpp)."""
    if not (DATA / "engine_flags" / f"{engine}-history.json").is_file():
        return None
    raw = _read(f"{engine}-history")
    spans = {name: (first, last) for name, (first, last) in raw["flags"].items()}
    return FlagHistory(tuple(raw["versions"]), spans)


def version_key(version: str) -> tuple[int, ...]:
    """A version for comparison: `0.5.10.post1` → (0, 5, 10, 1), `b11434` → (11434,)."""
    plain = re.match(r"[vb]?(\d+(?:\.\d+)*)(?:\.?post(\d+))?", version)
    if plain is None:
        return ()
    parts = [int(part) for part in plain[1].split(".")]
    if len(parts) > 1:
        parts += [0] * (3 - len(parts))
    return (*parts, int(plain[2])) if plain[2] else tuple(parts)


def is_release(version: str) -> bool:
    """Whether a version names a published release, not a development or patched build."""
    return re.fullmatch(r"(v?\d+(\.\d+)*(\.?post\d+)?|b\d+)", version) is not None


def _read(name: str) -> dict[str, Any]:
    text = (DATA / "engine_flags" / f"{name}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def _flag(row: Mapping[str, Any]) -> Flag:
    names = tuple(row["names"])
    return Flag(
        names=names,
        dest=row.get("dest") or names[-1].lstrip("-").replace("-", "_"),
        kind=row["kind"],
        type=row.get("type", ""),
        choices=tuple(str(choice) for choice in row.get("choices", ())),
        also_accepts=tuple(row.get("also_accepts", ())),
        suggested=tuple(str(word) for word in row.get("suggested", ())),
        object_keys=tuple(row.get("object_keys", ())),
        folds_case=row.get("folds_case", False),
        takes_none=row.get("takes_none", False),
        nargs=row.get("nargs", ""),
        values=row.get("values", 1),
        deprecated=row.get("deprecated", False),
        removed=row.get("removed", False),
        replacement=tuple(row.get("replacement", ())),
    )
