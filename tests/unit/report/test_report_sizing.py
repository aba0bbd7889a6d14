"""The sizing screen: the bar, the link matrix, watts in three states, and what is unknown."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from rigspec.catalog.models import load_model_facts
from rigspec.plan.rig import plan_rig
from rigspec.report.links import link_lines
from rigspec.report.plan import as_text as plan_text
from rigspec.report.sizing import BAR, _left, as_text, bar
from rigspec.report.sizing_json import amount, rig_record
from rigspec.report.words import spans
from rigspec.rules.context import CheckContext
from rigspec.rules.power_states import power_states
from rigspec.rules.run import check
from rigspec.sizing.amount import Amount, above_zero, band, exact
from rigspec.sizing.links import Hop, Place, paths
from rigspec.spec.faults import FabricFaults, Fault
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig
from rigspec.units import count

ROOT = Path(__file__).resolve().parents[3]
HOME, STARTER = ROOT / "rigs/home.yaml", ROOT / "rigs/starter.yaml"


def rig(file: Path, *changes: tuple[str, str]) -> Rig:
    text = file.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    loaded = load_text("rig.yaml", text)
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


LLAMA = (
    ("    engine: vllm\n", "    engine: llama_cpp\n"),
    ("    tensor_parallel_size: 2\n", "    split_mode: layer\n"),
)


def known() -> CheckContext:
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert facts is not None
    return CheckContext(models={"qwen": facts})


@pytest.mark.parametrize(
    ("sizes", "cache", "outside", "counted"),
    [
        ((10.0, 0.0, 0.0, 0.0), 6.0, 4.0, {"█": 32, "=": 19, "·": 13}),
        ((5.0, 5.0, 5.0, 5.0), 0.0, 0.0, {"█": 16, "▓": 16, "▒": 16, "░": 16}),
        ((30.0, 1.0, 1.0, 1.0), 0.0, 0.0, {"█": 63, "!": 1}),
    ],
    ids=["weights, cache, rest", "four equal terms", "more than the card"],
)
def test_bar_shows_shares_of_the_card(
    sizes: tuple[float, ...], cache: float, outside: float, counted: dict[str, int]
) -> None:
    drawn = bar(sizes, cache, outside, 20.0)
    assert len(drawn) == BAR
    assert {letter: drawn.count(letter) for letter in counted} == counted


def test_screen_of_a_known_model_says_all_terms_with_their_bands() -> None:
    shown = as_text(rig(STARTER), known())
    assert "qwen: Qwen/Qwen3.6-27B-FP8 on 2 × GeForce RTX 3090, vLLM, TP 2: fits" in shown
    for term in ("weights", "activation peak", "communication", "CUDA graphs", "cache"):
        assert term in shown
    assert "one request of 32,768 takes" in shown
    assert "bottleneck: Gen4 x8, 15.8 GB/s in theory (the cards could do 31.5)" in shown
    assert "cap of 290 W keeps of the speed: one stream 96 %" in shown
    assert "measured: " in shown


def test_cap_of_a_card_nobody_swept_is_unknown() -> None:
    shown = as_text(rig(STARTER, ("rtx-3090", "rtx-4090")), known())
    assert "cap of 290 W: what it costs in speed is unknown for this card" in shown


def test_unknown_model_keeps_links_and_power_and_says_how_to_add_it() -> None:
    shown = as_text(rig(HOME), CheckContext())
    assert "glm: unknown whether it fits" in shown
    assert "`rigspec model add /srv/models/GLM-5.2-Int8Mix-NVFP4-REAP-594B`" in shown
    assert "main.0  PIX 27   PIX 27   PIX 27" in shown
    assert "(4 × 350 W + 280 W host) / 0.92 = 1826 W" in shown


@pytest.mark.parametrize(
    ("setting", "why"),
    [
        ("gpu_layers: 40", "`gpu_layers: 40` of 65 (the output is one)"),
        ("gpu_layers: 64", "`gpu_layers: 64` of 65 (the output is one)"),
        ("gpu_layers: 0", "`gpu_layers: 0` of 65 (the output is one)"),
        ("extra_args: [--no-kv-offload]", "`--no-kv-offload`"),
        ("extra_args: [--n-cpu-ffn, '3']", "`--n-cpu-ffn`"),
        ("environment: {LLAMA_ARG_N_CPU_FFN: '3'}", "`LLAMA_ARG_N_CPU_FFN`"),
        ("environment: {LLAMA_ARG_KV_OFFLOAD: 'off'}", "`LLAMA_ARG_KV_OFFLOAD`"),
        ("environment: {LLAMA_ARG_NO_KV_OFFLOAD: '1'}", "`LLAMA_ARG_NO_KV_OFFLOAD`"),
        ("environment: {LLAMA_ARG_NO_KV_OFFLOAD: '0'}", "`LLAMA_ARG_NO_KV_OFFLOAD`"),
        ("environment: {GGML_CUDA_ENABLE_UNIFIED_MEMORY: 1}", "`GGML_CUDA_ENABLE_UNIFIED_MEMORY`"),
        ("environment: {LLAMA_ARG_OVERRIDE_TENSOR: 'ffn=CPU'}", "`LLAMA_ARG_OVERRIDE_TENSOR`"),
        ("extra_args: ['-ot', 'ffn_up=CPU']", "`--override-tensor`"),
    ],
)
def test_a_part_in_host_memory_is_said_and_not_sized(setting: str, why: str) -> None:
    spec = rig(STARTER, *LLAMA, ("    max_sequences: 8\n", f"    {setting}\n"))
    said = f"{why} leaves a part of the model in host memory, which is not sized"
    shown = as_text(spec, known())
    assert said in shown
    assert "qwen: unknown whether it fits" in shown
    assert max(map(len, shown.splitlines())) <= 110
    assert "tok/s" not in shown
    record = rig_record(spec, known())["services"]["qwen"]
    assert (record["verdict"], record["unsized"]) == (None, said)
    assert not [f for f in check(spec, known()) if f.rule.startswith("memory.")]


@pytest.mark.parametrize("told", ["extra_args: [--rpc, a:1]", "environment: {LLAMA_ARG_RPC: a:1}"])
def test_a_part_on_other_machines_is_not_sized_either(told: str) -> None:
    spec = rig(STARTER, *LLAMA, ("    max_sequences: 8\n", f"    {told}\n"))
    why = rig_record(spec, known())["services"]["qwen"]["unsized"]
    assert why.endswith("` leaves a part of the model to other machines, which is not sized")
    other = rig(STARTER, ("    max_sequences: 8\n", "    environment: {LLAMA_ARG_RPC: a:1}\n"))
    assert rig_record(other, known())["services"]["qwen"]["unsized"] is None  # vLLM has none


@pytest.mark.parametrize(
    "setting",
    [
        "gpu_layers: 65",
        "extra_args: [--n-cpu-moe, 0]",
        "extra_args: [--cpu-moe]",  # this model has no experts
        "environment: {LLAMA_ARG_N_CPU_FFN: '0'}",
        "environment: {LLAMA_ARG_KV_OFFLOAD: 'Off'}",  # llama.cpp refuses it
        "environment: {LLAMA_ARG_KV_OFFLOAD: 'off'}\n    extra_args: [--kv-offload]",
    ],
)
def test_settings_that_leave_all_on_the_cards_are_sized(setting: str) -> None:
    spec = rig(STARTER, *LLAMA, ("    max_sequences: 8\n", f"    {setting}\n"))
    assert "tok/s" in as_text(spec, known())
    assert rig_record(spec, known())["services"]["qwen"]["unsized"] is None


def test_a_measured_fault_takes_the_direct_copies_out_of_the_estimate() -> None:
    fault = Fault(members=("main.0", "main.2"), verdict="wrong data", found="7 of 512 blocks")
    faults = FabricFaults(rig="home", measured_at="2026-11-02T03:04:05Z", faults=(fault,))
    whole, faulty = CheckContext(), CheckContext(faults=faults)
    shown = as_text(rig(HOME), faulty)
    assert "P2P off: main.0 and main.2: wrong data (7 of 512 blocks)" in shown
    assert "PIX 27.1 " in as_text(rig(HOME), whole)
    assert "PIX 27.1 " not in shown
    served = rig_record(rig(HOME), faulty)["services"]["glm"]
    assert len(served["peers_off"]) == 1
    assert rig_record(rig(HOME), whole)["services"]["glm"]["peers_off"] == []
    assert served["links"] != rig_record(rig(HOME), whole)["services"]["glm"]["links"]


def test_unknown_card_leaves_no_false_figure() -> None:
    shown = as_text(rig(STARTER, ("sku: rtx-3090", "sku: rtx-9090")), known())
    assert "qwen: unknown whether it fits, a card is not in the catalog" in shown
    assert "at the caps 844 W, at default limits unknown" in shown
    assert "highest equal cap" not in shown
    uncapped = rig(STARTER, ("sku: rtx-3090", "sku: rtx-9090"), ("    power_limit_w: 290", "#"))
    assert "power: unknown" in as_text(uncapped, known())


def test_power_in_three_states_by_hand() -> None:
    states = power_states(rig(STARTER), CheckContext())
    assert states is not None
    assert states.capped_w == pytest.approx((2 * 290 + 180) / 0.9)
    assert states.default_w == pytest.approx((2 * 350 + 180) / 0.9)
    assert states.idle_w == pytest.approx((2 * 30 + 180) / 0.9)
    assert states.circuit_w == pytest.approx(120 * 15 * 0.8)


def switched(cards: int, each: int, columns: int | None = None) -> list[str]:
    gpus = [f"main.{i}" for i in range(cards)]
    leaf = [Place(g, Hop(g, 5, 16), (f"s{i // each}",), (Hop(f"uplink of s{i // each}", 5, 16),))
            for i, g in enumerate(gpus)]  # fmt: skip
    return list(link_lines(paths(leaf, peer=True), gpus, columns))


BRIDGED = ("    count: 2\n", "    count: 2\n    nvlink_bridge: true\n")


def test_a_bridged_pair_is_nvlink_in_the_matrix_with_the_way_below_it() -> None:
    lines = as_text(rig(STARTER, BRIDGED), known()).splitlines()
    assert "    pair.0  NV4" in lines
    assert "    NV4 an NVLink bridge joins the two; the PCIe way below it is PHB" in lines
    assert [line for line in lines if line.startswith("    PHB 11.2")]
    (link,) = rig_record(rig(STARTER, BRIDGED), known())["services"]["qwen"]["links"]
    assert (link["nvlink"], link["label"], link["topo"]) == (True, "PHB", "NV4")
    assert "  NVLink joins these cards: all-reduces go there, not over the links below" in lines
    assert (
        "  NVLink joins these cards" in as_text(rig(STARTER, BRIDGED, *LLAMA), known()).splitlines()
    )
    plain = as_text(rig(STARTER), known())
    assert "    pair.0  PHB 11" in plain
    assert "NV4 an" not in plain


def test_only_the_pairs_of_a_bridge_are_nvlink_among_four() -> None:
    four = rig(STARTER, ("    count: 2\n", "    count: 4\n    nvlink_bridge: true\n"))
    lines = as_text(four, known()).splitlines()
    assert "    pair.0  NV4      PHB 11   PHB 11" in lines
    assert "    pair.2                    NV4" in lines


@pytest.mark.parametrize(("sku", "word"), [("h100-sxm", "NV18"), ("a100-sxm4-80gb", "NV12")])
def test_boards_on_a_switch_are_what_topo_prints_with_the_way_below_it(sku: str, word: str) -> None:
    switched = rig(STARTER, ("sku: rtx-3090", f"sku: {sku}"))
    lines = as_text(switched, known()).splitlines()
    assert f"    pair.0  {word}" in lines
    assert f"    {word} an NVLink switch joins these cards; the PCIe way below it is PHB" in lines
    (link,) = rig_record(switched, known())["services"]["qwen"]["links"]
    assert (link["nvlink"], link["label"], link["topo"]) == (True, "PHB", word)


def test_links_of_an_unknown_number_are_counted_by_a_sign() -> None:
    pair = rig(STARTER, ("sku: rtx-3090", "sku: rtx-2080-ti"), BRIDGED)
    assert "    pair.0  NV#" in as_text(pair, known()).splitlines()


def test_every_rate_of_the_table_stands_below_it() -> None:
    slow = Place("b", Hop("b", 4, 4), numa_node=0)
    far = Place("c", Hop("c", 4, 8), numa_node=1)
    found = paths([Place("a", Hop("a", 4, 16)), slow, far], peer=True)
    lines = list(link_lines(found, ("a", "b", "c")))
    assert "    a  PHB 6.8  SYS 14" in lines
    told = [line.split(" GB/s")[0] for line in lines if line.startswith("    SYS ")]
    assert told == ["    SYS 6.8 (6.5–7.1)", "    SYS 13.5 (13.1–14.2)"]
    assert len([line for line in lines if line == "      between sockets"]) == 1


def test_the_plan_s_list_of_cards_names_the_bridge() -> None:
    spec = rig(STARTER, BRIDGED)
    shown = plan_text(plan_rig(spec))
    assert "290 W, NVLink bridge to pair.1" in shown
    assert "NVLink" not in plan_text(plan_rig(rig(STARTER)))


def test_many_cards_that_reach_the_others_alike_are_one_row() -> None:
    lines = switched(16, 8)
    assert lines[1:4] == [
        "               main.0–7   main.8–15",
        "    main.0–7   PIX        PHB",
        "    main.8–15             PIX",
    ]
    shared = "    uplink of s0, uplink of s1 (Gen5 x16) are each shared by paths between main.0–15"
    assert shared in lines


def test_a_card_alone_on_its_switch_is_a_row_without_a_path_within() -> None:
    assert switched(9, 4)[4] == "    main.8                        -"


def test_few_cards_are_shown_one_by_one_with_rates() -> None:
    lines = switched(4, 2)
    assert lines[2] == "    main.0  PIX 54   PHB 54   PHB 54"
    assert len([line for line in lines if line.startswith("    main.")]) == 3


def test_names_in_a_row_are_a_span() -> None:
    names = ["main.10", "main.9", "main.8", "x", "main.1", "main.2", "uplink of s0"]
    assert spans(names) == "main.1, main.2, main.8–10, uplink of s0, x"


def test_figures_in_words() -> None:
    assert band(Amount(14.42, 14.27, 14.57), 1) == "14.4 (14.3–14.6)"
    assert band(exact(2.0), 1) == "2.0"
    assert band(above_zero(Amount(0.6, -0.1, 1.8)), 1) == "0.6 (0.0–1.8)"
    assert (count(1, "stream"), count(8, "stream")) == ("1 stream", "8 streams")


def test_a_cache_without_room_says_what_is_missing() -> None:
    assert _left(Amount(3.1, 2.4, 9.2)) == "3.1 (2.4–9.2) GiB"
    assert _left(Amount(-3.0, -3.7, 8.7)) == "none: 3.0 GiB are missing, at best 8.7 are left"
    assert _left(Amount(-3.0, -3.7, -1.0)) == "none: 3.0 GiB are missing"
    assert _left(Amount(0.0, -3.7, -1.0)) == "none: 0.0 GiB are missing"


def test_a_zero_is_printed_without_a_sign() -> None:
    assert band(Amount(-2.0, -2.8, -0.04), 1) == "-2.0 (-2.8–0.0)"
    assert band(Amount(-0.01, -0.02, 0.01), 1) == "0.0"
    assert str(amount(Amount(-1.0, -2.0, -0.00001))["high"]) == "0.0"


def test_screens_hold_the_width_of_a_terminal_with_every_word_whole() -> None:
    starter, beside = rig(STARTER), known()
    for shown in (partial(as_text, starter, beside), partial(plan_text, plan_rig(starter))):
        whole, narrow = shown(), shown(columns=80)
        lines = [line for line in narrow.splitlines() if "@sha256:" not in line]
        assert max(map(len, lines)) <= 80 < max(map(len, whole.splitlines()))
        words = [[w for w in text.split() if "█" not in w] for text in (whole, narrow)]
        assert words[0] == words[1]
        starts = [
            {
                line.partition(line.split()[0])[0] + line.split()[0]
                for line in text.splitlines()
                if line
            }
            for text in (whole, narrow)
        ]
        assert starts[0] <= starts[1]  # first words stay where they stood
        assert shown(columns=300) == whole


def test_further_lines_of_a_term_stand_below_its_figures() -> None:
    lines = as_text(rig(STARTER), known(), 80).splitlines()
    (term,) = (n for n, line in enumerate(lines) if line.startswith("    █ weights"))
    assert lines[term].index("14.5") == len(lines[term + 1]) - len(lines[term + 1].lstrip())


def test_a_wide_matrix_goes_on_below() -> None:
    assert max(map(len, switched(6, 2)[1:7])) > 40
    lines = switched(6, 2, columns=40)
    end = next(n for n, line in enumerate(lines) if line.startswith("    PIX"))
    assert max(map(len, lines[1:end])) <= 40
    assert lines[1:3] == [
        "            main.1   main.2   main.3",
        "    main.0  PIX 54   PHB 54   PHB 54",
    ]
    assert lines[end - 1] == "    main.4           PIX 54"


def test_slow_links_keep_a_digit_in_the_matrix() -> None:
    leaf = [Place(g, Hop(g, 1, 1), (), ()) for g in ("a", "b")]
    lines = list(link_lines(paths(leaf, peer=False), ["a", "b"]))
    assert lines[2] == "    a  PHB 0.2"


def test_without_peers_the_narrow_uplink_of_a_switch_is_named_once() -> None:
    up = (Hop("uplink of s", 4, 4),)
    leaf = [Place(g, Hop(g, 4, 16), switches=("s",), uplinks=up, best_gb_s=31.5) for g in "ab"]
    lines = [line.strip() for line in link_lines(paths(leaf, peer=False), ["a", "b"])]
    assert "one switch, up to the CPU and down again" in lines
    assert lines[-1] == (
        "bottleneck: Gen4 x4, 7.9 GB/s in theory (the cards could do 31.5), at uplink of s"
    )
    assert "one switch" in [line.strip() for line in link_lines(paths(leaf, peer=True), "ab")]


def test_unequal_cards_are_counted_by_kind() -> None:
    text = "gpus:\n  small: {sku: rtx-3060, count: 1}\n"
    two = rig(STARTER, ("gpus:\n", text), ("gpus: [pair]", "gpus: [pair, small]"),
              ("gpus: [pair]", "gpus: [pair, small]"),
              ("    gpus: [pair]\n", "    gpus: [pair, small]\n"), *LLAMA)  # fmt: skip
    shown = as_text(two, known())
    assert "on 2 × GeForce RTX 3090 and 1 × GeForce RTX 3060, llama.cpp" in shown


def test_each_kind_of_card_that_is_capped_has_its_line() -> None:
    text = "gpus:\n  big: {sku: rtx-4090, count: 1, power_limit_w: 150}\n"
    capped = (("count: 2", "count: 1"), ("power_limit_w: 290", "power_limit_w: 120"))
    both = (("gpus: [pair]", "gpus: [pair, big]"),) * 2
    more = (("gpus:\n", text), *capped, *both, ("    gpus: [pair]\n", "    gpus: [pair, big]\n"))
    for engine in ((), LLAMA):
        shown = as_text(rig(STARTER, *more, *engine), known())
        assert "cap of 120 W (GeForce RTX 3090) keeps of the speed: one stream " in shown
        assert "cap of 150 W (GeForce RTX 4090): what it costs in speed is unknown" in shown
    assert "cap of 120 W keeps" in as_text(rig(STARTER, capped[1]), known())


def test_low_ends_are_told_apart_where_a_cap_costs_only_cards_that_work_at_once() -> None:
    text = as_text(rig(STARTER, ("sku: rtx-3090", "sku: rtx-4090"),
                       ("power_limit_w: 290", "power_limit_w: 180"), *LLAMA), known())  # fmt: skip
    assert "low ends reckon with 80 % (one stream, prompts) and 40 % (many) of it" in text


@pytest.mark.parametrize(
    ("change", "said", "record"),
    [
        ((), "= KV cache, 16 bits  ", ("16 bits", "model")),
        ((("    engine: vllm\n", "    engine: vllm\n    kv_cache_dtype: fp8\n"),),
         "= KV cache, fp8  ", ("fp8", "settings")),
    ],
)  # fmt: skip
def test_the_type_of_the_cache_is_named(
    change: tuple[tuple[str, str], ...], said: str, record: tuple[str, str]
) -> None:
    one = rig(STARTER, *change)
    assert said in as_text(one, known())
    found = rig_record(one, known())["services"]["qwen"]["kv_cache_type"]
    assert (found["name"], found["said_by"]) == record


def test_a_cache_type_that_the_checkpoint_asks_for_is_said_to_be_so() -> None:
    facts = known().models["qwen"]
    asks = replace(facts, quantization=replace(facts.quantization, kv_fp8=True))
    shown = as_text(rig(STARTER), CheckContext(models={"qwen": asks}))
    assert "= KV cache, fp8  " in shown
    assert "tokens, the checkpoint asks for fp8\n" in shown
