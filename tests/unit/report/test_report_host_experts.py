"""A spec that keeps experts in host memory: what stays on the cards is shown, the speed is not."""

from __future__ import annotations

import pytest
from llama_rig import gguf, rig

from rigspec.report.sizing import as_text
from rigspec.report.sizing_json import rig_record
from rigspec.rules.context import CheckContext
from rigspec.rules.run import check


def known() -> CheckContext:
    return CheckContext(models={"qwen": gguf()})


@pytest.mark.parametrize(
    ("told", "layers"),
    [
        (("extra_args: [--n-cpu-moe, '26']",), 26),
        (("extra_args: [-ncmoe, '26']",), 26),
        (("extra_args: [--cpu-moe]",), 36),
        (("extra_args: [--n-cpu-moe, '99']",), 36),
        (("environment: {LLAMA_ARG_N_CPU_MOE: '26'}",), 26),
        (("environment: {LLAMA_ARG_CPU_MOE: '1'}",), 36),
        # each adds to the others
        (("extra_args: [--n-cpu-moe, '30']", "environment: {LLAMA_ARG_N_CPU_MOE: '2'}"), 30),
        (("extra_args: [--n-cpu-moe, '2']", "environment: {LLAMA_ARG_N_CPU_MOE: '30'}"), 30),
        (("extra_args: [--n-cpu-moe, '30', -ncmoe, '2']",), 30),
        (("extra_args: [--n-cpu-moe, '2', --n-cpu-moe, '30']",), 30),
    ],
)
def test_what_leaves_the_cards_is_shown_and_its_speed_is_not_guessed(
    told: tuple[str, ...], layers: int
) -> None:
    spec, context = rig(*told), known()
    shown = as_text(spec, context)
    assert f"experts of {layers} of 36 layers" in shown
    assert "in host memory  " in shown
    assert "speed: unknown, it depends on the host's memory and cores" in shown
    assert "tok/s" not in shown
    record = rig_record(spec, context)["services"]["qwen"]
    assert record["unsized"] is None
    assert record["decode_tok_s"] is None
    # 36 layers of 128 experts, 3 × 2,880² each; the file's 4.3 bits are 4.14 beside its output
    assert record["host_gib"]["value"] == pytest.approx(layers * 1.536, rel=0.01)
    assert not [f for f in check(spec, context) if f.rule == "memory.fits"]


def test_where_too_few_leave_the_cards_a_check_names_how_many() -> None:
    spec, context = rig("extra_args: [--n-cpu-moe, '4']"), known()
    (found,) = (f for f in check(spec, context) if f.rule == "memory.fits")
    assert "experts in host memory: add `--n-cpu-moe, " in found.hint
    assert ", --tensor-split, " in found.hint
    assert rig_record(rig(), known())["services"]["qwen"]["host_gib"] is None


@pytest.mark.parametrize("count", ["-1", "36.5", "1e2", "all", "٣٦", "99999999999999999999"])
def test_what_counts_no_layers_is_refused(count: str) -> None:
    spec = rig(f"extra_args: [--n-cpu-moe, '{count}']")
    (found,) = (f for f in check(spec, known()) if "--n-cpu-moe" in f.message)
    assert (found.rule, found.severity) == ("flags.flag-accepted", "error")
    assert found.message == f"`--n-cpu-moe` needs a whole number, 0 or more, not `{count}`"


def test_a_count_may_be_given_more_than_once() -> None:
    spec = rig("extra_args: [--n-cpu-moe, '2', --n-cpu-moe, '30']")
    assert not [f for f in check(spec, known()) if "more than once" in f.message]


def test_of_a_flag_that_is_given_twice_the_last_is_sized() -> None:
    first, last = (
        rig(f"extra_args: [--n-cpu-moe, '20', --tensor-split, '{a}', --tensor-split, '{b}']")
        for a, b in (("28,9", "1,3"), ("1,3", "28,9"))
    )
    assert [f for f in check(first, known()) if f.rule == "memory.fits"]
    assert not [f for f in check(last, known()) if f.rule == "memory.fits"]
