"""Cards, cache types, weight formats and `quantization` arguments that an engine refuses at start.

Read from the engines' own builds and sources (`data/engine_support.yaml`); llama.cpp has no rows:
its builds differ by their CUDA release alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Literal

from rigspec.catalog.data import DATA, load_table
from rigspec.catalog.flag_table import FlagHistory, is_release, version_key
from rigspec.catalog.model_facts import ModelFacts
from rigspec.frozen import dataclass

Kind = Literal["plain", "latent", "sparse", "compressed"]
"""Attention of a model: with key/value heads, with a latent record, with an index beside it, with a
record of several tokens."""
Compute = tuple[int, int]


@dataclass(frozen=True)
class Versions:
    """The releases a row holds for; an unknown version is the newest known."""

    first: tuple[int, ...]
    below: tuple[int, ...] | None

    @property
    def every(self) -> bool:
        """Whether it holds whatever the version."""
        return self.first == (0,) and self.below is None

    def hold(self, version: tuple[int, ...] | None) -> bool:
        """Whether a release is one of them."""
        if version is None:
            return self.below is None
        return self.first <= version and (self.below is None or version < self.below)


@dataclass(frozen=True)
class CardRow:
    """The lowest compute capability of an engine's builds."""

    versions: Versions
    least: Compute
    source: str

    @property
    def since(self) -> str:
        """The release that began with it, `0.20`; empty for the oldest."""
        first = self.versions.first
        return "" if first == (0,) else ".".join(map(str, first))

    def refusal(self, engine: str, card: str, compute: Compute) -> str:
        """In one sentence what the engine's builds hold, and what a card would need."""
        below = self.versions.below
        until = f"to before {'.'.join(map(str, below))}" if below else "on"
        who = f"{engine} from {self.since} {until}" if self.since else engine
        least = f"{self.least[0]}.{self.least[1]}"
        return (
            f"{who} holds code for compute capability {least} and newer; {card} has "
            f"{compute[0]}.{compute[1]}"
        )


@dataclass(frozen=True)
class AttentionRow:
    """A cache type, or a kind of attention, and the cards that have kernels for it."""

    versions: Versions
    what: str
    types: frozenset[str]
    """Empty: whatever the cache type."""
    among: frozenset[str]
    """Kinds of attention it is limited to; empty: any."""
    weights: frozenset[str]
    """Checkpoints it is limited to, by their own word; empty: any."""
    least: Compute
    majors: frozenset[int] | None
    """The only major capabilities; None: any, empty: no NVIDIA card."""
    why: str
    source: str

    def about(self, cache_type: str, kind: Kind | None, weights: str) -> bool:
        """Whether the row speaks of such a cache, model and checkpoint."""
        return (
            (not self.types or cache_type in self.types)
            and (not self.among or kind in self.among)
            and (not self.weights or weights in self.weights)
        )

    def takes(self, compute: Compute) -> bool:
        """Whether a card has the kernels."""
        return compute >= self.least and (self.majors is None or compute[0] in self.majors)

    def refusal(self, engine: str, cache_type: str, card: str, compute: Compute) -> str:
        """In one sentence what the engine lacks, and for which card."""
        what = self.what or f"a cache of type `{cache_type}`"
        if self.majors is None:
            where = f"compute capability {self.least[0]}.{self.least[1]} and newer"
        elif self.majors:
            where = "compute capability " + ", ".join(f"{major}.x" for major in sorted(self.majors))
        else:
            kinds = " or ".join(sorted(self.among)) + " attention" if self.among else ""
            kinds = kinds or (f"{', '.join(sorted(self.weights))} weights" if self.weights else "")
            return f"{engine} has no {what.removeprefix('a ')}{' for ' + kinds if kinds else ''}"
        return f"{engine} has {what} for {where}; {card} has {compute[0]}.{compute[1]}"


@dataclass(frozen=True)
class FormatRow:
    """The lowest compute capability that runs a weight format at all, unpacked included."""

    schemes: frozenset[str]
    methods: frozenset[str]
    """Checkpoints it is limited to, by their own word; empty: any."""
    least: Compute
    source: str


@dataclass(frozen=True)
class Arguments:
    """What `quantization` may say."""

    judged: frozenset[str]
    """Arguments that are known well enough to judge."""
    recorded: frozenset[str]
    """Those that need a record beside the weights."""
    taken: Mapping[str, tuple[str, ...]]
    """A checkpoint's own word to the arguments that are taken for it."""
    source: str


@dataclass(frozen=True)
class Support:
    """What one engine takes."""

    cards: tuple[CardRow, ...]
    attention: tuple[AttentionRow, ...]
    formats: tuple[FormatRow, ...]
    arguments: Arguments

    def least_card(self, version: tuple[int, ...] | None) -> CardRow:
        """The lowest compute capability that the engine's own builds of a release hold code for."""
        return [row for row in self.cards if row.versions.hold(version)][-1]

    def held(self, compute: Compute) -> bool:
        """Whether builds of any release hold code for a card."""
        return any(compute >= row.least for row in self.cards)

    def least_format(self, scheme: str, method: str) -> Compute | None:
        """The lowest compute capability that runs weights of a scheme; None when any does."""
        rows = (r for r in self.formats if scheme in r.schemes)
        return next((r.least for r in rows if not r.methods or method in r.methods), None)

    def refused_attention(
        self,
        cache_type: str,
        kind: Kind | None,
        weights: str,
        compute: Compute,
        version: tuple[int, ...] | None,
    ) -> AttentionRow | None:
        """The first row that leaves a card out; None when nothing is known to be refused."""
        rows = (r for r in self.attention if r.versions.hold(version))
        return next(
            (r for r in rows if r.about(cache_type, kind, weights) and not r.takes(compute)), None
        )


@lru_cache(maxsize=4)
def support(engine: str) -> Support | None:
    """What `vllm` or `sglang` takes; None for an engine without rows."""
    row = load_table("engine_support").get(engine)
    if row is None:
        return None
    values: Mapping[str, Any] = row.values
    arguments = values["arguments"]
    return Support(
        cards=tuple(
            CardRow(_versions(r), _compute(r["least"]), r["source"]) for r in values["cards"]
        ),
        attention=tuple(_attention(r) for r in values["attention"]),
        formats=tuple(
            FormatRow(
                frozenset(r["schemes"]),
                frozenset(r.get("methods", ())),
                _compute(r["least"]),
                r["source"],
            )
            for r in values["formats"]
        ),
        arguments=Arguments(
            frozenset(arguments["judged"]),
            frozenset(arguments["recorded"]),
            {word: tuple(taken) for word, taken in arguments["taken"].items()},
            arguments["source"],
        ),
    )


@lru_cache(maxsize=4)
def architectures(engine: str) -> FlagHistory | None:
    """First and last sampled version that lists an architecture (`Qwen3ForCausalLM`); None for an
    engine without rows."""
    file = DATA / "engine_models" / f"{engine}.json"
    if not file.is_file():
        return None
    raw = json.loads(file.read_text(encoding="utf-8"))
    spans = {name: (first, last) for name, (first, last) in raw["architectures"].items()}
    return FlagHistory(tuple(raw["versions"]), spans)


@dataclass(frozen=True)
class Unlisted:
    """A release that does not know a model's class."""

    message: str
    first: str | None = None
    """The release that added it; None where it went, or never was."""
    of_version: bool = False
    """Whether another release lists it."""


def unlisted(engine: str, label: str, facts: ModelFacts, version: str | None) -> Unlisted | None:
    """What to say of a release, or of all where none is told, that does not list the class of a
    config; None where it may."""
    history, architecture = architectures(engine), facts.architecture
    if history is None or facts.is_gguf:
        return None
    if not architecture:
        return Unlisted(
            f"its config names no class in `architectures`, by which {label} takes a model"
        )
    if architecture not in history.spans:
        return _never_listed(history, label, architecture, version)
    if version is None or not is_release(version):
        return None
    listed = history.presence(architecture, version)
    if listed not in ("not yet", "gone"):
        return None
    first, last = history.spans[architecture]
    edge = f"from {first} on" if listed == "not yet" else f"up to {last}"
    return Unlisted(
        f"{label} {version} does not list `{architecture}`; releases {edge} are known to",
        first if listed == "not yet" else None,
        of_version=True,
    )


def _never_listed(
    history: FlagHistory, label: str, architecture: str, version: str | None
) -> Unlisted | None:
    """A newer release, an older one or a patched build may list what no sample does."""
    first, last = history.versions[0], history.versions[-1]
    if version is not None:
        edges = version_key(first), version_key(last)
        if not is_release(version) or not edges[0] <= version_key(version) <= edges[1]:
            return None
    return Unlisted(f"no release of {label} from {first} to {last} lists `{architecture}`")


def _attention(row: Mapping[str, Any]) -> AttentionRow:
    return AttentionRow(
        versions=_versions(row),
        what=row.get("what", ""),
        types=frozenset(row.get("types", ())),
        among=frozenset(row.get("among", ())),
        weights=frozenset(row.get("weights", ())),
        least=_compute(row.get("least", "0.0")),
        majors=frozenset(row["majors"]) if "majors" in row else None,
        why=row["why"],
        source=row["source"],
    )


def _versions(row: Mapping[str, Any]) -> Versions:
    below = row.get("below")
    return Versions(_numbers(row.get("from", "0")), _numbers(below) if below else None)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))


def _compute(text: str) -> Compute:
    major, minor = text.split(".")
    return int(major), int(minor)
