"""`rigspec fit` of GGUF files: llama.cpp sets its cache aside, other engines may not read them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asked import fit, of_gguf


def test_a_gguf_is_sized_for_llama_cpp_and_every_answer_names_the_engine(gguf: Path) -> None:
    assert "1 × GeForce RTX 3090, llama.cpp: fits" in of_gguf(gguf, "--context", "8192").output
    table = of_gguf(gguf)
    assert "on up to 1 × NVIDIA GeForce RTX 3090, llama.cpp\n" in table.output
    assert json.loads(of_gguf(gguf, "--json").output)[0]["engine"] == "llama.cpp"
    assert "vLLM" in fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090").output.partition("\n")[0]


@pytest.mark.parametrize("more", [(), ("--context", "8192")])
def test_a_gguf_in_another_engine_is_warned_about(gguf: Path, more: tuple[str, ...]) -> None:
    said = "a GGUF file; vLLM reads it only with a plugin or not at all"
    done = of_gguf(gguf, "--engine", "vllm", *more)
    assert f"warning: {said}" in done.output
    assert "too close to call" in done.output
    assert "fits" not in done.output.replace("that fits", "")
    told = json.loads(of_gguf(gguf, "--engine", "vllm", "--json", *more).output)
    assert said in (told[0] if isinstance(told, list) else told)["warnings"][0]
    assert "warning" not in of_gguf(gguf, *more).output


@pytest.mark.parametrize("more", [(), ("--context", "8192")])
def test_a_safetensors_checkpoint_is_refused_for_llama_cpp(more: tuple[str, ...]) -> None:
    done = fit("Qwen/Qwen3-8B-AWQ", "--gpu", "rtx-3090", "--engine", "llama_cpp", *more)
    assert done.exit_code == 2
    assert "llama.cpp loads GGUF files only" in done.output
    assert "`rigspec model add ORG/NAME-GGUF" in done.output


def test_words_that_llama_cpp_does_not_take_are_refused(gguf: Path) -> None:
    assert "`fp9` is none of f32, f16, bf16, q8_0" in of_gguf(gguf, "--kv-dtype", "fp9").output
    assert "no --fraction" in of_gguf(gguf, "--fraction", "0.9").output
    kept = ("--kv-dtype", "q8_0", "--engine-version", "b6700", "--context", "8192")
    assert of_gguf(gguf, *kept).exit_code == 0


def test_llama_cpp_sets_the_context_aside_for_every_sequence(gguf: Path) -> None:
    def shown(*words: str, count: str = "1") -> str:
        return of_gguf(gguf, "--context", "4096", *words, count=count).output

    one, four = shown(), shown("--sequences", "4")
    # 36 layers × 8 heads × 128 × 2 × 2 bytes = 144 KiB per token
    assert "KV cache, f16                  0.6 GiB, set aside at start for 1 slot of 4,096" in one
    assert "KV cache, f16                  2.2 GiB, set aside at start for 4 slots of 4,096" in four
    assert "at once" not in one + four
    assert "stays free" in one
    assert "streams" not in one
    assert "4 streams" in four
    assert "llama.cpp, split by layer over 2: fits" in shown(count="2")
    assert json.loads(shown("--json"))["concurrency"] == 1


def test_llama_cpp_s_table_shows_the_cache_it_sets_aside(gguf: Path) -> None:
    table = of_gguf(gguf, count="2").output
    assert "cards  context" in table
    assert "TP" not in table
    assert "at once" not in table
    title = next(line for line in table.splitlines() if "cache GiB" in line)
    rows = [line[title.index("cache GiB") :] for line in table.splitlines() if " 32,768 " in line]
    # 17 of 36 layers and the output, which is wider than the two more that the other card holds
    assert [row.split()[0] for row in rows] == ["4.5", "2.1"]


def test_llama_cpp_without_room_says_how_much_is_missing(gguf: Path) -> None:
    done = of_gguf(gguf, "--context", "40960", "--sequences", "6")
    assert done.exit_code == 2
    assert "missing" in done.output
    assert "max_sequences: 3" in done.output


@pytest.mark.parametrize("table", [(), ("--table",)])
def test_llama_cpp_is_refused_a_context_beyond_the_model_too(
    gguf: Path, table: tuple[str, ...]
) -> None:
    done = of_gguf(gguf, "--context", "65536", *table)
    assert done.exit_code == 2
    assert "context 65536 is above the model's maximum 40960; answers beyond it" in done.output
    assert of_gguf(gguf, "--context", "32768", *table).exit_code == 0


def test_llama_cpp_has_no_decode_context_parallel(gguf: Path) -> None:
    done = of_gguf(gguf, "--dcp", "2", count="2")
    assert done.exit_code == 2
    assert "--dcp 2: llama.cpp has no such thing" in done.output


def test_a_damaged_record_of_a_gguf_is_saved_anew_and_not_fetched(gguf: Path) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    saved.write_text(saved.read_text().replace("4900000000", '"4.9 GB"'))
    done = of_gguf(gguf)
    assert done.exit_code == 2
    assert "`_rigspec.total_bytes` is `4.9 GB`, which is no whole number of bytes" in done.output
    assert "hint: `rigspec model add` saves it anew" in done.output


def test_a_cap_costs_nothing_where_the_cards_take_turns(gguf: Path) -> None:
    def shown(watts: str, *words: str) -> str:
        asked = ("--context", "8192", "--power-limit-w", watts, *words)
        return of_gguf(gguf, *asked, count="2").output

    def speeds(text: str) -> list[str]:
        return [line for line in text.splitlines() if "tok/s" in line]

    whole, capped = shown("350"), shown("220")
    assert speeds(whole) == speeds(capped)
    assert "cap of" not in whole
    assert "cap of 220 W costs no speed: the cards take turns, and it is a limit of the " in capped
    assert "keeps of the speed" not in capped
    assert "cap of 100 W keeps of the speed: one stream about 71 %, prompts about 68 %" in shown(
        "100"
    )  # 200 W in its turn
    many = shown("220", "--sequences", "4")
    assert "cap of 220 W keeps of the speed: one stream 100 %, many 78 %, prompts 100 %" in many
    assert "one stream and prompts: the cards take turns" in many
    alone = of_gguf(gguf, "--context", "8192", "--power-limit-w", "220").output
    assert "cap of 220 W keeps of the speed: one stream 78 %, prompts about 75 %" in alone
    assert "turns" not in alone


def test_a_table_says_that_experts_may_lie_in_host_memory_where_not_all_find_room() -> None:
    models = ("--models", str(Path(__file__).parents[2] / "errors/models"))
    said = "experts may lie in host memory instead: with `--context` it says how many"
    small, large = (
        fit("Example/MoE-30B-GGUF", "--gpu", card, *models).output
        for card in ("rtx-3060", "rtx-pro-6000-server")
    )
    assert said in small
    assert said not in large
    dense = fit("Example/Llama-70B-BF16", "--gpu", "rtx-3060", *models).output
    assert "does not fit" in dense
    assert said not in dense
