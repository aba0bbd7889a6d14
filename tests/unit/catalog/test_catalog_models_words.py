"""Quantizations as people write them."""

from __future__ import annotations

import pytest

from rigspec.catalog.model_keys import Keys
from rigspec.catalog.model_quant import Quantization, Scheme, quantization_of
from rigspec.catalog.model_words import apply_words, gguf_words, head_words, scheme_words


@pytest.mark.parametrize(
    ("text", "scheme"),
    [
        ("bfloat16", Scheme.PLAIN),
        ("fp8 block", Scheme.FP8_BLOCK),
        ("fp8 (block 128x128)", Scheme.FP8_BLOCK),
        ("block-wise FP8", Scheme.FP8_BLOCK),
        ("runtime --quantization fp8", Scheme.FP8),
        ("w8a8 int8 (compressed-tensors)", Scheme.INT8),
        ("auto_round int4 g128 (linear_attn in-proj 16-bit)", Scheme.INT4),
        ("AWQ INT4 (QuantTrio)", Scheme.INT4_ZERO),
        ("modelopt_fp4 (NVFP4)", Scheme.NVFP4),
        ("compressed-tensors INT4 g32 experts (native)", Scheme.INT4),
        ("MXFP8 + NVFP4 + NF3 mixed", Scheme.NVFP4),
        ("Qwen/Qwen3.8-27B-FP8", Scheme.FP8),
        ("FP4 quantized", Scheme.NVFP4),
        ("EXL3 4bpw", Scheme.INT4),
        ("EXL3 3.0bpw", Scheme.INT4),
        ("EXL3 2.25 bpw class", Scheme.GGUF),  # the average of a file
        ("PrismaQuant-4.75bit", Scheme.INT4),
        ("8 bits", Scheme.INT8),
        ("mixed 5.5 bit (bf16 lm_head and embeddings)", Scheme.INT4),
        ("bf16, 16 bits", Scheme.PLAIN),
        ("Qwen3.5-9B-AWQ-BF16-INT8", Scheme.INT8),
        ("GPTQ 8-bit", Scheme.INT8),
        ("AWQ, 8bit activations, int4", Scheme.INT4_ZERO),
        ("bf16 weights, fp8 cache", Scheme.PLAIN),
    ],
)
def test_scheme_words(text: str, scheme: Scheme) -> None:
    found = scheme_words(text)
    assert found is not None
    assert found.scheme is scheme


def test_words_that_name_nothing_are_none() -> None:
    assert scheme_words("Qwen/Qwen3-8B") is None
    assert scheme_words("16 bit") is None
    assert gguf_words("Qwen/Qwen3-8B") is None


def test_group_size_and_scope_are_read() -> None:
    found = scheme_words("compressed-tensors INT4 g32 experts (native)")
    assert found is not None
    assert (found.group, found.experts_only) == (32, True)


@pytest.mark.parametrize(
    ("text", "bits"),
    [("UD-Q4_K_XL", 5.15), ("GGUF Q4_K_M", 4.89), ("IQ4_XS", 4.46), ("file.Q8_0.gguf", 8.5)],
)
def test_gguf_file_types(text: str, bits: float) -> None:
    found = gguf_words(text)
    assert found is not None
    assert found.bits == bits


@pytest.mark.parametrize(
    ("large", "medium", "ends_in", "more_gb"),
    [
        # Llama-3.1-70B: Q4_K_L 43.30 GB beside 42.52 of Q4_K_M, Q5_K_L 50.60 beside 49.95
        ("Q4_K_L", "Q4_K_M", (4.5, 6.5625), 43.30 - 42.52),
        ("Q5_K_L", "Q5_K_M", (5.5, 6.5625), 50.60 - 49.95),
        ("Q6_K_L", "Q6_K", (6.5625, 6.5625), None),
        ("Q2_K_L", "Q2_K", (2.625, 6.5625), None),
    ],
)
def test_large_types_hold_the_words_and_the_output_in_eight_bits(
    large: str, medium: str, ends_in: tuple[float, float], more_gb: float | None
) -> None:
    wider = sum(8.5 - bits for bits in ends_in)  # bits per weight of the table and of the output
    if more_gb is not None:
        assert 128256 * 8192 * wider / 8e9 == pytest.approx(more_gb, abs=0.01)  # of the 70B
    words, beside = gguf_words(large), gguf_words(medium)
    assert words is not None
    assert beside is not None
    # of the 8B, which the table is of
    assert words.bits - beside.bits == pytest.approx(128256 * 4096 * wider / 8.03e9, abs=0.02)


def test_the_checkpoint_list_is_kept_for_the_same_scheme() -> None:
    base = Quantization(Scheme.FP8_BLOCK, has_list=True, label="record")
    words = scheme_words("fp8")
    assert words is not None
    assert apply_words(base, words, "fp8", has_experts=False, has_states=False) is base


def test_nvfp4_of_an_expert_model_covers_the_experts_alone() -> None:
    words = scheme_words("NVFP4")
    assert words is not None
    made = apply_words(Quantization(), words, "NVFP4", has_experts=True, has_states=False)
    assert made.scheme_of("layers.1.self_attn.o_proj", plain_by_habit=False) is Scheme.PLAIN
    name = "layers.1.mlp.experts.0.up_proj"
    assert made.scheme_of(name, plain_by_habit=False, expert=True) is Scheme.NVFP4


def test_the_name_of_the_records_own_method_changes_nothing() -> None:
    """`--quantization deepseek_v4_fp8` is how vLLM calls fp8 with 4-bit experts."""
    recorded = Quantization(scheme=Scheme.MXFP4, method="fp8")
    words = scheme_words("deepseek_v4_fp8")
    assert words is not None
    found = apply_words(recorded, words, "deepseek_v4_fp8", has_experts=True, has_states=False)
    assert found is recorded


@pytest.mark.parametrize(("text", "rest"), [("GGUF Q8_0", 8.5), ("GGUF MXFP4 MoE", 8.5),
                                            ("GGUF Q4_K_M", 4.89)])  # fmt: skip
def test_a_gguf_keeps_experts_that_came_in_mxfp4(text: str, rest: float) -> None:
    # gpt-oss-20b is 11.6 GB as Q4_K_M, 12.1 as Q8_0: its experts are not quantized again
    words = gguf_words(text)
    assert words is not None
    found = apply_words(
        Quantization(Scheme.MXFP4, 32), words, text, has_experts=True, has_states=False
    )
    assert found.bits_per_weight == rest
    assert found.scheme_of("layers.0.mlp.experts", plain_by_habit=False, expert=True) is (
        Scheme.MXFP4
    )
    assert found.scheme_of("layers.0.self_attn.q_proj", plain_by_habit=False) is Scheme.GGUF


@pytest.mark.parametrize(
    ("text", "experts", "states", "attention"),
    [
        ("AWQ int4", True, True, Scheme.PLAIN),  # Qwen3.5-122B: 36.7 GiB per card, 33.7 otherwise
        ("AWQ int4", True, False, Scheme.INT4_ZERO),
        ("AWQ int4", False, True, Scheme.INT4_ZERO),
        ("NVFP4", False, True, Scheme.FP8),
    ],
)
def test_what_packers_leave_of_attention(
    text: str, experts: bool, states: bool, attention: Scheme
) -> None:
    words = scheme_words(text)
    assert words is not None
    made = apply_words(Quantization(), words, text, has_experts=experts, has_states=states)
    name = "layers.1.self_attn.o_proj"
    assert made.scheme_of(name, plain_by_habit=False, mixer=True) is attention


@pytest.mark.parametrize(
    ("text", "states", "group"),
    [
        ("AWQ INT4", True, 32),
        ("AWQ INT4", False, 128),
        ("AutoRound int4", True, 128),
        ("int4 g64 (compressed-tensors)", True, 64),
        ("bitsandbytes 4-bit", False, 64),
        ("bitsandbytes 4-bit", True, 64),
    ],
)
def test_the_group_of_packed_integers(text: str, states: bool, group: int) -> None:
    words = scheme_words(text)
    assert words is not None
    made = apply_words(Quantization(), words, text, has_experts=False, has_states=states)
    assert made.group == group


@pytest.mark.parametrize(("label", "scheme"), [("fp4 experts, fp8", Scheme.MXFP4), ("NVFP4", None)])
def test_of_the_formats_of_four_bits_the_record_says_which(
    label: str, scheme: Scheme | None
) -> None:
    base, words = Quantization(Scheme.MXFP4, 32), scheme_words(label)
    assert words is not None
    found = apply_words(base, words, label, has_experts=True, has_states=False)
    assert found.scheme is (scheme or Scheme.NVFP4)


@pytest.mark.parametrize(
    "text",
    [
        "cyankiwi/Qwen3.8-27B-AWQ-BF16-INT4",
        "AWQ INT4 with BF16 parts",
        "AWQ INT4 + BF16 (compressed-tensors)",  # two 27B hold 25.8 GiB, 19 if all were 4 bits
    ],
)
def test_a_name_that_joins_16_bits_to_a_width_keeps_them_for_the_mixers(text: str) -> None:
    words = scheme_words(text)
    assert words is not None
    made = apply_words(Quantization(), words, text, has_experts=False, has_states=True)
    assert made.mixer_scheme is Scheme.PLAIN
    assert made.scheme_of("layers.1.mlp.up_proj", plain_by_habit=False) is Scheme.INT4_ZERO


@pytest.mark.parametrize("beside", ["bf16 KV", "bf16 head", "BF16 draft", "bf16 MTP"])
def test_sixteen_bits_of_something_else_are_not_the_mixers(beside: str) -> None:
    words = scheme_words(f"AWQ INT4 + {beside}")
    assert words is not None
    assert not words.plain_mixers


def test_an_average_below_packed_widths_is_taken_at_its_word() -> None:
    found = scheme_words("EXL3 2.25 bpw class (K3 taps)")
    assert found is not None
    assert found.bits == 2.25


@pytest.mark.parametrize(
    ("text", "head"),
    [
        ("INT4 (W4A16 AutoRound body, requantized head)", Scheme.INT4),
        ("fast variant (GPTQ int4 lm_head and MTP module)", Scheme.INT4),
        ("nvfp4 (FP4 lm_head)", Scheme.INT4),
        ("NVFP4 + FP8 mixed, lm_head FP8", Scheme.FP8),
        ("Qwen3.6-27B-NVFP4 (fp8-head)", Scheme.FP8),
        ("NVFP4 (routed experts and lm_head), rest BF16", Scheme.INT4),
        ("AWQ INT4; lm_head and embeddings fp16", None),
        ("auto_round int4 g128 (quantized MTP head)", None),
        ("int8_per_token_head", None),
    ],
)
def test_words_may_say_that_the_output_matrix_is_quantized(text: str, head: Scheme | None) -> None:
    assert head_words(text, Scheme.INT4) is head


@pytest.mark.parametrize(("key", "said"), [("lm_head", True), ("quant_lm_head", True), ("x", True)])
def test_a_record_may_say_that_the_output_matrix_is_quantized(key: str, said: bool) -> None:
    record = {"quant_method": "auto-round", "bits": 4, "group_size": 128, "sym": True, key: said}
    found = quantization_of(Keys(({"quantization_config": record},)), None)
    scheme = found.scheme_of("lm_head", plain_by_habit=True)
    assert scheme is (Scheme.PLAIN if key == "x" else found.scheme)
    assert found.scheme_of("embed_tokens", plain_by_habit=True) is Scheme.PLAIN
