"""Free-text GPU names of published runs, matched to the catalogue.

People write `NVIDIA RTX PRO 6000 Blackwell (96 GB)`, `H100 class`, `2x RTX 3090 + RTX 3090 Ti`.
A name matches the SKU whose words it holds most completely; a mixed list keeps every card, because
unequal cards are never summed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from benchmarks.sizing_yaml import read_yaml
from rigspec.catalog.gpus import all_gpus
from rigspec.catalog.model_keys import Keys

CARDS = Path(__file__).parent / "data" / "cards.yaml"

_NOISE = {
    "nvidia", "geforce", "tesla", "gpu", "class", "card", "a", "the", "generation", "edition",
    "blackwell", "gddr7", "hbm3", "hbm2e", "fe", "founders", "nvlink", "workstation", "unified",
}  # fmt: skip
_DEFAULT_FORM = {"sxm4", "sxm5", "sxm", "80gb", "pcie"}
"""Form-factor words: they decide between SKUs of one name but are often left out."""


@dataclass(frozen=True)
class KnownCard:
    """What the estimates need of a card, from the catalogue or from the file beside the cases."""

    name: str
    aliases: tuple[str, ...]
    memory_mib: float
    bandwidth_gb_s: float | None
    compute: tuple[int, int]
    power_default_w: float | None
    switched: bool
    peer_access: bool
    larger_mib: float | None = None
    """`memory.total` of the larger card that is sold under the same name."""


SOLD_TWICE = {
    "NVIDIA H20": 141 * 1024,
    "NVIDIA A100-PCIE-40GB": 80 * 1024,
    "NVIDIA A100-SXM4-40GB": 80 * 1024,
    "NVIDIA GeForce RTX 4090 D": 48 * 1024,
    "NVIDIA GeForce RTX 3080": 20 * 1024,
}
"""MiB of the larger card of one name (H20 with HBM3e, A100 80 GB; 48 GB and 20 GB are owners' mods,
`catalog/data/gpus.yaml`); a text that states no memory may mean either."""


@lru_cache(maxsize=1)
def known_cards() -> tuple[KnownCard, ...]:
    """Every card of the catalogue, then those of `data/cards.yaml`."""
    ours = tuple(
        KnownCard(
            name=gpu.name,
            aliases=(gpu.sku, *gpu.aliases),
            memory_mib=gpu.memory_mib,
            bandwidth_gb_s=gpu.memory_bandwidth_gb_s,
            compute=gpu.compute_capability,
            power_default_w=gpu.power_default_w,
            switched="switch" in (gpu.nvlink or ""),
            peer_access=gpu.p2p == "yes",
            larger_mib=SOLD_TWICE.get(gpu.name),
        )
        for gpu in all_gpus()
    )
    names = {card.name for card in ours}
    return (*ours, *(card for card in _others() if card.name not in names))


def _others() -> list[KnownCard]:
    rows = read_yaml(CARDS)
    found = []
    for row in rows if isinstance(rows, list) else []:
        keys = Keys((row,)) if isinstance(row, Mapping) else Keys(({},))
        major, minor = (int(str(part)) for part in keys.items("compute"))
        found.append(
            KnownCard(
                name=keys.text("name") or "",
                aliases=(),
                memory_mib=keys.number("memory_mib") or 0.0,
                bandwidth_gb_s=keys.number("bandwidth_gb_s"),
                compute=(major, minor),
                power_default_w=keys.number("power_w"),
                switched=False,
                peer_access=False,
            )
        )
    return found


@dataclass(frozen=True)
class NamedCards:
    """The cards a text names, in order, with a power cap if it states one."""

    gpus: tuple[KnownCard, ...]
    cap_w: float | None
    memory_gb: float | None
    total_mib: float | None = None
    """`memory.total` where the text states it: a virtual card may have more than the real one."""


def cards_named(text: str | None) -> NamedCards:
    """Every card the text names; empty when the catalogue knows none of them."""
    if not text:
        return NamedCards((), None, None)
    cap = re.search(r"\((?:[^)]*,\s*)?(\d{2,4})\s*W\)", text)
    memory = _memory_gb(text)
    found = []
    for piece in re.split(r"\s\+\s|\s*;\s*|,\s*(?=\d+x)", text):
        count = re.match(r"\s*(\d+)\s*[x×]\s", piece)
        gpu = _best(piece, _memory_gb(piece) or memory)
        if gpu is not None:
            found += [_as_sold(gpu, piece)] * (int(count[1]) if count and "+" in text else 1)
    inside = re.search(r"\(([^)]*)\)", text)
    if not found and inside and (gpu := _best(inside[1], memory)):
        found.append(_as_sold(gpu, text))
    return NamedCards(tuple(found), float(cap[1]) if cap else None, memory, _total_mib(text))


OTHER_SIZE = 0.15
"""A size so far from the catalogue's is that of another board under the same name."""


def _as_sold(gpu: KnownCard, text: str) -> KnownCard:
    """The card with the memory that a text states for each, or for all it counts. A larger one is
    an owner's mod with the same chip and width (RTX 2080 Ti 22 GB, RTX 4090 48 GB); a smaller one
    is another board, of which the speed is not known (RTX 3050 4 GB)."""
    stated = _memory_gb(text)
    if stated is None:
        return gpu
    ratio = stated * 1024 / gpu.memory_mib
    if any(abs(ratio / count - 1) <= OTHER_SIZE for count in (1, cards_counted(text))):
        return replace(gpu, larger_mib=None)
    same_chip = gpu.bandwidth_gb_s if ratio > 1 else None
    size = gpu.larger_mib or stated * 1024
    near = abs(size / 1024 / stated - 1) <= OTHER_SIZE
    return replace(
        gpu,
        memory_mib=size if near else stated * 1024,
        larger_mib=None,
        bandwidth_gb_s=same_chip,
    )


def cards_counted(text: str | None) -> int:
    """How many cards a text such as `2x RTX 3090` or `3090 + 3090 Ti` speaks of; at least one."""
    found = 0
    for piece in re.split(r"\s\+\s", text or ""):
        count = re.match(r"\s*(\d{1,2})\s*[x×]\s", piece)
        found += int(count[1]) if count else 1
    return max(1, found)


def _memory_gb(text: str) -> float | None:
    """GB or MiB that the text states."""
    size = re.search(
        r"(?<![\d.])(\d{1,3}(?:\.\d+)?)\s*(?:GB|GiB)\b(?!/s|\W*(?:total|RAM|DDR))", text
    )
    if size and float(size[1]) > 0:
        return float(size[1])
    mib = _total_mib(text)
    return mib / 1024 if mib else None


def _total_mib(text: str) -> float | None:
    mib = re.search(r"(\d{1,3}),?(\d{3})\s*MiB", text)
    return float(mib[1] + mib[2]) if mib else None


def _words(text: str) -> set[str]:
    flat = re.sub(r"\([^)]*\)", " ", text.lower())
    flat = re.sub(r"\b(rtx|gtx)(\d)", r"\1 \2", flat)
    flat = re.sub(r"\b(\d{3,4})(ti|s)\b", r"\1 \2", flat)
    flat = re.sub(r"max[- ]?q", "maxq", flat)
    words = set(re.findall(r"[a-z0-9]+", flat)) - _NOISE
    return {word for word in words if not re.fullmatch(r"\d{1,3}(gb|gib|g)", word)}


def _best(text: str, memory_gb: float | None) -> KnownCard | None:
    asked = _words(text)
    best: tuple[float, KnownCard] | None = None
    for gpu in known_cards():
        score = max(_score(asked, name) for name in (gpu.name, *gpu.aliases))
        if score > 0 and memory_gb:
            score -= abs(gpu.memory_mib / 1024 - memory_gb) / (10 * memory_gb)
        if score > 0 and (best is None or score > best[0]):
            best = (score, gpu)
    return best[1] if best else None


def _score(asked: set[str], name: str) -> float:
    """Words in common, all model numbers of the SKU required, words left over held against it."""
    words = _words(name)
    core = {word for word in words if any(letter.isdigit() for letter in word)} - _DEFAULT_FORM
    core = core or words
    if not core or not core <= asked:
        return 0.0
    decisive = {
        "ti", "super", "pro", "ada", "d", "s", "sff", "nvl", "server", "maxq", "mobile", "laptop",
    }  # fmt: skip
    wrong = ((words ^ asked) & decisive) - ({"server", "maxq"} & asked)
    return len(words & asked) - 0.5 * len(words - asked) - 2.0 * len(wrong)
