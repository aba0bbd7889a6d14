"""One walk over an engine's argv, the way its own parser walks it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import field

from rigspec.catalog.data import nearest
from rigspec.catalog.flag_problems import Complaints
from rigspec.catalog.flag_table import Flag, FlagHistory, FlagTable, version_key
from rigspec.catalog.flag_values import NUMBER, ValueChecker
from rigspec.frozen import dataclass

_HELP = {
    "vllm": "vllm serve --help=all",
    "sglang": "python3 -m sglang.launch_server --help",
    "llama_cpp": "llama-server --help",
}
_BARE_BEFORE = {"-fa": 6325, "--flash-attn": 6325}
"""llama.cpp flags that were switches before this build (ggml-org/llama.cpp pull 15434)."""
_OPTIMIZATION = re.compile(r"-O(=?[0-3])?")


@dataclass
class Seen:
    """What an argv held: values by `dest`, positions, positionals."""

    values: dict[str, list[str]] = field(default_factory=dict)
    index: dict[str, int] = field(default_factory=dict)
    positionals: list[tuple[int, str]] = field(default_factory=list)

    def last(self, dest: str) -> str | None:
        """The value that wins; None when the flag is absent (a bare switch gives `true`)."""
        return self.values[dest][-1] if self.values.get(dest) else None

    def is_on(self, dest: str) -> bool:
        """Whether a switch is there and not negated."""
        return self.last(dest) not in (None, "false")


class Walk:
    """Reads `argv` from `start` on, collecting complaints and what was seen."""

    def __init__(
        self,
        table: FlagTable,
        history: FlagHistory | None,
        version: str | None,
        complaints: Complaints,
    ) -> None:
        self.table, self.history, self.version = table, history, version
        self.say = complaints
        self.checker = ValueChecker(table, complaints)
        self.seen = Seen()
        self.argv: Sequence[str] = ()
        self.at = 0

    def run(self, argv: Sequence[str], start: int) -> Seen:
        """Walk to the end."""
        self.argv, self.at = argv, start
        while self.at < len(argv):
            index, word = self.at, argv[self.at]
            self.at += 1
            if not looks_like_flag(word):
                self.seen.positionals.append((index, word))
            elif self.table.engine == "vllm" and _OPTIMIZATION.fullmatch(word):
                self.at += word == "-O"
            else:
                self._flag(index, word)
        return self.seen

    def _flag(self, index: int, word: str) -> None:
        name, equals, inline = word.partition("=")
        if equals and not self.table.equals_form and self.table.spelled(name) in self.table.by_name:
            hint = f"write `{name}` and `{inline}` as two arguments"
            message = f"`{word}`: this engine takes the value as the next argument"
            self.say.error(index, name, "syntax", message, hint)
            return
        name = self.table.spelled(name)
        value = inline if equals else None
        if self.table.dotted_json and "." in name and name not in self.table.by_name:
            self._dotted(index, name, value)
            return
        if name not in self.table.by_name and re.match(r"-[a-z][^-]", name):
            name, value = self._glued(name, value)
        hit = self._look_up(index, name)
        if hit is None:
            if value is None:
                self._skip_values()
            return
        self._state(index, name, hit[0])
        self._take(index, name, hit, value)

    def _glued(self, name: str, value: str | None) -> tuple[str, str | None]:
        """`-tp4` is `-t` with value `p4` to argparse, unless the whole word is a flag."""
        hit = self.table.by_name.get(name[:2])
        if hit and hit[0].kind == "value" and self.table.engine != "llama_cpp":
            return name[:2], name[2:]
        return name, value

    def _look_up(self, index: int, name: str) -> tuple[Flag, bool] | None:
        presence = (
            self.history.presence(name, self.version) if self.history and self.version else ""
        )
        if presence == "not yet" and self.history and self.version:
            message = f"`{name}` is not in {self.table.engine} {self.version} yet"
            hint = f"it is there from about {self.history.spans[name][0]} on"
            self.say.about_name(index, name, "not-yet", message, hint)
            return None
        if name in self.table.by_name:
            return self.table.by_name[name]
        if presence == "present":  # an older version's flag: only its name is known
            return None
        if name in self.table.removed or presence == "gone":
            self._gone(index, name)
            return None
        return self._abbreviated(index, name)

    def _gone(self, index: int, name: str) -> None:
        said = self.table.removed.get(name, "")
        last = re.search(r"last seen in (\S+?)(;|$)", said)
        when = f", last in {last[1]}" if last else ""
        notes = (note for note in said.split("; ") if not note.startswith("last seen"))
        use = "; ".join(note for note in notes if "replacement" not in note)
        message = f"`{name}` is not a flag of {self._list()}{when}"
        hint = f"use {use}" if use.startswith("-") else use
        self.say.about_name(index, name, "removed", message, hint or "leave it out")

    def _abbreviated(self, index: int, name: str) -> tuple[Flag, bool] | None:
        known = self.table.by_name
        longer = [k for k in known if name.startswith("--") and k.startswith(name)]
        if not self.table.abbreviations or not longer:
            self._unknown(index, name)
            return None
        if len({(known[k][0].dest, known[k][1]) for k in longer}) > 1:
            message = f"`{name}` could be {', '.join(sorted(longer))}"
            self.say.error(index, name, "ambiguous", message, "write the whole name")
            return None
        message = f"`{name}` works only as an abbreviation of `{longer[0]}`"
        hint = f"write `{longer[0]}`: the next version may have a second flag that begins so"
        self.say.warn(index, name, "abbreviation", message, hint)
        return known[longer[0]]

    def _unknown(self, index: int, name: str) -> None:
        message = f"`{name}` is not a flag of {self._list()}"
        near = nearest(name, tuple(self.table.by_name), 1)
        hint = f"did you mean `{near[0]}`?" if near else f"`{_HELP[self.table.engine]}` lists them"
        self.say.about_name(index, name, "unknown", message, hint)

    def _list(self) -> str:
        """Which list of flags was looked at."""
        listed = f"{self.table.engine} {self.table.version}"
        other = self.version is not None and self.version != self.table.version
        return f"{listed} (the list at hand; the spec says {self.version})" if other else listed

    def _state(self, index: int, name: str, flag: Flag) -> None:
        if flag.removed:
            hint = f"use {' or '.join(flag.replacement)}"
            self.say.about_name(index, name, "removed", f"`{name}` was removed", hint)
        elif flag.deprecated:
            self.say.warn(index, name, "deprecated", f"`{name}` is deprecated and will go")
        if flag.dest in self.seen.values and flag.kind != "append":
            message = f"`{name}` is given more than once; the last one wins"
            self.say.warn(index, name, "duplicate", message)

    def _take(self, index: int, name: str, hit: tuple[Flag, bool], inline: str | None) -> None:
        flag, positive = hit
        if flag.kind in ("bool", "switch"):
            if inline is not None:
                self.say.error(index, name, "value", f"`{name}` takes no value")
            values = ["true" if positive else "false"]
        else:
            values = [inline] if inline is not None else self._values(index, name, flag)
            first = index if inline is not None else index + 1
            for offset, value in enumerate(values):
                self.checker.check(first + offset, flag, name, value)
        self.seen.values.setdefault(flag.dest, []).extend(values or ["true"])
        self.seen.index[flag.dest] = index

    def _values(self, index: int, name: str, flag: Flag) -> list[str]:
        if flag.kind == "multi":
            start = self.at
            self._skip_values()
            if self.at == start and flag.nargs == "+":
                self.say.error(index, name, "value", f"`{name}` needs at least one value")
            return list(self.argv[start : self.at])
        if flag.kind == "optional-value" and not self._value_follows():
            return []
        found: list[str] = []
        if self._was_bare(name) and not self._value_follows():
            return []
        for _ in range(flag.values):
            if not self._value_follows():
                # llama.cpp: older builds took some of these bare, `-fa` for one
                exact = self.table.engine != "llama_cpp" or self.say.strictness.values
                say = self.say.error if exact else self.say.warn
                say(index, name, "value", f"`{name}` needs a value")
                break
            found.append(self.argv[self.at])
            self.at += 1
        return found

    def _was_bare(self, name: str) -> bool:
        """Whether this llama.cpp took a flag without the value it needs today."""
        built = version_key(self.version or "") if self.table.engine == "llama_cpp" else ()
        return bool(built) and len(built) == 1 and built[0] < _BARE_BEFORE.get(name, 0)

    def _value_follows(self) -> bool:
        if self.at >= len(self.argv):
            return False
        word = self.argv[self.at]
        if self.table.engine == "llama_cpp":  # takes any next word; a known flag there is a slip
            return word not in self.table.by_name
        return not looks_like_flag(word)

    def _skip_values(self) -> None:
        while self.at < len(self.argv) and not looks_like_flag(self.argv[self.at]):
            self.at += 1

    def _dotted(self, index: int, name: str, value: str | None) -> None:
        base, _, path = name.rstrip("+").partition(".")
        if value is None and self.at < len(self.argv):
            self.at += 1
        hit = self._look_up(index, base)
        if hit is None:
            return
        if hit[0].type not in ("json", "json-object", "str-or-json"):
            message = f"`{base}` takes no dotted JSON keys"
            self.say.error(index, base, "type", message)
            return
        self.checker.keys(index, hit[0], base, [path.split(".")[0]])
        self.seen.values.setdefault(hit[0].dest, []).append(path)
        self.seen.index[hit[0].dest] = index


def looks_like_flag(word: str) -> bool:
    """Whether argparse would read a word as an option, not as a value."""
    if not word.startswith("-") or word == "-" or NUMBER.fullmatch(word):
        return False
    return " " not in word.split("=", 1)[0]
