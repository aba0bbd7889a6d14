"""pydantic's error types → our sentences: what was found, what is allowed, what to write.

pydantic's own words never reach the owner. A test walks the models' schema and fails when an error
type that they can raise has no sentence here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field
from typing import Any, get_args

from pydantic import ValidationError

from rigspec.finding import Finding, Path, Severity
from rigspec.frozen import dataclass
from rigspec.spec.base import LINK_WIDTHS
from rigspec.spec.fields import is_section, section_at, type_at
from rigspec.spec.forms import form_of
from rigspec.spec.instead import empty_hint, form_hint, ticked
from rigspec.spec.misnamed import hint_for_unknown, nearest, nearest_choice
from rigspec.spec.numbers import number_hint, share_hint
from rigspec.spec.secrets import may_be_secret
from rigspec.spec.source import Source

SHOWN = 48
"""Characters of a found value that a message repeats."""

LISTED = 16
"""Allowed keys that a hint lists."""

_GLUED = re.compile(r"[a-z]\w*:(?=\S)")


@dataclass(frozen=True)
class Wrong:
    """One validation error: pydantic's type and context, our path, and what was found there."""

    kind: str
    path: Path
    context: dict[str, Any]
    written: str | None
    """The scalar as written; None for a list, a mapping, nothing, or a possible secret."""
    is_empty: bool
    at_key: bool = False
    models: Mapping[str, str | None] = field(default_factory=dict)
    """Names below `models` of this spec, and the repository of each."""

    @property
    def name(self) -> str:
        """The last key of the path, or the item as the owner counts it."""
        last = self.path[-1] if self.path else "spec"
        if isinstance(last, int):
            owner = next((p for p in reversed(self.path) if isinstance(p, str)), "list")
            return f"{owner}[{last}]"
        return last

    @property
    def found(self) -> str:
        """`, found …`, or nothing where the value must not be shown."""
        if self.is_empty:
            return ", found nothing"
        if self.written is None:
            return ""
        cut = self.written if len(self.written) <= SHOWN else self.written[: SHOWN - 1] + "…"
        return f", found `{cut}`"

    def finding(self, rule: str, message: str, hint: str = "", why: str = "") -> Finding:
        """An error about this place."""
        return Finding(
            Severity.ERROR, f"shape.{rule}", self.path, message, why, hint, at_key=self.at_key
        )


def findings_of(problem: ValidationError, source: Source) -> tuple[Finding, ...]:
    """Everything a validation found, in our words; a typo and the key it hides are one finding."""
    wrongs = [_wrong(e, source) for e in problem.errors(include_input=False, include_url=False)]
    unknown = [w for w in wrongs if w.kind == "extra_forbidden"]
    explained = {missing for w in unknown if (missing := _hidden_by(w, wrongs)) is not None}
    return tuple(
        WORDS.get(w.kind, _unforeseen)(w)
        for w in wrongs
        if not (w.kind == "missing" and w.path in explained) and not _only_seems_empty(w, wrongs)
    )


def _wrong(error: Any, source: Source) -> Wrong:
    """pydantic's record with our path: `[key]` (the key itself is wrong) is no path element."""
    location = tuple(error["loc"])
    at_key = location[-1:] == ("[key]",) or error["type"] == "extra_forbidden"
    path: Path = tuple(p for p in location if p != "[key]")
    written = str(path[-1]) if at_key else source.text_at(path)
    hidden = written is not None and may_be_secret(path, written)
    empty = not at_key and error["type"] != "missing" and source.is_null(path)
    return Wrong(
        error["type"],
        path,
        dict(error.get("ctx", {})),
        None if hidden or empty else written,
        empty,
        at_key,
        {n: source.text_at(("models", n, "hub")) for n in source.keys_at(("models",))},
    )


def _hidden_by(unknown: Wrong, wrongs: Iterable[Wrong]) -> Path | None:
    """The missing key that this unknown one was probably meant to be."""
    parent = unknown.path[:-1]
    missing = [w.path for w in wrongs if w.kind == "missing" and w.path[:-1] == parent]
    meant = nearest(str(unknown.path[-1]), [str(p[-1]) for p in missing])
    return (*parent, meant) if meant else None


def _only_seems_empty(w: Wrong, wrongs: Iterable[Wrong]) -> bool:
    """A list whose items failed: pydantic counts only the good ones."""
    depth = len(w.path)
    return w.kind == "too_short" and any(
        len(other.path) > depth and other.path[:depth] == w.path for other in wrongs
    )


def _unknown_key(w: Wrong) -> Finding:
    section = section_at(w.path[:-1])
    keys = tuple(section.model_fields) if section else ()
    key = str(w.path[-1])
    shown = key if len(key) <= SHOWN else key[: SHOWN - 1] + "…"
    hint = hint_for_unknown(key, keys, w.path[:-1]) or _allowed(keys)
    why = "it would be passed over in silence, and what it should set would stay as it is"
    return w.finding("unknown-key", f"unknown key `{shown}`{_below(w)}", hint, why)


def _allowed(keys: tuple[str, ...]) -> str:
    if len(keys) > LISTED:
        return f"docs/spec.md lists the {len(keys)} keys that are allowed here"
    return f"allowed here: {ticked(keys)}"


def _missing(w: Wrong) -> Finding:
    kind = type_at(w.path)
    section = section_at(w.path[:-1])
    info = section.model_fields.get(str(w.path[-1])) if section else None
    what = (info.description or "").rstrip(".") if info else ""
    below = " and what belongs below it" if is_section(kind) else ""
    hint = f"add `{w.name}:`{below}" + (f" ({what[:1].lower()}{what[1:]})" if what else "")
    return w.finding("missing-key", f"`{w.name}` is missing{_below(w)}", hint)


def _number(words: str) -> Callable[[Wrong], Finding]:
    def say(w: Wrong) -> Finding:
        return w.finding(
            "not-a-number", f"`{w.name}` takes {words}{w.found}", number_hint(w.path, w.written)
        )

    return say


def _bool(w: Wrong) -> Finding:
    meant = nearest_choice(w.written or "", ("true", "false"))
    hint = f"did you mean `{meant}`?" if meant else ""
    return w.finding("not-a-boolean", f"`{w.name}` takes `true` or `false`{w.found}", hint)


def _text(w: Wrong) -> Finding:
    hint = empty_hint(w.path) if w.is_empty else ""
    return w.finding("not-a-text", f"`{w.name}` takes one text{w.found}", hint)


def _list(w: Wrong) -> Finding:
    hint = f"put it in brackets: `[{w.written}]`" if w.written else "one item per line, after `- `"
    return w.finding("not-a-list", f"`{w.name}` takes a list{w.found}", hint)


def _mapping(w: Wrong) -> Finding:
    kind = type_at(w.path)
    if (glued := _GLUED.match(w.written or "")) is not None:
        hint = f"a space is missing after `{glued[0]}`"
    elif not is_section(kind):
        pair = "/path/on/host: /path/in/container" if w.path[-1] == "mounts" else "name: …"
        hint = f"write one `{pair}` per line below it, indented"
    else:
        hint = f"write its keys below it, indented: {ticked(tuple(kind.model_fields))}"
    return w.finding("not-a-mapping", f"`{w.name}` takes a mapping of keys{w.found}", hint)


def _choice(w: Wrong) -> Finding:
    choices = tuple(str(c) for c in get_args(type_at(w.path)))
    meant = nearest_choice(w.written or "", choices)
    words = ticked(choices) if choices else str(w.context.get("expected", ""))
    hint = f"did you mean `{meant}`?" if meant else ""
    if w.path == ("rigspec",):
        hint = "the version of the format; this rigspec reads no other"
    elif w.path == ("pcie", "acs") and w.written == "off":
        hint = "`off_on_gpu_paths` turns it off where GPUs exchange data, `keep` leaves it alone"
    return w.finding(
        "not-a-choice",
        f"`{w.name}` is one of {words}{w.found}" if len(choices) != 1 else _only(w, words),
        hint,
    )


def _only(w: Wrong, words: str) -> str:
    return f"`{w.name}` must be {words}{w.found}"


def _bound(sign: str, key: str) -> Callable[[Wrong], Finding]:
    def say(w: Wrong) -> Finding:
        limit = _plain(w.context.get(key))
        hint = share_hint(w.path, w.written)
        return w.finding("out-of-range", f"`{w.name}` must be {sign} {limit}{w.found}", hint)

    return say


def _plain(number: Any) -> str:
    return f"{number:g}" if isinstance(number, int | float) else str(number)


def _form(w: Wrong) -> Finding:
    pattern = str(w.context.get("pattern", ""))
    form = form_of(pattern)
    subject = "this name must be" if w.at_key else f"`{w.name}` takes"
    hint = form_hint(w.path, w.written, form, pattern, w.models)
    return w.finding("bad-form", f"{subject} {form.words}{w.found}", hint)


def _link_width(w: Wrong) -> Finding:
    widths = ", ".join(map(str, LINK_WIDTHS))
    hint = "`lspci -vv` prints what card and slot can do (LnkCap) and what they agreed on (LnkSta)"
    return w.finding("bad-value", f"`{w.name}` is one of {widths} lanes{w.found}", hint)


def _too_long(w: Wrong) -> Finding:
    most = w.context.get("max_length")
    return w.finding("too-long", f"`{w.name}` takes at most {most} characters{w.found}")


def _too_short(w: Wrong) -> Finding:
    return w.finding("empty", f"`{w.name}` must not be empty", "write at least one entry")


def _other_value(w: Wrong) -> Finding:
    return w.finding("bad-value", f"`{w.name}` holds a value that is not allowed{w.found}")


def _unforeseen(w: Wrong) -> Finding:
    return w.finding("bad-value", f"`{w.name}` is not valid{w.found} ({w.kind})")


def _below(w: Wrong) -> str:
    """` in `gpus.main``: where, for a key below the top."""
    return f" in `{dotted(w.path[:-1])}`" if len(w.path) > 1 else ""


def dotted(path: Path) -> str:
    """A path as text: `pcie.switches[0].name`; a key with dots or brackets is quoted."""
    text = ""
    for element in path:
        if isinstance(element, int):
            text += f"[{element}]"
        else:
            plain = element.replace("_", "").replace("-", "").isalnum()
            text += ("." if text else "") + (element if plain else f'"{element}"')
    return text


WORDS: dict[str, Callable[[Wrong], Finding]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing,
    "int_type": _number("a whole number"),
    "int_parsing": _number("a whole number"),
    "int_parsing_size": _number("a whole number of fewer digits"),
    "int_from_float": _number("a whole number"),
    "float_type": _number("a number"),
    "float_parsing": _number("a number"),
    "finite_number": _number("a finite number"),
    "bool_type": _bool,
    "bool_parsing": _bool,
    "string_type": _text,
    "string_unicode": _text,
    "string_pattern_mismatch": _form,
    "string_too_long": _too_long,
    "string_too_short": _too_short,
    "tuple_type": _list,
    "dict_type": _mapping,
    "model_type": _mapping,
    "too_short": _too_short,
    "literal_error": _choice,
    "greater_than": _bound("above", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("below", "lt"),
    "less_than_equal": _bound("at most", "le"),
    "link_width": _link_width,
    "value_error": _other_value,
    "assertion_error": _other_value,
    "recursion_loop": _other_value,
}
