"""Ctrl-C while a deploy runs: the deploy says what goes on, however long it takes to say it."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

from rigspec.lab.deploying import run_to_its_end

SLOW_TO_ANSWER = """\
import pathlib, signal, sys, time
def answer(number, frame):
    time.sleep(1)  # four times what subprocess.run waits before it kills
    sys.exit(130)
signal.signal(signal.SIGINT, answer)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)  # the interrupt ends it long before
"""


def test_a_deploy_that_is_interrupted_ends_by_itself(tmp_path: Path) -> None:
    ready = tmp_path / "ready"

    def interrupt() -> None:
        while not ready.exists():
            time.sleep(0.05)  # until its handler is there
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    argv = (sys.executable, "-c", SLOW_TO_ANSWER, str(ready))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's `&` ignores it
    try:
        assert run_to_its_end(argv, dict(os.environ)) == 130  # a killed one ends with -9
    finally:
        signal.signal(signal.SIGINT, before)
