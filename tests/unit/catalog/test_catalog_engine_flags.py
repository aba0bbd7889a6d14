"""Command lines judged against the engines' own flag lists.

The published commands were also given to the real parsers of vLLM 0.33.0 and SGLang 0.5.23 and to
a built llama-server b11434: `REFUSED` names those the engines refuse.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from rigspec.catalog.engine_flags import FlagProblem, check_argv, check_env
from rigspec.catalog.flag_table import is_release, load_flags, load_history, version_key

COMMANDS = Path(__file__).parents[2] / "captures/engine-commands/real-commands.yaml"
VERSIONS = {"vllm": "0.33.0", "sglang": "0.5.23", "llama.cpp": "b11434"}
REFUSED = {
    "rtx6kpro-02",
    "rtx6kpro-03",
    "rtx6kpro-05",
    "rtx6kpro-22",
    "rtx6kpro-39",
    "rtx6kpro-40",
    "rtx6kpro-42",
    "club3090-deepseek-v4-flash-0731-llama-cpp-dual-unsloth-iq2-xxs-offload",
    "llama-oldflag-mlock",
    "llama-2x2080ti-tensor",
}


def commands() -> list[dict[str, Any]]:
    with COMMANDS.open("rb") as stream:
        content = yaml.load(stream, yaml.CSafeLoader)  # noqa: TID251 - published data
    found: list[dict[str, Any]] = content["commands"]
    return found


def errors(found: tuple[FlagProblem, ...]) -> list[tuple[str, str]]:
    return [(problem.kind, problem.flag) for problem in found if problem.severity == "error"]


def warnings(found: tuple[FlagProblem, ...]) -> list[tuple[str, str]]:
    return [(problem.kind, problem.flag) for problem in found if problem.severity == "warning"]


def vllm(
    *argv: str, version: str | None = "0.33.0", lenient: bool = False
) -> tuple[FlagProblem, ...]:
    return check_argv("vllm", version, ("vllm", "serve", "/m", *argv), lenient)


def llama(*argv: str, version: str | None = "b11434") -> tuple[FlagProblem, ...]:
    return check_argv("llama_cpp", version, ("-m", "/m.gguf", *argv), lenient_image=False)


@pytest.mark.parametrize("command", commands(), ids=lambda command: command["id"])
def test_published_command_gets_the_verdict_of_the_real_parser(command: dict[str, Any]) -> None:
    engine = command["engine"]
    found = check_argv(engine, VERSIONS[engine], command["argv"], lenient_image=False)
    assert bool(errors(found)) == (command["id"] in REFUSED), errors(found)


@pytest.mark.parametrize("command", commands(), ids=lambda command: command["id"])
def test_published_command_is_no_error_in_a_patched_image(command: dict[str, Any]) -> None:
    found = check_argv(command["engine"], None, command["argv"], lenient_image=True)
    assert errors(found) == []


def test_misspelt_flag_is_unknown_with_the_likely_name() -> None:
    (problem,) = vllm("--tensor-paralel-size", "4")
    assert (problem.kind, problem.index, problem.severity) == ("unknown", 3, "error")
    assert problem.hint == "did you mean `--tensor-parallel-size`?"


def test_removed_flag_says_what_replaced_it() -> None:
    (problem,) = vllm("--swap-space", "4")
    assert (problem.kind, problem.severity) == ("removed", "error")
    assert "--kv-offloading-size" in problem.hint
    assert problem.message.endswith("last in 0.17.1")


def test_flag_removed_later_is_fine_in_the_version_that_has_it() -> None:
    assert vllm("--swap-space", "4", version="0.17.1") == ()
    assert errors(vllm("--swap-space", "4", version="0.32.0")) == [("removed", "--swap-space")]


def test_flag_that_came_later_is_refused_in_an_older_version() -> None:
    assert errors(vllm("--device-ids", "0", version="0.21.0")) == [("not-yet", "--device-ids")]
    assert vllm("--device-ids", "0", version="0.24.0") == ()


def test_flag_is_only_warned_about_between_two_samples_that_differ() -> None:
    """0.15.1 has no `--performance-mode`, 0.17.1 has it, 0.16.0 was not sampled."""
    assert errors(vllm("--performance-mode", "balanced", version="0.16.0")) == []
    assert errors(vllm("--performance-mode", "balanced", version="0.15.1")) != []


@pytest.mark.parametrize("version", [None, "0.99.0", "0.33.1.dev4+gabc", "0.1.0"])
def test_unknown_version_turns_unknown_flags_into_warnings(version: str | None) -> None:
    found = vllm("--use-b12x", version=version)
    assert errors(found) == []
    assert warnings(found) == [("unknown", "--use-b12x")]


def test_patched_image_may_bring_flags_and_choices() -> None:
    found = vllm("--use-b12x", "--moe-backend", "mine", lenient=True)
    assert errors(found) == []
    assert {kind for kind, _ in warnings(found)} == {"unknown", "choice"}


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (("--tensor-parallel-size", "four"), "type"),
        (("--gpu-memory-utilization", "90%"), "type"),
        (("--max-model-len", "much"), "type"),
        (("--tensor-parallel-size",), "value"),
        (("--tensor-parallel-size", "--trust-remote-code"), "value"),
        (("--trust-remote-code=true",), "value"),
        (("--moe-backend", "none-such"), "choice"),
        (("--tool-call-parser", "none-such"), "registry"),
        (("--speculative-config", "{'method': 'mtp'}"), "json"),
        (("--compilation-config", "[1]"), "json"),
        (("--speculative-config", '{"method": "none-such"}'), "choice"),
        (("--speculative-config", '{"nonsense": 1}'), "key"),
        (("--speculative-config.nonsense", "1"), "key"),
        (("--max-model-len.x", "1"), "type"),
        (("--enable-auto-tool-choice",), "rule"),
        (("--max-num", "2"), "ambiguous"),
        (("stray",), "positional"),
        (("--served-model-name",), "value"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_vllm_refuses(argv: tuple[str, ...], kind: str) -> None:
    kinds = [problem.kind for problem in vllm(*argv) if problem.severity == "error"]
    assert kind in kinds


@pytest.mark.parametrize(
    "argv",
    [
        ("--max-model-len", "8k"),
        ("--max-model-len", "-1"),
        ("--tensor_parallel_size", "4"),
        ("--tensor-parallel-size=4",),
        ("-tp", "4"),
        ("-O3",),
        ("-O", "3"),
        ("--no-enable-prefix-caching",),
        ("--served-model-name", "a", "b"),
        ("--speculative-config", '{"method": "mtp", "num_speculative_tokens": 3}'),
        ("--speculative-config.method", "mtp"),
        ("--enable-auto-tool-choice", "--tool-call-parser", "glm47"),
        ("--moe-backend", "FLASHINFER-CUTLASS"),
    ],
    ids=" ".join,
)
def test_vllm_takes(argv: tuple[str, ...]) -> None:
    assert vllm(*argv) == ()


def test_abbreviated_flag_works_and_is_warned_about() -> None:
    (problem,) = vllm("--tensor-parallel-s", "2")
    assert (problem.kind, problem.severity) == ("abbreviation", "warning")
    assert "`--tensor-parallel-size`" in problem.hint


def test_sglang_refuses_the_ambiguous_short_form_and_the_underscore() -> None:
    start = ("sglang", "serve", "/m")
    assert errors(check_argv("sglang", "0.5.23", (*start, "--pp", "2"))) == [("ambiguous", "--pp")]
    assert errors(check_argv("sglang", "0.5.23", (*start, "--tp_size", "2"))) == [
        ("unknown", "--tp_size")
    ]
    assert errors(check_argv("sglang", "0.5.23", ("--tp-size", "2"))) == [("rule", "--model-path")]


def test_llama_server_takes_no_value_after_an_equals_sign() -> None:
    (problem,) = llama("--ctx-size=4096")
    assert (problem.kind, problem.severity) == ("syntax", "error")
    assert problem.hint == "write `--ctx-size` and `4096` as two arguments"


@pytest.mark.parametrize(
    ("argv", "kind"),
    [
        (("--no-mmap",), "removed"),
        (("--draft-max", "4"), "removed"),
        (("-fa",), "value"),
        (("-fa", "--metrics"), "value"),
        (("-ngl", "most"), "type"),
        (("--split-m", "layer"), "unknown"),
        (("--split-mode", "tensor", "-fa", "off"), "rule"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else value,
)
def test_llama_server_refuses(argv: tuple[str, ...], kind: str) -> None:
    assert kind in [problem.kind for problem in llama(*argv) if problem.severity == "error"]


def test_llama_server_of_another_build_is_warned_about_a_removed_flag() -> None:
    assert errors(llama("--no-mmap", version="b9000")) == []
    assert warnings(llama("--no-mmap", version="b9000")) == [("removed", "--no-mmap")]


def test_key_on_the_command_line_is_named_as_a_secret() -> None:
    assert ("secret", "--api-key") in warnings(vllm("--api-key", "abc"))


def test_unknown_engine_variable_is_a_warning_with_the_likely_name() -> None:
    (problem,) = check_env("vllm", {"VLLM_LOGING_LEVEL": "INFO", "OMP_NUM_THREADS": "8"})
    assert (problem.kind, problem.severity) == ("env", "warning")
    assert problem.hint == "did you mean `VLLM_LOGGING_LEVEL`?"


@pytest.mark.parametrize(
    ("name", "value", "kinds"),
    [
        ("LLAMA_ARG_N_CPU_MOE", "many", ["type"]),
        ("LLAMA_ARG_N_CPU_MOE", "-1", ["type"]),
        ("LLAMA_ARG_N_CPU_MOE", "", ["type"]),
        ("LLAMA_ARG_N_CPU_MOE", "12", []),
        ("LLAMA_ARG_FLASH_ATTN", "maybe", ["choice"]),
        ("LLAMA_ARG_FLASH_ATTN", "off", []),
        ("LLAMA_ARG_CPU_MOE", "1", []),  # a switch: what counts as yes is its own
        ("LLAMA_ARG_NO_CPU_MOES", "x", ["env"]),
    ],
)
def test_llama_cpp_reads_the_value_of_a_variable_like_that_of_the_flag(
    name: str, value: str, kinds: list[str]
) -> None:
    assert [problem.kind for problem in check_env("llama_cpp", {name: value})] == kinds


def test_versions_compare_as_numbers() -> None:
    assert version_key("0.5.10.post1") > version_key("0.5.10") > version_key("0.5.9")
    assert version_key("b11434") > version_key("b9000")
    assert version_key("0.33") == version_key("v0.33.0")
    assert is_release("0.5.10.post1") and not is_release("0.33.0rc1")


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_history_ends_with_the_version_of_the_table(engine: str) -> None:
    history = load_history(engine)
    assert history is not None
    assert history.versions[-1] == load_flags(engine).version
    last = {name for name, (_, end) in history.spans.items() if end == history.versions[-1]}
    assert len(last - set(load_flags(engine).by_name)) <= len(last) // 20


@pytest.mark.parametrize(("version", "told"), [("0.30.0", True), ("0.33.0", False)])
def test_list_of_another_version_is_called_that(version: str, told: bool) -> None:
    (problem,) = check_argv("vllm", version, ["vllm", "serve", "m", "--zebra-crossing"])
    assert "0.33.0" in problem.message
    assert ("the spec says 0.30.0" in problem.message) is told


def test_a_variable_of_another_version_is_no_slip_unless_it_nearly_is_one() -> None:
    # published for vLLM 0.16: local-inference-lab/rtx6kpro, minimax-m25
    assert not check_env("vllm", {"VLLM_SLEEP_WHEN_IDLE": "1"}, "0.16.0")
    assert check_env("vllm", {"VLLM_SLEEP_WHEN_IDLE": "1"}, "0.33.0")
    (problem,) = check_env("vllm", {"VLLM_LOGING_LEVEL": "INFO"}, "0.16.0")
    assert problem.hint == "did you mean `VLLM_LOGGING_LEVEL`?"


def test_llama_server_takes_some_flags_many_times() -> None:
    assert llama("-ot", "a=CPU", "-ot", "b=CPU", "--lora", "/l1", "--lora", "/l2") == ()
    assert warnings(llama("-c", "1", "-c", "2")) == [("duplicate", "-c")]


def test_flash_attention_was_a_switch_in_older_llama_servers() -> None:
    assert llama("-fa", "-c", "4096", version="b6100") == ()
    assert llama("-fa", "on", version="b6100") == ()
    assert llama("-fa", "-c", "4096", version="b11434") != ()


def test_a_removed_flag_says_which_list_it_is_missing_from() -> None:
    (problem,) = llama("--no-mmap", version="b10236")
    assert "the spec says b10236" in problem.message


def test_quantization_names_that_vllm_translates_are_taken() -> None:
    assert not vllm("--quantization", "auto_round")


def test_a_flag_and_its_value_in_one_entry_are_to_be_two() -> None:
    (found,) = vllm("--chat-template /srv/x.jinja")
    assert found.hint == "two entries: `--chat-template`, `/srv/x.jinja`"
    (found,) = vllm("stray")
    assert found.hint == "a flag lacks its name?"


@pytest.mark.parametrize("value", ["0", "-3"])
@pytest.mark.parametrize("flag", ["--max-loras", "--block-size"])
def test_a_count_below_one_is_an_error(flag: str, value: str) -> None:
    assert errors(vllm(flag, value)) == [("type", flag)]
    assert errors(vllm(flag, "16")) == []


@pytest.mark.parametrize(
    "flag",
    [
        "--page-size",
        "--max-loras-per-batch",
        "--max-lora-rank",
        "--max-mamba-cache-size",
        "--max-total-tokens",
    ],
)
def test_so_is_one_of_sglang_s(flag: str) -> None:
    for value, found in (("0", [("type", flag)]), ("16", [])):
        argv = ("--model-path", "m", flag, value)
        assert errors(check_argv("sglang", None, argv, lenient_image=False)) == found


@pytest.mark.parametrize(
    ("value", "is_wrong"), [("0", True), ("0.0", True), ("-1", True), ("0.1", False)]
)
def test_a_share_of_nothing_is_an_error(value: str, is_wrong: bool) -> None:
    argv = ("--model-path", "m", "--mamba-full-memory-ratio", value)
    found = errors(check_argv("sglang", None, argv, lenient_image=False))
    assert found == ([("type", "--mamba-full-memory-ratio")] if is_wrong else [])
