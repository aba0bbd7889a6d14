"""What the benchmark reads out of a run's free text: cards, versions, lengths, drafts."""

from __future__ import annotations

import pytest

from benchmarks.sizing_gpus import cards_named
from benchmarks.sizing_words import (
    SGLANG_RELEASES,
    cache_type_of,
    speculation_of,
    tokens_of,
    version_of,
)
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


@pytest.mark.parametrize(
    ("text", "gib", "speed_known"),
    [
        ("RTX 4090 48GB", 48.0, True),  # an owner's mod: the same chip and width
        ("NVIDIA GeForce RTX 2080 Ti 22GB (NVLink)", 22.0, True),
        ("NVIDIA RTX 3050 (4 GB)", 4.0, False),  # another board of that name
        ("NVIDIA GeForce RTX 3090 24GB", 24.0, True),
        ("2x RTX 3090 (48 GB total)", 24.0, True),
        ("2x RTX 3090 48 GB", 24.0, True),
        ("4x RTX PRO 6000 Blackwell, 384GB", 96.0, True),
        ("2x RTX 4090 48GB", 24.0, True),  # or two owners' mods: the plain reading first
        ("4x RTX 4090 48GB", 48.0, True),
        ("RTX 4090 0GB", 24.0, True),
        ("RTX 3090 with 64 GB RAM", 24.0, True),
        ("RTX 4090 (1008 GB/s)", 24.0, True),
        ("NVIDIA H20 141GB", 141.0, True),
        ("A100-SXM4-40GB", 40.0, True),
    ],
)
def test_the_memory_that_a_name_states_is_the_card_s(
    text: str, gib: float, speed_known: bool
) -> None:
    (card,) = cards_named(text).gpus
    assert card.memory_mib / 1024 == pytest.approx(gib, rel=0.025)
    assert (card.bandwidth_gb_s is not None) is speed_known
    if text not in ("2x RTX 3090 (48 GB total)", "RTX 4090 (1008 GB/s)", "RTX 3090 with 64 GB RAM"):
        assert card.larger_mib is None


def test_unequal_cards_have_each_the_memory_beside_its_own_name() -> None:
    mixed = cards_named("RTX 3070 8GB + RTX 5060 Ti 16GB + RTX 4090 48GB").gpus
    assert [round(card.memory_mib / 1024) for card in mixed] == [8, 16, 48]
    pair = cards_named("A100 PCIe 80GB + A100 PCIe 40GB").gpus
    assert [card.name for card in pair] == ["NVIDIA A100 80GB PCIe", "NVIDIA A100-PCIE-40GB"]


def test_a_name_without_memory_may_still_be_the_larger_card() -> None:
    (card,) = cards_named("NVIDIA H20").gpus
    assert card.larger_mib == 141 * 1024


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
        ("method: mtp, num_speculative_tokens: 2", None, Speculative("mtp", 2)),
        ('{"method":"eagle3","num_speculative_tokens":4}', None, Speculative("eagle", 4)),
        ("see compose", "dual-dflash.yml (n=7)", Speculative("dflash", 7)),
        ("see compose", "dual.yml", Speculative("unstated")),
        ("EAGLE/NEXTN steps 3 draft 4", None, Speculative("mtp", 3)),
        ("dflash n=7, external draft of 3.58 GiB in bf16", None,
         Speculative("dflash", 7, draft_gib=3.58)),
        ("mtp n=3, acceptance length 3.4", None, Speculative("mtp", 3, accepted=3.4)),
        ("MTP/draft per compose; acceptance length 3.4", None,
         Speculative("mtp", accepted=2.8)),
    ],
)  # fmt: skip
def test_speculation(text: str | None, compose: str | None, expected: Speculative | None) -> None:
    assert speculation_of(text, compose) == expected


@pytest.mark.parametrize(
    ("text", "date", "version"),
    [
        ("main, 2025-10-16", None, (0, 5, 3)), (None, "2026-04-10", (0, 5, 10)),
        ("nightly", "2026-04-10", (0, 5, 11)), ("0.5.9", "2026-04-10", (0, 5, 9)),
        (None, "2024-06-01", None), (None, "2026-12-01", (0, 5, 23)),
    ],
)  # fmt: skip
def test_a_month_of_sglang_is_one_of_its_own_releases(
    text: str | None, date: str | None, version: tuple[int, ...] | None
) -> None:
    assert version_of(text, date, SGLANG_RELEASES) == version


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (None, "auto"),
        ("auto (bf16)", "bfloat16"),
        ("auto (checkpoint: fp8)", "auto"),
        ("fp8/e5m2", "fp8_e5m2"),
        ("fp8 (fp8_ds_mla)", "fp8_ds_mla"),
        ("int8-PTH", "int8_per_token_head"),
        ("TQ3", "tq3"),
        ("16-bit", "bfloat16"),
    ],
)
def test_a_cache_type_is_named_as_the_engine_does(text: str | None, name: str) -> None:
    assert cache_type_of(text) == name
