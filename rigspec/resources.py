"""Where the shipped folders are: inside an installed wheel, or beside the package in a clone."""

from __future__ import annotations

from pathlib import Path

from rigspec.errors import RigspecError


def folder(name: str) -> Path:
    """The folder `templates` or `deploys`: `rigspec/NAME` in a wheel, `NAME` beside it in a clone.

    Raises RigspecError when neither exists (a broken installation).
    """
    package = Path(__file__).resolve().parent
    for candidate in (package / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise RigspecError(
        f"rigspec's own folder `{name}` is missing beside {package}",
        hint="install rigspec again: the installation is incomplete",
    )
