"""Fixtures of the plan's tests."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plan_bench import BASE, Host, merge

from rigspec.spec.rig import Rig


@pytest.fixture
def make_rig() -> Callable[..., Rig]:
    """A rig like BASE, with sections changed."""

    def make(**change: Any) -> Rig:
        return Rig.model_validate(merge(copy.deepcopy(BASE), change))

    return make


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """An empty one."""
    return Host(tmp_path)
