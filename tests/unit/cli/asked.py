"""`rigspec` as an owner calls it, beside the models that the benchmark keeps."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from rigspec.cli import main

ROOT = Path(__file__).resolve().parents[3]
SAVED = ROOT / "benchmarks/data/model-configs"
CONFIGS = str(SAVED)


def rigspec(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def fit(model: str, *arguments: str) -> Result:
    return rigspec("fit", model, "--models", CONFIGS, *arguments)


def of_gguf(folder: Path, *words: str, count: str = "1") -> Result:
    return rigspec("fit", "Tiny-Q4_K_M.gguf", "--gpu", "rtx-3090", "--count", count,
                   "--models", str(folder), *words)  # fmt: skip
