"""The version that an image's tag says."""

from __future__ import annotations

import pytest

from rigspec.rules.images import version_of_tag


@pytest.mark.parametrize(
    ("engine", "image", "version"),
    [
        ("vllm", "vllm/vllm-openai:v0.30.0", "0.30.0"),
        ("vllm", "docker.io/vllm/vllm-openai:v0.30.0@sha256:" + "0" * 64, "0.30.0"),
        ("vllm", "vllm/vllm-openai:latest", ""),
        ("vllm", "vllm/vllm-openai", ""),
        ("vllm", "example/vllm:v0.30.0", ""),
        ("sglang", "lmsysorg/sglang:v0.5.3-cu129", "0.5.3"),
        ("llama_cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda-b6700", "b6700"),
        ("llama_cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda", ""),
    ],
)
def test_the_tag_of_a_stock_image_says_the_version(engine: str, image: str, version: str) -> None:
    assert version_of_tag(engine, image) == version
