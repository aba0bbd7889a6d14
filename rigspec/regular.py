"""Whether a path holds a file that can be read to its end; a pipe or a device would hang there."""

from __future__ import annotations

import errno
import os
from pathlib import Path


def no_file(path: Path) -> str:
    """What stands at a path instead of a file, as in `is a folder`; empty for a file or nothing."""
    if path.is_file() or not os.path.lexists(path):
        return ""
    if path.is_dir():
        return "is a folder"
    try:
        path.stat()
    except OSError as problem:
        loops = problem.errno == errno.ELOOP
        return "is a link that leads back to itself" if loops else "is a link to nothing"
    return "is no regular file"
