"""A plan as files for review: the same paths below a folder as on the host."""

from __future__ import annotations

from pathlib import Path

from rigspec.errors import RigspecError
from rigspec.plan.rig import PLAN_FILE, all_files, planned_paths, to_json
from rigspec.plan.sections import Plan


def write_tree(plan: Plan, out: Path) -> int:
    """Write every rendered file and the plan itself below `out`; how many were written.

    An older tree of ours in `out` is replaced. A folder with anything else in it is refused.
    """
    try:
        _clear(out)
        files = {file.dest: (file.content, file.mode) for file in all_files(plan)}
        files[PLAN_FILE] = (to_json(plan), "644")
        for dest, (content, mode) in files.items():
            path = _below(out, dest)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            path.chmod(int(mode, 8))
    except OSError as problem:
        raise RigspecError(
            f"cannot write the tree to {out}: {problem.strerror}",
            hint="give --out a new folder that you may write",
        ) from problem
    return len(files)


def _clear(out: Path) -> None:
    """Remove the files of an older tree, or refuse."""
    if not out.exists() or not any(out.iterdir()):
        return
    record = _below(out, PLAN_FILE)
    paths = planned_paths(record.read_text(encoding="utf-8")) if record.is_file() else ()
    if not paths:
        raise RigspecError(
            f"{out} is not empty and holds no earlier plan",
            hint="give --out a new or empty folder; nothing was written",
        )
    for dest in (*paths, PLAN_FILE):
        path = _below(out, dest)
        path.unlink(missing_ok=True)
        _remove_empty(path.parent, out)


def _below(out: Path, dest: str) -> Path:
    path = out / dest.lstrip("/")
    if ".." in path.relative_to(out).parts:
        raise RigspecError(f"{dest} would leave {out}", hint="remove this folder by hand")
    return path


def _remove_empty(folder: Path, out: Path) -> None:
    while folder != out and folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
        folder = folder.parent
