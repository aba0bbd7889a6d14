"""What a run says, as data: which operations changed something, which rows are red."""

from __future__ import annotations

import re

STARTING = "--> Starting operation: "


def changed_operations(said: str) -> tuple[str, ...]:
    """Names of the operations that pyinfra says changed something."""
    found, name = [], ""
    for line in said.splitlines():
        if line.startswith(STARTING):
            name = line.removeprefix(STARTING).strip()
        elif line.strip().endswith("] Success"):
            found.append(name)
    return tuple(found)


def red_rows(said: str) -> set[str]:
    """Ids of the rows that a verify run prints as failed or unknown."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", said)
    # the id of a long title stands alone on the next line
    heading = r"^(?:FAIL|UNKNOWN): .*?(?:\n {4})?\[([a-z][\w./@-]+)\]\s*$"
    return set(re.findall(heading, plain, re.MULTILINE))
