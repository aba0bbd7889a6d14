"""KVM or emulation: decided by a machine that really boots, once per start of this computer.

A device /dev/kvm proves nothing: some computers have one that runs no stock kernel. So the first
machine is started with KVM on trial; if it says nothing on its console, or does not come up, it is
started again under emulation, and so are all others until this computer restarts.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Literal

from rigspec.lab.home import lab_home, locked

Accelerator = Literal["kvm", "tcg"]

FIRST_WORDS_S = 15
"""A kernel under KVM speaks within 2 s; under emulation within 6 s on a busy computer."""
TRIAL_S = 90
"""From start to an ssh answer, under KVM."""
DEVICE = Path("/dev/kvm")
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def can_try_kvm() -> bool:
    """Whether this user may open /dev/kvm."""
    return os.access(DEVICE, os.R_OK | os.W_OK)


def proven(vendor: str) -> Accelerator | None:
    """What runs machines with this processor vendor; None when only a trial can tell."""
    if not can_try_kvm():
        return "tcg"
    verdict = _verdicts().get(vendor)
    if verdict is None:
        return None
    return "kvm" if verdict else "tcg"


def remember(vendor: str, *, works: bool) -> None:
    """Keep the outcome of a trial until this computer restarts."""
    with locked("accelerator"):
        verdicts = {**_verdicts(), vendor: works}
        _file().write_text(json.dumps({"boot": BOOT_ID.read_text().strip(), "kvm": verdicts}))


def _file() -> Path:
    return lab_home() / "accelerator.json"


def _verdicts() -> dict[str, bool]:
    """By vendor, whether KVM ran it; empty after a restart of this computer."""
    try:
        known = json.loads(_file().read_text())
        found: dict[str, bool] = (
            known["kvm"] if known["boot"] == BOOT_ID.read_text().strip() else {}
        )
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return found
