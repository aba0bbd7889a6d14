"""What the benchmark is given and what it writes: judged before the work, in one line each."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from benchmarks.sizing_yaml import read_yaml, stop
from rigspec.regular import no_file

CASES = "cases"


def listed_cases(path: Path) -> list[object]:
    """The entries of a file of cases; ends with 2 where it is none."""
    instead = no_file(path) or ("" if path.is_file() else "does not exist")
    if instead:
        stop(f"no such file: {path} {instead}")
    why, listed = _listed(read_yaml(path))
    if why:
        stop(f"{path} is no file of cases: {why}")
    return listed


def _listed(loaded: object) -> tuple[str, list[object]]:
    """Why these are no cases, and the entries."""
    if loaded is None:
        return "it is empty", []
    if isinstance(loaded, Mapping) and CASES not in loaded:
        near = get_close_matches(CASES, [key for key in loaded if isinstance(key, str)], 1)
        meant = f"; is `{near[0]}` meant so?" if near else ""
        return f"it has no key `{CASES}`{meant}", []
    listed = loaded[CASES] if isinstance(loaded, Mapping) else loaded
    if not isinstance(listed, list):
        return f"`{CASES}` is no list" if isinstance(loaded, Mapping) else "it is no list", []
    if not listed:
        return "its list is empty", []
    if not any(isinstance(entry, Mapping) for entry in listed):
        return "no entry is a mapping of keys", []
    return "", listed


def check_models(folder: Path) -> None:
    """Ends with 2 where this is no folder of model configs."""
    if not folder.is_dir():
        stop(f"no such folder of models: {folder}{' is a file' if folder.exists() else ''}")
    if not any(folder.glob("*.json")):
        stop(f"{folder} is no folder of models: it holds no ORG__MODEL.json")


def check_target(path: Path) -> None:
    """Ends with 2 where nothing can be written: the work would be for nothing."""
    why = ""
    if path.is_dir():
        why = "it is a folder"
    elif not path.parent.is_dir():
        why = f"there is no folder {path.parent}"
    elif not os.access(path if path.exists() else path.parent, os.W_OK):
        why = "permission denied"
    if why:
        stop(f"cannot write {path}: {why}")


def write(path: Path, text: str) -> None:
    """The text into a file; ends with 2 where a disk is full."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as problem:
        stop(f"cannot write {path}: {problem.strerror}")
