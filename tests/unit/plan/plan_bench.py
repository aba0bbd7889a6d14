"""A small rig that tests change, and what judges scripts: a folder for /, stubs for commands."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

BASE: dict[str, Any] = {
    "rigspec": "1",
    "name": "bench",
    "host": {"os": "debian-13", "cpu": "amd"},
    "gpus": {"main": {"sku": "rtx-3090", "count": "2"}},
    "pcie": {"generation": "4", "direct": [{"gpus": ["main"]}]},
    "power": {
        "circuit": {"volts": "230", "amps": "16"},
        "base_load_w": "150",
        "psus": [{"name": "one", "watts": "1600", "gpus": ["main"], "feeds_host": "true"}],
    },
    "driver": {"branch": "595"},
    "storage": {"weights": {"path": "/srv/models"}},
    "models": {"tiny": {"path": "/srv/models/tiny"}},
    "services": {
        "chat": {
            "engine": "vllm",
            "image": "registry.test/vllm@sha256:" + "a" * 64,
            "model": "tiny",
            "gpus": ["main"],
            "tensor_parallel_size": "2",
            "listen": {"port": "8000"},
        }
    },
}


def merge(base: dict[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    for key, value in change.items():
        inner = base.get(key)
        base[key] = (
            merge(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
        )
    return base


def tool(name: str, package: str) -> str:
    """A judge that must be there: without it a test proves nothing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if found is None:
        pytest.fail(f"`{name}` is missing: apt-get install {package}")
    return found


@dataclass
class Host:
    """A folder that stands for /, with stub commands before the real ones."""

    root: Path
    environment: dict[str, str] = field(default_factory=dict)

    def file(self, path: str, text: str, mode: int = 0o644) -> Path:
        """Put a file there."""
        target = self.root / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)
        target.chmod(mode)
        return target

    def stub(self, name: str, script: str) -> None:
        """A command that our script will find first."""
        self.file(f"/stubs/{name}", f"#!/bin/sh\n{script}\n", 0o755)

    def run(self, script: str, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run one of our scripts as dash would."""
        path = self.file("/script", script, 0o755)
        return subprocess.run(
            ["/bin/sh", str(path), *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={
                "PATH": f"{self.root}/stubs:{os.environ['PATH']}",
                "RIGSPEC_ROOT": str(self.root),
                "STATE": str(self.root),
                "LC_ALL": "C",
                **self.environment,
                **environment,
            },
        )
