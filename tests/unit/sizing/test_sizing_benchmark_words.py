"""What the benchmark reads out of a run's free text: cards, versions, lengths, drafts."""

from __future__ import annotations

import pytest

from benchmarks.sizing_gpus import cards_named
from benchmarks.sizing_words import speculation_of, tokens_of, version_of
from rigspec.sizing.settings import Speculative


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("NVIDIA RTX PRO 6000 Blackwell (96 GB)",
         "NVIDIA RTX PRO 6000 Blackwell Workstation Edition"),
        ("NVIDIA GeForce RTX 3090 24GB (250 W)", "NVIDIA GeForce RTX 3090"),
        ("NVIDIA RTX 3090 Ti 24GB", "NVIDIA GeForce RTX 3090 Ti"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"),
        ("H100 class (79.22 GiB total)", "NVIDIA H100 80GB HBM3"),
        ("NVIDIA A100 80GB SXM4", "NVIDIA A100-SXM4-80GB"),
        ("NVIDIA L4", "NVIDIA L4"),
        ("NVIDIA RTX 5060 Ti 16GB", "NVIDIA GeForce RTX 5060 Ti"),
    ],
)  # fmt: skip
def test_free_text_names_meet_the_catalogue(text: str, name: str) -> None:
    (card,) = cards_named(text).gpus
    assert card.name == name


def test_a_virtual_card_has_the_memory_that_the_text_states() -> None:
    assert cards_named("RTX PRO 6000 Blackwell Server Edition (98304 MiB)").total_mib == 98304
    assert cards_named("RTX PRO 6000 Blackwell Server Edition").total_mib is None


def test_power_caps_and_mixed_cards_are_read() -> None:
    assert cards_named("NVIDIA GeForce RTX 3090 24GB (250 W)").cap_w == 250
    mixed = [card.name for card in cards_named("2x RTX 3090 + RTX 3090 Ti 24GB").gpus]
    assert mixed == ["NVIDIA GeForce RTX 3090"] * 2 + ["NVIDIA GeForce RTX 3090 Ti"]
    assert cards_named("not named in excerpt").gpus == ()


@pytest.mark.parametrize(
    ("text", "date", "version"),
    [
        ("0.20.2rc1.dev249+g01", None, (0, 20)),
        ("0.20.2rc1.dev129+g1acd67a79", None, (0, 21, 0)),  # deducts and prints as 0.21 does
        ("0.20.1rc1.dev16+g7a1eb8ac2", None, (0, 20, 1)),
        ("0.20.2rc1.dev9+g01d4d1ad3 (patched)", None, (0, 20, 2)),  # prints as the release does
        ("0.20.2rc1", None, (0, 20)),
        ("nightly 1acd67a7 (2026-05-08)", None, (0, 21)),  # ahead of the month's release
        ("cu130-nightly", "2026-05-08", (0, 21)),
        ("nightly", None, None),
        ("v0.20.2", None, (0, 20, 2)),
        ("fork image kimi-20260509", None, (0, 20)),
        ("Jan 2026", None, (0, 14)),
        (None, "2026-04-29", (0, 19)),
        (None, None, None),
    ],
)
def test_versions(text: str | None, date: str | None, version: tuple[int, ...] | None) -> None:
    assert version_of(text, date) == version


@pytest.mark.parametrize(
    ("value", "tokens"),
    [(262144, 262144), ("200K", 200000), ("16K", 16384), ("~188K (x)", 188000), (None, None)],
)
def test_context_lengths(value: object, tokens: int | None) -> None:
    assert tokens_of(value) == tokens


@pytest.mark.parametrize(
    ("text", "compose", "expected"),
    [
        (None, None, None),
        ("off", None, None),
        ("see compose", "mainline (no spec-dec)", None),
        ("mtp n=3", None, Speculative("mtp", 3)),
        ("see compose", "dual-dflash.yml (n=7)", Speculative("dflash", 7)),
        ("see compose", "dual.yml", Speculative("unstated")),
        ("EAGLE/NEXTN steps 3 draft 4", None, Speculative("mtp", 3)),
        ("mtp n=3, acceptance length 3.4", None, Speculative("mtp", 3, accepted=3.4)),
        ("MTP/draft per compose; acceptance length 3.4", None,
         Speculative("mtp", accepted=2.8)),
    ],
)  # fmt: skip
def test_speculation(text: str | None, compose: str | None, expected: Speculative | None) -> None:
    assert speculation_of(text, compose) == expected
