"""The version that an image's tag says, and what an image holds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rigspec.rules.images import version_of_tag
from rigspec.rules.run import check
from rigspec.spec.load import load
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
LLAMA = "ghcr.io/ggml-org/llama.cpp:"


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


def said(rule: str, sku: str = "rtx-3090", **service: Any) -> list[str]:
    """How sure a rule is of the fine base spec with other cards and a changed service."""
    rig = load(ROOT / "tests" / "errors" / "base-is-fine.yaml").rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["gpus"] = {"main": {"sku": sku, "count": 2}}
    data["services"]["chat"] |= {"engine_version": None, "cuda": None, **service}
    return [f.severity.value for f in check(Rig.model_validate(data)) if f.rule == rule]


@pytest.mark.parametrize(
    ("engine", "image", "is_wrong"),
    [
        ("sglang", "vllm/vllm-openai:v0.33.0", True),
        ("llama_cpp", "docker.io/vllm/vllm-openai", True),
        ("vllm", "lmsysorg/sglang:v0.5.23", True),
        ("vllm", "ghcr.io/ggml-org/llama.cpp:server-cuda", True),
        ("vllm", "vllm/vllm-openai:v0.33.0", False),
        ("sglang", "example/sglang-with-vllm-kernels:v1", False),
        ("vllm", "registry.lan:5000/vllm/vllm-openai:v0.33.0", False),
    ],
)
def test_a_well_known_image_holds_its_own_engine(engine: str, image: str, is_wrong: bool) -> None:
    assert bool(said("images.other-engine", engine=engine, image=image)) is is_wrong


@pytest.mark.parametrize(
    ("tag", "is_wrong"),
    [
        ("server-cuda", False),
        ("server-cuda13-b11434", False),
        ("full-cuda12", False),
        ("server-vulkan", False),
        ("server", True),
        ("server-b11434", True),
        ("server-rocm-b11434", True),
        ("light-cuda", True),
        ("my-own-tag", False),
    ],
)
def test_an_image_of_llama_cpp_has_a_server_and_cuda(tag: str, is_wrong: bool) -> None:
    image = f"ghcr.io/ggml-org/llama.cpp:{tag}"
    assert bool(said("images.without-cuda", engine="llama_cpp", image=image)) is is_wrong


@pytest.mark.parametrize(
    ("sku", "service", "expected"),
    [
        ("tesla-p40", {"engine": "llama_cpp", "image": LLAMA + "server-cuda13"}, ["error"]),
        ("tesla-p40", {"engine": "llama_cpp", "image": LLAMA + "server-cuda"}, []),
        ("tesla-v100-pcie-32gb", {"image": "example/vllm:v1", "cuda": "13.0"}, ["error"]),
        ("tesla-v100-pcie-32gb", {"image": "example/vllm:v1", "cuda": "12.9"}, []),
        ("tesla-p40", {"image": "vllm/vllm-openai:v0.33.0"}, []),  # `refused.card` says it
        ("tesla-t4", {"image": "vllm/vllm-openai:v0.33.0"}, []),
        ("rtx-5090", {"image": "vllm/vllm-openai:v0.8.5", "cuda": "12.4"}, ["error"]),
        ("rtx-5090", {"image": "example/vllm:v1", "cuda": "12.4"}, ["warning"]),
        ("rtx-5090", {"engine": "llama_cpp", "image": "example/llama:1", "cuda": "12.4"}, []),
        ("rtx-4090", {"image": "vllm/vllm-openai:v0.8.5", "cuda": "12.4"}, []),
    ],
)
def test_the_cuda_release_of_an_image_compiles_for_the_cards(
    sku: str, service: dict[str, Any], expected: list[str]
) -> None:
    assert said("images.cuda-for-card", sku, **service) == expected


@pytest.mark.parametrize(
    ("engine", "image", "told", "is_said"),
    [
        ("vllm", "vllm/vllm-openai:v99.0", None, True),
        ("vllm", "example/vllm:fork", "0.34.0", True),
        ("vllm", "vllm/vllm-openai:v0.33.7", None, False),  # it repairs a known line
        ("vllm", "vllm/vllm-openai:latest", None, False),
        ("sglang", "lmsysorg/sglang:v0.5.24", None, True),
        ("llama_cpp", "ghcr.io/ggml-org/llama.cpp:server-cuda-b99999", None, False),
    ],
)
def test_a_version_beyond_the_known_ones_is_said(
    engine: str, image: str, told: str | None, is_said: bool
) -> None:
    found = said("images.version-beyond-known", engine=engine, image=image, engine_version=told)
    assert found == (["note"] if is_said else [])


@pytest.mark.parametrize(
    ("engine", "image", "told", "is_wrong"),
    [
        ("vllm", "vllm/vllm-openai:v0.30.0", "2026-11-01", True),
        ("vllm", "vllm/vllm-openai:v0.30.0", "latest", True),
        ("vllm", "vllm/vllm-openai:v0.30.0", "b9000", True),
        ("vllm", "example/vllm:any-word", "latest", True),
        ("vllm", "example/vllm:any-word", None, False),
        ("vllm", "example/vllm:any-word", "v0.30.1.dev5+g1234567", False),
        ("vllm", "vllm/vllm-openai:v0.30.0", "0.30", False),
        ("sglang", "lmsysorg/sglang:v0.5.23", "0.5.23.post1", False),
        ("llama_cpp", LLAMA + "server-cuda", "b9000", False),
        ("llama_cpp", LLAMA + "server-cuda", "9000", False),
        ("llama_cpp", LLAMA + "server-cuda", "0.30.0", True),
        ("llama_cpp", LLAMA + "server-cuda", "2026-11-01", True),
    ],
)
def test_a_version_is_one_as_the_engine_counts_them(
    engine: str, image: str, told: str | None, is_wrong: bool
) -> None:
    found = said("images.no-version", engine=engine, image=image, engine_version=told)
    assert found == (["error"] if is_wrong else [])
