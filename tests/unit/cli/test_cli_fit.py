"""`rigspec fit`: answers, exit codes, what is said when asked amiss."""

from __future__ import annotations

import json
import re

import pytest
from asked import fit, rigspec

pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_model_that_fits_ends_with_0_and_shows_its_card() -> None:
    done = rigspec("fit", "Qwen/Qwen3.6-27B-FP8", "--gpu", "rtx-3090", "--count", "2",
                   "--context", "32768", "--sequences", "16")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "2 × GeForce RTX 3090, vLLM, TP 2: fits" in done.output
    assert "copies through host memory" in done.output


def test_model_larger_than_the_card_ends_with_2_and_says_what_would_fit() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-3090", "--context", "4096")
    assert done.exit_code == 2
    assert "does not fit" in done.output
    assert "more GPUs: 4 such GPUs, tensor_parallel_size: 4" in done.output
    assert "another quantization: a 4-bit (AWQ, GPTQ) checkpoint" in done.output
    assert "(keys of a rig spec; of this command: --tp, --count)" in done.output


def test_refused_shape_ends_with_2_and_names_sizes_that_work() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-pro-6000-workstation", "--count", "3",
               "--context", "8192")  # fmt: skip
    assert done.exit_code == 2
    assert "refused: 64 attention heads do not divide by TP 3" in done.output
    assert "tensor_parallel_size: 2" in done.output
    assert "tok/s" not in done.output  # nothing runs in a shape that is refused
    assert "each card" not in done.output
    told = json.loads(fit("Qwen/Qwen3-32B", "--gpu", "rtx-pro-6000-workstation", "--count", "3",
                          "--json").output)  # fmt: skip
    whole, refused = ({row["tensor_parallel"]: row for row in told}[ranks] for ranks in (2, 3))
    figures = ("decode_tok_s", "available_gib", "weights_gib", "concurrency", "largest_context")
    assert all(whole[key] for key in figures)
    assert all(refused[key] is None for key in figures)
    one = json.loads(fit("Qwen/Qwen3-32B", "--gpu", "rtx-pro-6000-workstation", "--count", "3",
                         "--context", "8192", "--json").output)  # fmt: skip
    assert one["verdict"] == "refused"
    assert one["terms_gib"] is one["request_gib"] is one["concurrency"] is None


def test_what_does_not_fit_has_no_speed_and_no_streams_at_once() -> None:
    words = ("Qwen/Qwen3-32B", "--gpu", "rtx-3090")
    shown = fit(*words, "--context", "4096").output
    assert "tok/s" not in shown
    assert "speed: none, it does not start" in shown
    one = json.loads(fit(*words, "--context", "4096", "--json").output)
    rows = json.loads(fit(*words, "--json").output)
    for record in (one, *rows):
        assert record["verdict"] == "no"
        assert record["concurrency"] == 0
        assert record["decode_tok_s"] is None
    assert one["prefill_tok_s"] is None


@pytest.mark.parametrize(
    ("sku", "way"),
    [
        ("t4", "peer copies over PCIe 3 x16"),
        ("rtx-pro-6000-workstation", "peer copies over PCIe 4 x16"),
        ("rtx-3090", "copies through host memory"),
        ("h100-sxm", "NVLink"),
    ],
)
def test_the_way_between_the_cards_that_is_assumed_is_one_they_have(sku: str, way: str) -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", sku, "--count", "2", "--context", "1024")
    assert f"assumed: {way}; " in done.output


def test_cards_that_are_machines_of_their_own_are_joined_by_a_network() -> None:
    words = ("openai/gpt-oss-120b", "--context", "65536", "--sequences", "8")
    done = fit(*words, "--gpu", "gb10", "--count", "2")
    way = "assumed: one card per machine and RoCE between them, 10 GB/s, 19 µs per all-reduce"
    assert way in done.output
    assert "PCIe" not in done.output
    assert "43 µs per all-reduce" in fit(*words, "--gpu", "gh200", "--count", "4").output
    assert "assumed" not in fit(*words, "--gpu", "gb10").output


def test_a_table_says_what_is_assumed_between_the_cards_as_one_answer_does() -> None:
    words = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--count")
    said = "assumed: copies through host memory; a rig spec says what lies between the cards"
    for more in ((), ("--tp", "2"), ("--context", "8192")):
        lines = [line.strip() for line in fit(*words, "2", *more).output.splitlines()]
        assert lines.count(said) == 1
    assert "assumed" not in fit(*words, "1").output
    assert "assumed" not in fit(*words, "2", "--tp", "1").output
    machines = fit("openai/gpt-oss-120b", "--gpu", "gb10", "--count", "4").output
    assert "10 GB/s, 19–43 µs per all-reduce" in machines  # of two and of four


def test_long_context_names_the_longest_that_fits() -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "40960", "--json")
    record = json.loads(done.output)
    assert record["largest_context"] < 40960
    smaller = next(r for r in record["remedies"] if r["name"] == "smaller context")
    again = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context",
                smaller["write"].partition(": ")[2], "--json")  # fmt: skip
    assert json.loads(again.output)["verdict"] in ("yes", "close")


def test_what_fits_has_nothing_to_cure() -> None:
    words = ("meta-llama/Llama-3.1-8B-Instruct", "--gpu", "rtx-3090", "--context", "8192")
    for engine in ("vllm", "sglang"):
        record = json.loads(fit(*words, "--engine", engine, "--json").output)
        assert (record["verdict"], record["remedies"]) == ("yes", [])
    close = json.loads(fit(*words[:-1], "40000", "--json").output)
    assert close["verdict"] != "yes"
    assert close["remedies"]


def test_what_is_missing_of_a_huge_model_is_written_like_what_it_takes() -> None:
    done = fit("meta-llama/Llama-3.1-8B-Instruct", "--gpu", "rtx-3090", "--context", "8192",
               "--sequences", "9000000")  # fmt: skip
    assert re.search(r"none: \d{1,3}(,\d{3})+\.\d GiB are missing", done.output)


def test_without_a_context_the_table_covers_lengths_and_sizes() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-3090", "--count", "4", "--json")
    rows = json.loads(done.output)
    assert done.exit_code == 0
    assert {row["tensor_parallel"] for row in rows} == {1, 2, 4}
    assert {row["context"] for row in rows} == {8192, 16384, 32768}  # the model's own is 40,960
    one, four = (
        next(r for r in rows if (r["tensor_parallel"], r["context"]) == (size, 8192))
        for size in (1, 4)
    )
    assert (one["verdict"], four["verdict"]) == ("no", "yes")


@pytest.mark.parametrize(("tp", "cards"), [("2", "on 2 of 4 × "), ("4", "on 4 × ")])
def test_table_holds_the_asked_size_alone(tp: str, cards: str) -> None:
    words = ("Qwen/Qwen3-32B", "--gpu", "rtx-3090", "--count", "4", "--tp", tp)
    rows = json.loads(fit(*words, "--json").output)
    assert {row["tensor_parallel"] for row in rows} == {int(tp)}
    assert cards in fit(*words).output


def test_table_takes_the_asked_context_as_a_row() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "3090", "--count", "4", "--context", "20000", "--table")
    assert done.exit_code == 0
    assert " 4  20,000 " in done.output


def test_card_that_is_not_known_ends_with_2_and_near_names() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-309")
    assert done.exit_code == 2
    assert "`rtx-309` is not in the catalog" in done.output
    assert "did you mean `rtx-3090`" in done.output


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kv-dtype", "fp9"), "did you mean `fp8`?"),
        (("--kv-dtype", "fp9", "--engine", "sglang"), "`fp9` is none of"),
        (("--engine-version", "banana"), "--engine-version banana is no version of vLLM"),
        (("--engine-version", "b9000"), "for example 0.33.0"),
        (("--power-limit-w", "5000"), "its caps go from 100 to 450 W"),
        (("--power-limit-w", "90"), "its caps go from 100 to 450 W"),
    ],
)
def test_a_word_nobody_knows_is_refused_and_not_passed_over(
    words: tuple[str, ...], said: str
) -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192", *words)
    assert done.exit_code == 2
    assert said in done.output


@pytest.mark.parametrize(
    "words",
    [
        ("--kv-dtype", "fp8"),
        ("--power-limit-w", "450"),
    ],
)
def test_what_the_engine_and_the_card_take_is_answered(words: tuple[str, ...]) -> None:
    assert fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192", *words).exit_code == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--context", "8k"), "write the number out: `8000` (or `8192`)"),
        (("--context", "²k"), "`²k` is no whole number"),  # a digit to Unicode alone
        (("--context", "32,768"), "write it without separators: `32768`"),
        (("--power-limit-w", "290W"), "write the number alone"),
        (("--count", "two"), "write `2`"),
        (("--sequences", "50%"), "`50%` is no whole number"),
        (("--count", "17"), "17 is not in the range 1<=x<=16"),
    ],
)
def test_a_number_written_another_way_gets_the_hint_of_a_spec(
    words: tuple[str, ...], said: str
) -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", *words)
    assert done.exit_code == 2
    assert said in done.output


def test_card_of_another_vendor_is_called_so() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "mi300x")
    assert done.exit_code == 2
    assert "AMD Instinct MI300X" in done.output


def test_more_ranks_than_cards_ends_with_2() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-3090", "--tp", "4", "--count", "2")
    assert done.exit_code == 2
    assert "--tp 4 is more than --count 2" in done.output


def test_a_percentage_is_no_number_whose_unit_could_be_left_out() -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--sequences", "50%")
    assert "write the number alone" not in done.output


def test_a_cap_at_the_card_s_own_limit_says_nothing_and_costs_nothing() -> None:
    asked = ("Qwen/Qwen3-8B", "--gpu", "rtx-4090", "--context", "8192")
    plain, same, lower = (
        fit(*asked, *words).output
        for words in ((), ("--power-limit-w", "450"), ("--power-limit-w", "225"))
    )
    assert plain == same
    assert "unknown for this card; low ends reckon with 50 % of it" in lower


def test_a_cap_below_the_sweep_is_not_called_unknown() -> None:
    asked = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192", "--power-limit-w")
    deep, partly, swept = (fit(*asked, watts).output for watts in ("110", "250", "300"))
    assert "keeps of the speed: one stream about 39 %, many about 39 %, prompts about 37 %" in deep
    assert "keeps of the speed: one stream 86 %, many 86 %, prompts about 85 %" in partly
    for shown in (deep, partly):
        assert "about: below the lowest cap of the sweep, from there in proportion" in shown
        assert "measured: owners' sweeps: 280 W" in shown
        assert "unknown for this card" not in shown
    assert "low ends reckon with 31 % of it where it was not measured" in deep
    assert "about" not in swept[swept.index("cap of 300 W") :].split("measured:")[0]


def test_no_term_is_below_nothing_in_json() -> None:
    asked = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192", "--json")
    terms = {term["name"]: term["low"] for term in json.loads(asked.output)["terms_gib"]}
    assert terms["activation peak"] == 0


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
@pytest.mark.parametrize("table", [(), ("--table",)])
def test_a_context_beyond_the_model_is_refused(engine: str, table: tuple[str, ...]) -> None:
    asked = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "65536", "--engine", engine, *table)
    done, told = fit(*asked), json.loads(fit(*asked, "--json").output)
    assert (done.exit_code, fit(*asked, "--json").exit_code) == (2, 2)
    assert "refused" in done.output
    assert "context 65536 is above the model's maximum 40960" in done.output
    rows = {row["context"]: row["verdict"] for row in told} if table else {65536: told["verdict"]}
    assert rows[65536] == "refused"


KIMI = ("moonshotai/Kimi-K2.5", "--gpu", "rtx-pro-6000-workstation", "--count", "8",
        "--context", "262144", "--sequences", "8", "--engine-version", "0.30.0")  # fmt: skip


def test_decode_context_parallel_is_asked_and_named_as_a_way_out() -> None:
    alone = fit(*KIMI)
    assert alone.exit_code == 2
    assert "shared cache: decode_context_parallel_size: 2" in alone.output
    cut = fit(*KIMI, "--dcp", "8", "--json")
    assert cut.exit_code == 0
    assert json.loads(cut.output)["decode_context_parallel"] == 8
    refused = fit(*KIMI, "--dcp", "3")
    assert refused.exit_code == 2
    assert "TP 8 does not divide by DCP 3" in refused.output
    table = json.loads(fit(*KIMI[:5], "--dcp", "2", "--json").output)
    assert {row["tensor_parallel"] for row in table if row["verdict"] == "refused"} == {1}


def test_cards_without_a_rank_are_called_idle() -> None:
    asked = ("Qwen/Qwen3-32B", "--gpu", "rtx-3090", "--count", "8", "--tp", "4",
             "--context", "8192")  # fmt: skip
    said = "4 of the 8 cards stay idle: the model is spread over 4"
    assert f"warning: {said}" in fit(*asked).output
    assert said in json.loads(fit(*asked, "--json").output)["warnings"]
    assert "idle" not in fit(*asked[:5], "--context", "8192").output


def test_a_share_that_leaves_contexts_no_room_is_too_close_to_call() -> None:
    words = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192", "--count", "2")
    full = fit(*words, "--fraction", "0.99").output
    said = "0.99 of an NVIDIA GeForce RTX 3090 leaves 0.24 GiB; CUDA contexts take 1.2 to 2.3 GiB"
    assert "too close to call" in full
    assert f"warning: {said}" in full
    assert "smaller share: gpu_memory_fraction: 0.89 (" in full
    told = json.loads(fit(*words, "--fraction", "0.99", "--json").output)
    assert told["verdict"] == "close"
    assert told["warnings"][0].startswith(said)
    assert ": fits\n" in fit(*words, "--fraction", "0.92").output


def test_a_refused_dcp_names_the_sizes_that_the_heads_allow() -> None:
    eight_heads = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192")
    none = fit(*eight_heads, "--count", "4", "--dcp", "2")
    assert none.exit_code == 2
    assert "no DCP: decode_context_parallel_size: 1 (" in none.output
    four_heads = ("Qwen/Qwen3-30B-A3B", "--gpu", "a100-sxm4-80gb", "--context", "8192")
    some = fit(*four_heads, "--count", "8", "--dcp", "4").output
    assert "another DCP: decode_context_parallel_size: 2 (" in some


def test_a_version_beyond_the_known_ones_is_said_and_as_wide_as_none() -> None:
    words = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192")
    known = fit(*words, "--engine-version", "0.33.0").output
    none, beyond = fit(*words).output, fit(*words, "--engine-version", "99.0").output
    said = "warning: vLLM 99.0 is newer than 0.33.0, the newest that was looked at: reckoned by its"
    assert said in beyond
    assert [line for line in beyond.splitlines() if said not in line] == none.splitlines()
    assert known != none
    told = json.loads(fit(*words, "--engine-version", "99.0", "--json").output)
    assert told["warnings"][-1] in beyond
    assert said in fit(*words[:3], "--engine-version", "99.0").output  # the table says it, too


@pytest.mark.parametrize(
    ("engine", "version"), [("vllm", "0.33.4"), ("sglang", "0.5.23"), ("sglang", "0.4.9")]
)
def test_a_known_line_is_no_newer_one(engine: str, version: str) -> None:
    words = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "8192")
    assert "is newer" not in fit(*words, "--engine", engine, "--engine-version", version).output


@pytest.mark.parametrize(
    ("version", "code", "said"), [("0.28.0", 2, "refused"), ("0.33.0", 0, "fits, may be refused")]
)
def test_a_cut_block_is_refused_by_the_releases_that_are_known_to(
    version: str, code: int, said: str
) -> None:
    words = ("Qwen/Qwen3-235B-A22B-FP8", "--gpu", "h100-sxm", "--count", "8", "--engine-version",
             version)  # fmt: skip
    done = fit(*words, "--context", "32768")
    assert done.exit_code == code
    assert f"TP 8: {said}\n" in done.output
    assert ("tok/s" in done.output) is (code == 0)
    assert "whole experts: expert_parallel: true (" in done.output
    one = json.loads(fit(*words, "--context", "32768", "--json").output)
    assert one["verdict"] == ("refused" if code else "close")
    assert [refusal["surely"] for refusal in one["refusals"]] == [code == 2]
    rows = [row for row in json.loads(fit(*words, "--json").output) if row["tensor_parallel"] == 8]
    cut = "feed-forward width 1536 / TP 8 = 192, not a multiple of 128"
    assert {row["refused"] for row in rows} == {cut if code else ""}
    assert {row["may_be_refused"] for row in rows} == {"" if code else cut}
    assert (f"TP 8: may be refused, {cut}" in fit(*words).output) is (code == 0)


@pytest.mark.parametrize("context", ["4100", "4700"])
def test_requests_at_once_are_never_rounded_up_to_one_more(context: str) -> None:
    asked = ("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", context)
    told = json.loads(fit(*asked, "--json").output)
    assert told["concurrency"] % 1 > 0.95  # to one place it would be the next whole number
    shown = f"{int(told['concurrency'])}.9"
    assert f"{shown} at once" in fit(*asked).output
    rows = fit(*asked, "--table").output.splitlines()
    assert [f" {shown} " in row for row in rows if f"{int(context):,} " in row] == [True]
