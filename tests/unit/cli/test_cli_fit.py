"""`rigspec fit` and `rigspec plan --sizing`: answers, exit codes, what is said when asked amiss."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from rigspec.cli import main

ROOT = Path(__file__).resolve().parents[3]
SAVED = ROOT / "benchmarks/data/model-configs"
CONFIGS = str(SAVED)
ERRORS = ROOT / "tests/errors"


@pytest.fixture(autouse=True)
def _in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def rigspec(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def fit(model: str, *arguments: str) -> Result:
    return rigspec("fit", model, "--models", CONFIGS, *arguments)


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
    speeds = {row["tensor_parallel"]: row["decode_tok_s"] for row in told}
    assert speeds[2]
    assert speeds[3] is None


def test_long_context_names_the_longest_that_fits() -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context", "40960", "--json")
    record = json.loads(done.output)
    assert record["largest_context"] < 40960
    smaller = next(r for r in record["remedies"] if r["name"] == "smaller context")
    again = fit("Qwen/Qwen3-8B", "--gpu", "rtx-3090", "--context",
                smaller["write"].partition(": ")[2], "--json")  # fmt: skip
    assert json.loads(again.output)["verdict"] in ("yes", "close")


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


def test_table_takes_the_asked_context_as_a_row() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "3090", "--count", "4", "--context", "20000", "--table")
    assert done.exit_code == 0
    assert " 4  20,000 " in done.output


def test_card_that_is_not_known_ends_with_2_and_near_names() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-309")
    assert done.exit_code == 2
    assert "`rtx-309` is not in the catalog" in done.output
    assert "did you mean `rtx-3090`" in done.output


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A folder with one saved GGUF: 4.9 GB of an 8B model."""
    config = json.loads((SAVED / "Qwen__Qwen3-8B.json").read_text())
    pin = {"name": "Tiny-Q4_K_M.gguf", "format": "gguf", "total_bytes": 4_900_000_000}
    saved = tmp_path / "Tiny-Q4_K_M.gguf.json"
    saved.write_text(json.dumps(config | {"_rigspec": pin}))
    return tmp_path


def of_gguf(folder: Path, *words: str, count: str = "1") -> Result:
    return rigspec("fit", "Tiny-Q4_K_M.gguf", "--gpu", "rtx-3090", "--count", count,
                   "--models", str(folder), *words)  # fmt: skip


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


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--kv-dtype", "fp9"), "did you mean `fp8`?"),
        (("--kv-dtype", "fp9", "--engine", "sglang"), "`fp9` is none of"),
        (("--engine-version", "banana"), "--engine-version banana is no version"),
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


def test_model_that_is_not_known_ends_with_2_and_how_to_add_it() -> None:
    done = fit("Qwen/Qwen3-32", "--gpu", "rtx-3090")
    assert done.exit_code == 2
    assert "nothing is saved of `Qwen/Qwen3-32`" in done.output
    assert "did you mean `Qwen/Qwen3-32B` or" in done.output
    assert "rigspec model add Qwen/Qwen3-32" in done.output


def test_a_family_s_name_is_answered_with_saved_models_of_it() -> None:
    done = fit("qwen3.6", "--gpu", "rtx-3090")
    assert done.exit_code == 2
    assert "did you mean `nvidia/Qwen3.6-27B-NVFP4` or `nvidia/Qwen3.6-35B-A3B" in done.output
    assert "`rigspec model add ORG/NAME`" in done.output


def test_saved_file_that_is_broken_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "org__x.json").write_text("{")
    done = rigspec("fit", "org/x", "--gpu", "rtx-3090", "--models", str(tmp_path))
    assert done.exit_code == 2
    assert f"cannot be used: {tmp_path}/org__x.json is not JSON" in done.output


@pytest.mark.parametrize("key", ["num_hidden_layers", "hidden_size", "vocab_size"])
def test_saved_file_that_lacks_a_size_is_named_with_it(
    gguf: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    config = json.loads(saved.read_text())
    del config[key]
    saved.write_text(json.dumps(config))
    said = f"Tiny-Q4_K_M.gguf.json states no `{key}`"
    assert f"{gguf}/{said}" in of_gguf(gguf).output
    (gguf / "models").mkdir()
    monkeypatch.chdir(gguf)
    saved.rename("models/Tiny-Q4_K_M.gguf.json")
    listed = " ".join(rigspec("catalog", "models").output.split())
    assert f"cannot be used: {said}" in listed
    assert said in rigspec("catalog", "models", "Tiny-Q4_K_M.gguf").output


def test_a_size_under_an_older_name_is_not_called_missing(gguf: Path) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    text = saved.read_text().replace('"hidden_size"', '"n_embd"')
    saved.write_text(text.replace('"num_hidden_layers"', '"layers"'))
    assert "gguf.json states no `num_hidden_layers`\n" in of_gguf(gguf).output


def test_plan_ends_with_2_for_a_saved_file_that_lacks_a_size(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    saved = json.loads((ROOT / "rigs/models/Qwen__Qwen3.6-27B-FP8.json").read_text())
    del saved["text_config"]["num_hidden_layers"]
    del saved["text_config"]["layer_types"]
    (tmp_path / "models/Qwen__Qwen3.6-27B-FP8.json").write_text(json.dumps(saved))
    (tmp_path / "mine.yaml").write_text((ROOT / "rigs/starter.yaml").read_text())
    done = rigspec("plan", str(tmp_path / "mine.yaml"), "--sizing")
    assert done.exit_code == 2
    assert "models/Qwen__Qwen3.6-27B-FP8.json states no `num_hidden_layers`" in done.output
    assert "no engine could load" not in done.output


def test_a_model_saved_from_a_disk_is_listed_found_and_suggested(
    gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (gguf / "models").mkdir()
    monkeypatch.chdir(gguf)
    Path("Tiny-Q4_K_M.gguf.json").rename("models/Tiny-Q4_K_M.gguf.json")
    assert "Tiny-Q4_K_M.gguf" in rigspec("catalog", "models").output
    assert rigspec("catalog", "models", "Tiny-Q4_K_M.gguf").exit_code == 0
    meant = "did you mean `Tiny-Q4_K_M.gguf`?"
    assert meant in rigspec("catalog", "models", "Tiny-Q4_K_M").output
    assert meant in rigspec("fit", "Tiny-Q4_K_M", "--gpu", "rtx-3090").output


def test_more_ranks_than_cards_ends_with_2() -> None:
    done = fit("Qwen/Qwen3-32B", "--gpu", "rtx-3090", "--tp", "4", "--count", "2")
    assert done.exit_code == 2
    assert "--tp 4 is more than --count 2" in done.output


def test_plan_sizing_is_one_screen_of_a_hundred_columns() -> None:
    for name in ("starter", "home"):
        done = rigspec("plan", f"rigs/{name}.yaml", "--sizing")
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert len(lines) <= 45
        assert max(map(len, lines)) <= 110


def test_plan_sizing_as_data_holds_links_power_and_an_honest_unknown() -> None:
    record = json.loads(rigspec("plan", "rigs/home.yaml", "--sizing", "--json").stdout)
    glm = record["services"]["glm"]
    assert glm["verdict"] == "close"
    assert record["services"]["stt"]["verdict"] is None  # nothing is saved of its model
    assert len(glm["links"]) == 6
    assert {link["label"] for link in glm["links"]} == {"PIX"}
    # (4 × 350 W + 280 W) / 0.92, (4 × 600 W + 280 W) / 0.92, 120 V × 20 A × 0.8
    assert record["power"]["wall_at_caps_w"] == pytest.approx(1826.1)
    assert record["power"]["wall_at_default_limits_w"] == pytest.approx(2913.0)
    assert record["power"]["circuit_w"] == pytest.approx(1920)


def test_plan_ends_with_the_sizing_screen() -> None:
    done = rigspec("plan", "rigs/starter.yaml")
    assert done.exit_code == 0
    assert done.stdout.index("digest ") < done.stdout.index("power at the wall")


@pytest.mark.parametrize(
    "arguments",
    [
        ("plan", "rigs/starter.yaml", "--sizing"),
        ("fit", "Qwen/Qwen3.6-27B-FP8", "--gpu", "rtx-3090", "--count", "2",
         "--engine-version", "0.30.0"),
    ],
    ids=["plan --sizing", "fit"],
)  # fmt: skip
def test_docs_show_what_the_commands_print(arguments: tuple[str, ...]) -> None:
    """After a wanted change: `RIGSPEC_REWRITE=1 pytest tests/unit/cli`, then read the diff."""
    page = ROOT / "docs/fit.md"
    printed = rigspec(*arguments).stdout.rstrip()
    text = page.read_text()
    title = printed.partition("\n")[0]
    shown = next(b for b in text.split("```") if b.strip().startswith(title[:30])).strip("\n")
    if os.environ.get("RIGSPEC_REWRITE"):
        page.write_text(text.replace(shown, printed))
        return
    assert shown == printed


def test_catalog_lists_saved_models_and_their_sources(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    nothing = rigspec("catalog", "models")
    assert nothing.exit_code == 2
    assert "no model is saved in rigs/models/" in nothing.output
    mine = tmp_path / "catalog" / "models"
    mine.mkdir(parents=True)
    (mine / "me__mine.json").write_text((SAVED / "Qwen__Qwen3-8B.json").read_text())
    (mine / "me__cut.json").write_text("{")
    listed = rigspec("catalog", "models").output
    assert "me/mine" in listed
    assert "cannot be used: me__cut.json is not JSON" in listed
    rows = json.loads(rigspec("catalog", "models", "me/mine", "--json").output)
    assert {"field": "layers", "value": "36 Attention"}.items() <= rows[3].items()
    assert all(row["source"] for row in rows if row["value"] is not None)
    assert rigspec("catalog", "models", "me/other").exit_code == 2
    assert rigspec("catalog", "models", "me/cut").exit_code == 2
    assert rigspec("fit", "me/mine", "--gpu", "rtx-3090", "--context", "4096").exit_code == 0


def test_check_finds_models_of_the_owner_s_catalog(tmp_path: Path) -> None:
    rigs, mine = tmp_path / "rigs", tmp_path / "catalog" / "models"
    rigs.mkdir()
    mine.mkdir(parents=True)
    spec = (ERRORS / "memory-too-large.yaml").read_text()
    (rigs / "desk.yaml").write_text(spec)
    assert "memory.fits" not in rigspec("check", str(rigs / "desk.yaml")).output
    for saved in (ERRORS / "models").glob("*.json"):
        (mine / saved.name).write_text(saved.read_text())
    assert "memory.fits" in rigspec("check", str(rigs / "desk.yaml")).output


STATES = ("Qwen/Qwen3.6-27B-FP8", "--gpu", "h100-80gb-hbm3")


def test_sequences_that_vllm_would_refuse_for_want_of_states_are_said_in_every_form() -> None:
    # vLLM's own default on such a card is 1024 sequences, one state each
    table, single = rigspec("fit", *STATES), rigspec("fit", *STATES, "--context", "8192")
    for shown in (table.output, single.output):
        assert "too close to call" in shown
        assert "vLLM refuses 1024 sequences if its cache holds fewer states" in shown
    for more in ((), ("--context", "8192")):
        told = json.loads(rigspec("fit", *STATES, "--json", *more).output)
        (row, *_) = told if isinstance(told, list) else [told]
        assert row["states"]["sequences"] == 1024
        assert row["verdict"] == "close"


def test_few_sequences_fit_and_nothing_is_said_of_states() -> None:
    for more in ((), ("--context", "8192")):
        done = rigspec("fit", *STATES, "--sequences", "16", *more)
        assert done.exit_code == 0
        assert "too close" not in done.output
        assert "refuses" not in done.output


def test_more_states_asked_for_than_the_pool_ever_holds_end_with_2() -> None:
    done = rigspec("fit", *STATES, "--sequences", "4000", "--context", "8192")
    assert done.exit_code == 2
    assert "does not fit" in done.output


def test_llama_cpp_sets_the_context_aside_for_every_sequence(gguf: Path) -> None:
    def shown(*words: str, count: str = "1") -> str:
        return of_gguf(gguf, "--context", "4096", *words, count=count).output

    one, four = shown(), shown("--sequences", "4")
    # 36 layers × 8 heads × 128 × 2 × 2 bytes = 144 KiB per token
    assert "cache                          0.6 GiB, set aside at start for 1 slot of 4,096" in one
    assert "cache                          2.2 GiB, set aside at start for 4 slots of 4,096" in four
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
    rows = [line.split() for line in table.splitlines() if " 32,768 " in line]
    assert [row[5] for row in rows] == ["4.5", "2.2"]


def test_llama_cpp_without_room_says_how_much_is_missing(gguf: Path) -> None:
    done = of_gguf(gguf, "--context", "40960", "--sequences", "6")
    assert done.exit_code == 2
    assert "missing" in done.output
    assert "max_sequences: 3" in done.output


def test_an_architecture_nobody_knows_is_said_in_every_answer(gguf: Path) -> None:
    saved = gguf / "Tiny-Q4_K_M.gguf.json"
    saved.write_text(saved.read_text().replace('"qwen3"', '"newarch"'))
    for more in ((), ("--context", "8192")):
        assert "not understood: " in of_gguf(gguf, *more).output
        told = json.loads(of_gguf(gguf, "--json", *more).output)
        assert (told[0] if isinstance(told, list) else told)["doubts"]
