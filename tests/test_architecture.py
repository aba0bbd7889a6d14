"""House rules that a machine can check: import border, lengths, what may know the lab."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_MODULE_LINES = 300
MAX_FUNCTION_LINES = 50
MODULES = sorted((ROOT / "rigspec").rglob("*.py"))


def functions(module: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, (node.end_lineno or node.lineno) - node.lineno + 1


def test_rooms_import_one_way() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_module_holds_one_idea(module: Path) -> None:
    assert len(module.read_text().splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("module", MODULES, ids=lambda m: str(m.relative_to(ROOT)))
def test_functions_fit_a_screen(module: Path) -> None:
    long = [f"{name}: {n} lines" for name, n in functions(module) if n > MAX_FUNCTION_LINES]
    assert not long


def test_nothing_outside_the_lab_knows_the_lab() -> None:
    allowed = ("rigspec/lab/", "rigspec/cli.py", "inventory/lab.py", "tests/", "benchmarks/")
    for folder in ("rigspec", "inventory", "deploys"):
        for module in (ROOT / folder).rglob("*.py"):
            name = str(module.relative_to(ROOT))
            if name.startswith(allowed):
                continue
            # current.py resolves a virtual rig's plan by a late import, named once
            imports = re.findall(r"^(?:from|import) rigspec\.lab", module.read_text(), re.MULTILINE)
            assert not imports, name


def test_simulated_parts_stay_below_the_lab() -> None:
    shipped = [*(ROOT / "templates").rglob("*"), *(ROOT / "deploys").rglob("*.py")]
    loud = [f for f in shipped if f.is_file() and "rigspec.lab.simulated" in f.read_text()]
    assert not loud


def test_room_init_files_leak_nothing() -> None:
    for init in (ROOT / "rigspec").rglob("__init__.py"):
        imports = re.findall(r"^(?:from|import) ", init.read_text(), re.MULTILINE)
        assert not imports, init
