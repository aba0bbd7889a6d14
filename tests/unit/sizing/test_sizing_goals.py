"""The goals of the estimates: each met by rows that keep it and missed by rows that do not."""

from __future__ import annotations

import pytest

from benchmarks.sizing_goals import Goal, goals, markdown
from benchmarks.sizing_predict import Declined, Row


def row(quantity: str, predicted: float | str, measured: float | str, **changed: object) -> Row:
    low, high = (
        (predicted, predicted) if isinstance(predicted, str) else (predicted * 0.9, predicted * 1.1)
    )
    fields: dict[str, object] = {
        "id": "a", "source": "s", "engine": "vllm", "arch": "dense-gqa", "unit": "u", "sized": True,
        "experts": False, "low": low, "high": high,
    }  # fmt: skip
    return Row(quantity=quantity, predicted=predicted, measured=measured, **(fields | changed))  # type: ignore[arg-type]


def goal(name: str, rows: list[Row], declined: tuple[Declined, ...] = ()) -> Goal:
    return next(one for one in goals(rows, declined) if one.name.startswith(name))


@pytest.mark.parametrize(
    ("name", "kept", "missed"),
    [
        (
            "weights",
            [row("weights_gib_per_gpu", 10.05, 10.0)],
            [row("weights_gib_per_gpu", 10.0, 10.0), row("weights_gib_per_gpu", 10.6, 10.0)],
        ),
        (
            "KV tokens",
            [row("kv_cache_tokens", 1000.0, 1000.0)] * 12 + [row("kv_cache_tokens", 9.0, 1.0)],
            [row("kv_cache_tokens", 1000.0, 1000.0)] * 11 + [row("kv_cache_tokens", 9.0, 1.0)],
        ),
        (
            "free memory",
            [row("available_kv_gib", 20.9, 20.0)],  # 4.5 %, though 0.9 GiB
            [row("available_kv_gib", 5.5, 5.0)],
        ),
        ("false `fits`", [row("fits", "close", "no")], [row("fits", "yes", "no")]),
        (
            "false `does not fit`",
            [row("fits", "yes", "yes")] * 9 + [row("fits", "no", "yes")],
            [row("fits", "yes", "yes")] * 8 + [row("fits", "no", "yes")],
        ),
        ("decode, one stream, dense", [row("decode_tok_s", 111.0, 100.0)],
         [row("decode_tok_s", 113.0, 100.0)]),
        ("decode, one stream, experts", [row("decode_tok_s", 129.0, 100.0, experts=True)],
         [row("decode_tok_s", 131.0, 100.0, experts=True)]),
        (
            "band of `decode_tok_s`, several",
            [row("decode_tok_s@4", 108.0, 100.0)],  # 8 % off, half the band 10.8
            [row("decode_tok_s@4", 104.0, 100.0)],  # 4 % off: the same band is over twice that
        ),
        (
            "band of `prefill_tok_s`",
            [row("prefill_tok_s", 108.0, 100.0)] * 9 + [row("prefill_tok_s", 120.0, 100.0)],
            [row("prefill_tok_s", 108.0, 100.0)] * 8 + [row("prefill_tok_s", 120.0, 100.0)],
        ),
    ],
)  # fmt: skip
def test_a_goal_is_met_or_missed(name: str, kept: list[Row], missed: list[Row]) -> None:
    assert goal(name, kept).met is True
    assert goal(name, missed).met is False


def test_weights_without_sizes_are_not_held_to_the_goal_of_headers() -> None:
    assert goal("weights", [row("weights_gib_per_gpu", 20.0, 10.0, sized=False)]).met is None


def test_a_refusal_counts_only_where_the_case_carries_a_config() -> None:
    rows = [row("fits", "yes", "yes")] * 9
    without = (Declined("b", "fits", "no config"),) * 5
    assert goal("answered", rows, without).found == "100 % of 9"
    with_one = (Declined("b", "fits", "card not named", has_facts=True),)
    assert goal("answered", rows, with_one).met is True
    assert goal("answered", rows, with_one * 2).met is False


def test_an_empty_file_of_cases_meets_nothing_and_misses_nothing() -> None:
    assert {one.met for one in goals([], ())} == {None}
    assert "| weights, sizes at hand | median 1 %, worst 5 % | no case | – |" in markdown([], ())
