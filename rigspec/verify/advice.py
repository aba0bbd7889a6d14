"""What several rows advise: the command that runs a stage again, and where a kernel word stands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

DEPLOY = "run the deploy: pyinfra inventory/home.py deploys/rig.py"

FABRIC_AGAIN = (
    "measure again: rigspec verify SPEC --load; or void that run: rm /var/lib/rigspec/fabric.jsonl"
)
BURN_AGAIN = (
    "burn again: rigspec burn SPEC --minutes N; or void that run: rm /var/lib/rigspec/burn.jsonl"
)


def look_at(unit: str) -> str:
    """Where systemd and a unit itself say what became of it."""
    return f"look at: systemctl status {unit}; journalctl -b -u {unit}"


def restart(unit: str) -> str:
    """For a server that is up and does nothing: look first, a restart takes what it would say."""
    return f"{look_at(unit)}; then: systemctl restart {unit}"


def run_stage(*names: str) -> str:
    """`run the driver stage: pyinfra inventory/home.py deploys/driver.py`; several in order."""
    word = "stage" if len(names) == 1 else "stages"
    deploys = " ".join(f"deploys/{name}.py" for name in names)
    return f"run the {' and '.join(names)} {word}: pyinfra inventory/home.py {deploys}"


_DEPLOYS = re.compile(r"pyinfra inventory/home\.py(?: deploys/\w+\.py)+")


def for_rig(advice: str, rig: str, *, simulated: bool) -> str:
    """The deploys in an advice, for this rig alone; a virtual one is in another inventory."""
    own = f"rigspec lab apply rigs/{rig}.yaml"
    limit = shlex.quote(only(rig, "home"))
    return _DEPLOYS.sub(own if simulated else rf"\g<0> --limit {limit}", advice)


def only(rig: str, stem: str) -> str:
    """A pattern for one host: pyinfra takes `home` for the group of all hosts in home.py."""
    groups = {stem, "rigs", "all"}
    return f"[{rig[0]}]{rig[1:]}" if rig in groups else rig


def find_words(words: Iterable[str]) -> str:
    """The command that shows which of GRUB's files set these words: rigspec edits only its own."""
    quoted = [shlex.quote(word) for word in words]
    asked = quoted[0] if len(quoted) == 1 else " ".join(f"-e {word}" for word in quoted)
    return f"grep -rn {asked} /etc/default/grub /etc/default/grub.d"


def take_out(words: Iterable[str]) -> str:
    """What removes words that the owner, or another tool, has put on the kernel line."""
    return f"{find_words(words)}; take it out there, then: update-grub"
