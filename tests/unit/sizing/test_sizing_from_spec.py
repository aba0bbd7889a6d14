"""A spec's fields arrive at the estimates: settings, cards with caps, places in the PCIe tree."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from rigspec.catalog.gpus import find_gpu
from rigspec.catalog.model_quant import Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.rules.context import saved_context
from rigspec.rules.run import check
from rigspec.sizing.accepted import is_beyond
from rigspec.sizing.all_reduce import NVLINK, Link
from rigspec.sizing.as_loaded import as_loaded, load_peak
from rigspec.sizing.cards import card_of
from rigspec.sizing.from_spec import (
    cards_of,
    paths_of,
    peers,
    places_of,
    settings_of,
    version_of,
)
from rigspec.sizing.group import tightest
from rigspec.sizing.links import Label
from rigspec.sizing.llamacpp_told import ubatch_of
from rigspec.sizing.memory import MemoryEstimate, estimate
from rigspec.sizing.service import size_service
from rigspec.sizing.settings import Engine, EngineSettings, Speculative
from rigspec.sizing.verdict import Verdict
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

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


def test_settings_of_the_home_rig_hold_every_field_that_moves_memory() -> None:
    found = settings_of(rig(HOME), "glm")
    assert found.engine is Engine.VLLM
    assert (found.tensor_parallel, found.decode_context_parallel) == (4, 4)
    assert (found.context, found.memory_fraction) == (460000, 0.96)
    assert (found.max_seqs, found.max_batched_tokens, found.kv_dtype) == (8, 4096, "fp8")
    assert found.max_graph_size == 32  # from extra_args
    assert found.speculative == Speculative("mtp", 3)
    assert found.version is None


def test_acceptance_becomes_the_accepted_length() -> None:
    spec = rig(HOME, ("      tokens: 3\n", "      tokens: 3\n      acceptance: 0.5\n"))
    found = settings_of(spec, "glm").speculative
    assert found is not None
    assert found.accepted == pytest.approx(2.5)  # the checked token and half of three drafts


def test_flags_are_read_in_both_spellings() -> None:
    spec = rig(
        HOME,
        ("      - --max-cudagraph-capture-size\n      - 32\n",
         "      - --max-cudagraph-capture-size=16\n      - --kv-cache-memory-bytes=2147483648\n"),
    )  # fmt: skip
    found = settings_of(spec, "glm")
    assert (found.max_graph_size, found.kv_bytes) == (16, 2 << 30)


def test_a_context_that_the_engine_finds_itself_asks_for_no_certain_room() -> None:
    change = ("context_length: 32768", "context_length: auto")
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert facts is not None
    gpu = find_gpu("rtx-3090")
    assert gpu is not None
    card = card_of(gpu)
    auto = settings_of(rig(STARTER, change), "qwen")
    whole = replace(auto, auto_context=False)
    assert estimate(facts, card, auto).boots is Verdict.YES
    assert estimate(facts, card, whole).boots is not Verdict.YES  # all 262,144 tokens
    found = estimate(facts, card, auto)
    assert found.kv_tokens is not None
    assert found.kv_tokens.value == found.largest_context  # what the engine will print
    for own in (auto, whole):  # the engine profiles with the model's own length in both
        assert estimate(facts, card, own).available == estimate(facts, card, auto).available


@pytest.mark.parametrize(
    ("args", "batch", "tokens"),
    [
        ("", "", 512), ('"-ub", "1024"', "", 1024), ('"-ub", "0"', "", 2048),
        ('"-ub", "4096"', "", 2048), ('"-ub", "0"', "256", 256), ("", "128", 128),
        ('"-ub", "²"', "", 512), ('"-ub", "4096"', "8192", 4096),
    ],
)  # fmt: skip
def test_llama_cpp_computes_a_batch_at_most_and_all_of_it_at_zero(
    args: str, batch: str, tokens: int
) -> None:
    told = f"    max_batched_tokens: {batch}\n" if batch else ""
    found = rig(
        STARTER, ("    engine: vllm\n", "    engine: llama_cpp\n"),
        ("    tensor_parallel_size: 2\n", f"    extra_args: [{args}]\n{told}"),
    )  # fmt: skip
    assert settings_of(found, "qwen").ubatch == tokens


def test_llama_cpp_takes_its_micro_batch_from_the_environment_where_no_flag_says() -> None:
    written = rig(STARTER, ("    engine: vllm\n", "    engine: llama_cpp\n")).services["qwen"]
    told = {"environment": {"LLAMA_ARG_UBATCH": "1024"}}
    assert ubatch_of(written.model_copy(update=told)) == 1024
    assert ubatch_of(written.model_copy(update={"max_batched_tokens": 768, **told})) == 768
    flag = {"extra_args": ("-ub", "256"), **told}
    assert ubatch_of(written.model_copy(update=flag)) == 256


def test_llama_cpp_counts_cards_instead_of_ranks() -> None:
    spec = rig(
        STARTER,
        ("engine: vllm", "engine: llama_cpp"),
        ("    tensor_parallel_size: 2\n", "    split_mode: layer\n"),
    )
    found = settings_of(spec, "qwen")
    assert (found.engine, found.tensor_parallel, found.split) == (Engine.LLAMA_CPP, 2, "layer")
    assert found.parallel == 8


@pytest.mark.parametrize(
    ("text", "version"),
    [("0.30.1", (0, 30, 1)), ("0.30", (0, 30)), ("0.20.2rc1", (0, 20)), ("b11434", None),
     (None, None)],
)  # fmt: skip
def test_version_is_a_release_or_its_line(
    text: str | None, version: tuple[int, ...] | None
) -> None:
    assert version_of(text) == version


@pytest.mark.parametrize(
    ("told", "version"), [("0.33.2", (0, 33, 2)), ("0.34.0", None), ("99.0", None)]
)
def test_a_version_beyond_the_known_ones_is_reckoned_like_none(
    told: str, version: tuple[int, ...] | None
) -> None:
    written = rig(STARTER, ("engine_version: 0.30.0", f"engine_version: {told}"))
    assert settings_of(written, "qwen").version == version
    by_tag = rig(
        STARTER,
        ("    engine_version: 0.30.0\n", ""),
        ("vllm-openai:v0.30.0", f"vllm-openai:v{told}"),
    )
    assert settings_of(by_tag, "qwen").version == version


def test_cards_carry_their_cap() -> None:
    cards = cards_of(rig(STARTER), "qwen", find_gpu)
    assert [(c.name, c.power_limit_w) for c in cards] == [("NVIDIA GeForce RTX 3090", 290)] * 2
    assert 23.4 < cards[0].total.value < 23.7  # CUDA prints 23.56 to 23.58 of a 3090


def test_unknown_card_leaves_a_service_unsized() -> None:
    spec = rig(STARTER, ("sku: rtx-3090", "sku: rtx-9090"))
    assert cards_of(spec, "qwen", find_gpu) == ()
    assert size_service(spec, "qwen", {}, find_gpu) is None


def test_home_rig_turns_in_its_switch_at_gen4_x16() -> None:
    found = paths_of(rig(HOME), "glm", find_gpu)
    assert len(found) == 6
    assert {p.label for p in found} == {Label.PIX}
    assert {p.bottleneck.form for p in found} == {"Gen4 x16"}
    assert all(p.peer and p.narrow for p in found)  # Gen5 cards behind a Gen4 switch
    assert all(p.one_way_gb_s.low <= 27.5 <= p.one_way_gb_s.high for p in found)  # the guide's


def test_starter_pair_goes_through_host_memory_at_x8() -> None:
    (path,) = paths_of(rig(STARTER), "qwen", find_gpu)
    assert path.label is Label.PHB
    assert not path.peer
    assert path.bottleneck.form == "Gen4 x8"
    assert path.narrow


@pytest.mark.parametrize(
    "change",
    [
        ("peer_to_peer: true", "peer_to_peer: false"),
        ("rtx-pro-6000-blackwell-workstation-edition", "rtx-5090"),
        ("NCCL_IB_DISABLE: 1", "NCCL_P2P_DISABLE: 1"),
    ],
    ids=["not wanted", "not granted", "disabled"],
)
def test_peers_need_wish_driver_and_nccl(change: tuple[str, str]) -> None:
    assert peers(rig(HOME), "glm", find_gpu)
    assert not peers(rig(HOME, change), "glm", find_gpu)


def test_cascade_names_every_uplink_and_the_slower_end() -> None:
    spec = rig(
        HOME,
        ("      gpus: [main]\n  resizable_bar",
         "      gpus: [main.0, main.1]\n"
         "      switches:\n"
         "        - {name: low, generation: 5, upstream_width: 8, gpus: [main.2, main.3]}\n"
         "  resizable_bar"),
    )  # fmt: skip
    place = places_of(spec, find_gpu)[2]
    assert place.switches == ("low", "payne")
    assert [(h.name, h.form) for h in place.uplinks] == [
        ("uplink of low", "Gen4 x8"),
        ("uplink of payne", "Gen4 x16"),
    ]
    across = next(p for p in paths_of(spec, "glm", find_gpu) if p.second == "main.2")
    assert across.label is Label.PXB
    assert across.bottleneck.name == "uplink of low"
    assert across.shared_with == ("main.3",)


def test_starter_model_holds_a_published_boot_of_the_same_network() -> None:
    """Two 3090s at 0.92, 131,072 tokens, fp8 cache, batches of 8,192: 4.99 GiB for the cache.

    mitchross/talos-argocd-proxmox pull request 1995; 14.28 GiB of weights were printed at TP 2.
    """
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert facts is not None
    spec = rig(
        STARTER,
        ("context_length: 32768", "context_length: 131072\n    kv_cache_dtype: fp8"),
        ("max_sequences: 8", "max_sequences: 2\n    max_batched_tokens: 8192"),
    )
    sized = size_service(spec, "qwen", {"qwen": facts}, find_gpu)
    assert sized is not None
    assert sized.memory.verdict is not Verdict.NO
    assert sized.memory.available.low <= 4.99 <= sized.memory.available.high
    assert sized.memory.weights.low <= 14.28 <= sized.memory.weights.high


def test_unequal_cards_are_ruled_by_the_smallest() -> None:
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    small, large = find_gpu("rtx-3090"), find_gpu("rtx-a6000")
    assert facts is not None and small is not None and large is not None
    cards = (card_of(large), card_of(small))
    sized = tightest(facts, cards, EngineSettings(tensor_parallel=2, context=32768))
    assert sized[1].name == small.name


def test_the_guides_rig_is_called_close_as_its_image_is_a_fork_of_unknown_version() -> None:
    """It serves 460,000 tokens with this line; a fork that scores whole prompts could not.

    github.com/jamesob/local-llm measured about 80 tok/s with drafts on it.
    """

    def memory_rules(spec: Rig) -> set[str]:
        found = check(spec, saved_context(spec, HOME))
        return {f.rule for f in found if f.rule.startswith("memory.fits")}

    assert memory_rules(rig(HOME)) == {"memory.fits-closely"}
    stock = (
        "    engine: vllm\n    image: voip",
        '    engine: vllm\n    engine_version: "0.30.0"\n    image: voip',
    )
    assert memory_rules(rig(HOME, stock)) == set()


LLAMA = ("    engine: vllm\n", "    engine: llama_cpp\n")


def llama_slots(*words: str) -> int:
    listed = "[" + ", ".join(words) + "]"
    spec = rig(
        STARTER,
        LLAMA,
        ("    max_sequences: 8\n", f"    max_sequences: 8\n    extra_args: {listed}\n"),
    )
    return settings_of(spec, "qwen").slots


def test_llama_cpp_sets_a_cache_aside_for_each_sequence_unless_they_share_one() -> None:
    assert llama_slots() == 8
    assert llama_slots("--kv-unified") == 1
    assert settings_of(rig(STARTER), "qwen").slots == 1


BRIDGE = ("    count: 2\n", "    count: 2\n    nvlink_bridge: true\n")


def starter_link(*changes: tuple[str, str]) -> Link:
    spec = rig(STARTER, *changes)
    context = saved_context(spec, STARTER)
    sized = size_service(spec, "qwen", context.models, find_gpu)
    assert sized is not None
    return sized.link


def test_all_reduces_go_over_nvlink_where_it_joins_the_cards() -> None:
    assert starter_link(BRIDGE) == NVLINK
    assert starter_link() != NVLINK
    switched = (("sku: rtx-3090", "sku: h100"), ("power_limit_w: 290 ", "power_limit_w: 700 "))
    assert starter_link(*switched) == NVLINK


@pytest.mark.parametrize(
    ("flags", "cached", "state_bytes"),
    [
        ((), None, None),
        (("--enable-prefix-caching", "--mamba-ssm-cache-dtype=float16"), True, 2),
        (("--no-enable-prefix-caching",), False, None),
    ],
)
def test_states_follow_the_owners_flags(
    flags: tuple[str, ...], cached: bool | None, state_bytes: int | None
) -> None:
    spec = rig(STARTER)
    service = spec.services["qwen"].model_copy(update={"extra_args": flags})
    found = settings_of(spec.model_copy(update={"services": {"qwen": service}}), "qwen")
    assert (found.prefix_caching, found.state_bytes) == (cached, state_bytes)


@pytest.mark.parametrize(
    ("flags", "ratio"),
    [
        ((), 0.9),
        (("--mamba-full-memory-ratio", "0.5"), 0.5),
        (("--mamba-full-memory-ratio=4.59",), 4.59),
        (("--mamba-full-memory-ratio", "much"), 0.9),  # SGLang itself refuses it
        (("--mamba-full-memory-ratio", "0"), 0.9),
        (("--mamba-full-memory-ratio",), 0.9),
    ],
)
def test_the_states_share_of_the_pool_is_the_owners(flags: tuple[str, ...], ratio: float) -> None:
    spec = rig(STARTER)
    service = spec.services["qwen"].model_copy(update={"extra_args": flags})
    found = settings_of(spec.model_copy(update={"services": {"qwen": service}}), "qwen")
    assert found.state_ratio == ratio


@pytest.mark.parametrize("asked", [242_688, 300_000, 400_000, 460_000])
def test_the_longest_context_does_not_hang_on_the_one_that_is_asked_for(asked: int) -> None:
    def glm(context: int) -> MemoryEstimate:
        spec = rig(HOME, ("context_length: 460000", f"context_length: {context}"))
        sized = size_service(spec, "glm", saved_context(spec, HOME).models, find_gpu)
        assert sized is not None
        return sized.memory

    def has_room(found: MemoryEstimate) -> bool:
        return found.needed is not None and found.available.value >= found.needed.value

    longest = glm(asked).largest_context
    assert longest is not None
    assert has_room(glm(longest - 1024)) and not has_room(glm(longest + 2048))


def test_a_stretched_context_is_not_refused_in_the_plan_either() -> None:
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert facts is not None
    long = ("context_length: 32768", "context_length: 500000")
    plain = settings_of(rig(STARTER, long), "qwen")
    words = "context_length: 500000\n    extra_args: [--hf-overrides, '{}']"
    scaled = settings_of(rig(STARTER, ("context_length: 32768", words)), "qwen")
    assert is_beyond(facts, plain)
    assert not is_beyond(facts, scaled)


@pytest.mark.parametrize(
    ("engine", "variable", "refused"),
    [
        ("vllm", "VLLM_ALLOW_LONG_MAX_MODEL_LEN", False),
        ("sglang", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN", False),
        ("sglang", "VLLM_ALLOW_LONG_MAX_MODEL_LEN", True),
        ("vllm", "SGLANG_ALLOW_OVERWRITE_LONGER_CONTEXT_LEN", True),
    ],
)
def test_each_engine_is_let_beyond_the_model_by_its_own_variable(
    engine: str, variable: str, refused: bool
) -> None:
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert facts is not None
    words = f"context_length: 500000\n    environment: {{{variable}: '1'}}"
    said = (("engine: vllm", f"engine: {engine}"), ("context_length: 32768", words))
    assert is_beyond(facts, settings_of(rig(STARTER, *said), "qwen")) is refused


def test_a_release_beyond_the_known_ones_is_surely_not_an_old_one() -> None:
    def asked(version: str) -> EngineSettings:
        at = ("engine_version: 0.30.0", f"engine_version: {version}")
        return settings_of(rig(STARTER, ("v0.30.0@", f"v{version}@"), at), "qwen")

    facts = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert facts is not None
    for version in ("0.33.0", "0.99.0"):  # both quantize tensor by tensor, and make MXFP4
        made = as_loaded(facts, "fp8", asked(version))
        assert load_peak(made, asked(version)) is None
        assert as_loaded(facts, "mxfp4", asked(version)).quantization.scheme is Scheme.MXFP4
    old = asked("0.14.0")
    assert load_peak(as_loaded(facts, "fp8", old), old) is not None
    assert asked("0.99.0").version is None  # and bands as wide as of none
