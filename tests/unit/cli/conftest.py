"""A saved GGUF and the place of a call, for every test of the command line that needs one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from asked import ROOT, SAVED


@pytest.fixture
def gguf(tmp_path: Path) -> Path:
    """A folder with one saved GGUF: 4.9 GB of an 8B model."""
    config = json.loads((SAVED / "Qwen__Qwen3-8B.json").read_text())
    pin = {"name": "Tiny-Q4_K_M.gguf", "format": "gguf", "total_bytes": 4_900_000_000}
    saved = tmp_path / "Tiny-Q4_K_M.gguf.json"
    saved.write_text(json.dumps(config | {"_rigspec": pin}))
    return tmp_path


@pytest.fixture
def in_the_repository(monkeypatch: pytest.MonkeyPatch) -> None:
    """As an owner stands: beside `rigs/`."""
    monkeypatch.chdir(ROOT)
