"""Where the shipped folders are: inside an installed wheel, or beside the package in a clone."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rigspec.errors import RigspecError

IN_WHEEL = {"templates": "templates", "deploys": "deploys", "inventory": "inventories"}
"""Names inside the package; `rigspec/inventory.py` is a module of its own."""

ONLY = "RIGSPEC_SPEC"
"""Environment variable: the one spec that `inventory/home.py` reads (default: all in rigs/).

The verbs set it for their own run: a look at one host must not fail for a broken spec beside it.
"""


def interpreter() -> str:
    """This Python by its whole path: a relative PATH gives a name that holds here only."""
    return os.path.abspath(sys.executable)  # noqa: PTH100 - a resolved link would leave the venv


def folder(name: str) -> Path:
    """The folder `templates`, `deploys` or `inventory`: inside the package in a wheel, else beside.

    Raises RigspecError when neither exists (a broken installation).
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / IN_WHEEL[name], package.parent / name):
        if candidate.is_dir():
            return candidate
    raise RigspecError(
        f"rigspec's own folder `{name}` is missing beside {package}",
        hint="install rigspec again: the installation is incomplete",
    )
