"""Typed reading of a `config.json` that may lack, misspell or null any key.

A Hugging Face config is written by hundreds of hands: a value may be null, a number may be text,
the language part may sit one or two levels down. Nothing here raises; what is absent is None.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rigspec.frozen import dataclass
from rigspec.letters import as_name

_TEXT_SECTIONS = ("text_config", "llm_config", "language_config", "thinker_config", "text_model")

COUNTS = ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts")
ACTIVE = (
    "num_experts_per_tok", "num_experts_per_token", "top_k_experts", "experts_per_token",
    "moe_topk",
)  # fmt: skip
"""Experts of a layer, and how many of them a token meets, by the names that configs use."""
OWN_WIDTHS = ("moe_intermediate_size", "expert_intermediate_size", "moe_ffn_hidden_size")
DENSE_WIDTHS = (
    "dense_intermediate_size", "intermediate_size_mlp", "intermediate_size", "n_inner", "ffn_dim",
    "ffn_hidden_size", "block_ff_dim",
)  # fmt: skip
"""Feed-forward widths: of one expert, of a dense layer."""
DRAFTS = ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules")
"""Layers that draft."""


@dataclass(frozen=True)
class Keys:
    """Sections looked through in order; the first that holds a usable value answers."""

    sections: tuple[Mapping[str, object], ...]

    def whole(self, *names: str) -> int | None:
        """The first value that is a whole number, under any of the names."""
        return _first_whole(self._values(names))

    def whole_at(self, layer: int, *names: str) -> int | None:
        """`whole`, where a list may state one number per layer."""
        return _first_whole(
            (value[layer] if layer < len(value) else None)
            if isinstance(value, (list, tuple))
            else value
            for value in self._values(names)
        )

    def number(self, *names: str) -> float | None:
        """The first value that is a finite number, under any of the names."""
        for value in self._values(names):
            number = _number(value)
            if number is not None:
                return number
        return None

    def flag(self, *names: str) -> bool | None:
        """The first true or false, under any of the names."""
        for value in self._values(names):
            if isinstance(value, bool):
                return value
        return None

    def text(self, *names: str) -> str | None:
        """The first non-empty text, under any of the names."""
        for value in self._values(names):
            if isinstance(value, str) and value:
                return value
        return None

    def word(self, *names: str) -> str:
        """The text that names something, as it may be printed; empty where there is none."""
        return as_name(self.text(*names) or "")

    def items(self, *names: str) -> tuple[object, ...]:
        """The first list, under any of the names; empty when there is none."""
        for value in self._values(names):
            if isinstance(value, (list, tuple)):
                return tuple(value)
        return ()

    def section(self, *names: str) -> Keys | None:
        """The first mapping, under any of the names."""
        for value in self._values(names):
            if isinstance(value, Mapping):
                return Keys((value,))
        return None

    def mapping(self, *names: str) -> Mapping[str, object]:
        """The first mapping itself; empty when there is none."""
        found = self.section(*names)
        return found.sections[0] if found else {}

    def first(self, *names: str) -> tuple[str, object] | None:
        """The first value that is not null, whatever it is, with its name."""
        each = ((name, section.get(name)) for section in self.sections for name in names)
        return next(((name, value) for name, value in each if value is not None), None)

    def has(self, *names: str) -> bool:
        """Whether any of the names holds something other than null."""
        return any(True for _ in self._values(names))

    def _values(self, names: tuple[str, ...]) -> list[object]:
        return [
            section[name]
            for section in self.sections
            for name in names
            if section.get(name) is not None
        ]


def language_keys(config: Mapping[str, object]) -> Keys:
    """The language part of a config first, then what encloses it."""
    chain: list[Mapping[str, object]] = [config]
    for _ in range(3):
        inner = next(
            (
                section
                for name in _TEXT_SECTIONS
                if isinstance(section := chain[0].get(name), Mapping) and section
            ),
            None,
        )
        if inner is None:
            break
        chain.insert(0, inner)
    return Keys(tuple(chain))


def _number(value: object) -> float | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    if isinstance(value, (int, float)) and abs(value) < 1e18:
        return float(value)
    return None


def _first_whole(values: Iterable[object]) -> int | None:
    numbers = (_number(value) for value in values)
    return next((int(n) for n in numbers if n is not None and n == int(n)), None)
