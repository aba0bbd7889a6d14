"""Which values are covered, and that covering them moves nothing."""

from __future__ import annotations

import pytest

from rigspec.spec.secrets import hide_tokens, looks_like_token, masked_lines, names_secret
from rigspec.spec.source import parse

KEY = "sk-abcdefghijklmnop1234"


@pytest.mark.parametrize(
    "name",
    ["HF_TOKEN", "VLLM_API_KEY", "--api-key", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "api_key"],
)
def test_names_of_secrets_are_recognised(name: str) -> None:
    assert names_secret(name)


@pytest.mark.parametrize(
    "name",
    ["max_tokens", "TOKENIZERS_PARALLELISM", "HF_TOKEN_PATH", "token_env", "--tokenizer",
     "key_fingerprint", "tokens", "--max-num-batched-tokens", "NCCL_P2P_LEVEL"],
)  # fmt: skip
def test_names_that_only_sound_like_secrets_are_not(name: str) -> None:
    assert not names_secret(name)


def test_tokens_are_recognised_by_their_prefix() -> None:
    assert looks_like_token("hf_abcdefghij")
    assert looks_like_token(f"Bearer {KEY}")
    assert not looks_like_token("sk-learn")
    assert not looks_like_token("sha256:8a69ffad015f138d7170c4ddc429e230")
    assert hide_tokens(f"flag {KEY}!") == "flag ***!"


SPEC = f"""\
services:
  a:
    api_key_env: {KEY}
    environment:
      HF_TOKEN: anything
      NCCL_P2P_LEVEL: SYS
      TEAM: internal name
      NOTE: "two
        lines"
    extra_args: [--seed, 1, --api-key, letmein, --hf-token=abc]   # {KEY}
  b:
    max_sequences: 8
"""


def test_secrets_are_covered_and_everything_else_stays() -> None:
    source = parse("x", SPEC)[0]
    shown = masked_lines(source)
    text = "\n".join(shown)
    for secret in (KEY, "anything", "internal", "two", "lines", "letmein", "abc"):
        assert secret not in text
    for plain in ("NCCL_P2P_LEVEL: SYS", "--seed, 1", "max_sequences: 8", "HF_TOKEN: "):
        assert plain in text
    assert [len(line) for line in shown] == [len(line) for line in source.lines]


def test_broken_file_is_covered_line_by_line() -> None:
    source = parse("x", f"a: [\napi_key: letmein\nmax_tokens: 64\nb: {KEY}\n")[0]
    assert source.root is None
    text = "\n".join(masked_lines(source))
    assert "letmein" not in text
    assert KEY not in text
    assert "max_tokens: 64" in text
