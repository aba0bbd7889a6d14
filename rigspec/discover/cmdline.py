"""The kernel's command line out of a capture: its own text, a prompt that asked, or the log."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rigspec.discover.capture import Capture, Kind
from rigspec.observed.dressing import bare_lines
from rigspec.observed.kernel import split_cmdline
from rigspec.observed.record import NOT_ASKED, Reading, Unknown

Words = Reading[tuple[str, ...]]


def read_cmdline(capture: Capture) -> tuple[Words, str]:
    """The words, and the text they are from: the first that can be read."""
    looked: Words = NOT_ASKED
    for files, read in (
        (capture.of(Kind.CMDLINE), _alone),
        (capture.files, _behind_prompt),
        (capture.of(Kind.DMESG), _in_log),
    ):
        for file in files:
            words = read(file.lines)
            if not isinstance(words, Unknown):
                return words, file.name
            looked = words if read is not _behind_prompt else looked
    return looked, ""


def _alone(lines: Sequence[str]) -> Words:
    """The last line that says anything: above it `$ cat /proc/cmdline` may stand."""
    said = [line for line in bare_lines(lines) if line.strip()]
    return split_cmdline(said[-1]) if said else Unknown("the command line is empty")


_ASKED = re.compile(r"^.{0,80}[$#] (?:sudo )?cat /proc/cmdline\s*$")


def _behind_prompt(lines: Sequence[str]) -> Words:
    """The line below `$ cat /proc/cmdline`, in a text that holds the output of other commands."""
    for number, line in enumerate(lines[:-1]):
        if "/proc/cmdline" in line and _ASKED.match(line) and "=" in lines[number + 1]:
            return split_cmdline(lines[number + 1].strip())
    return Unknown("nobody asked for the command line")


def _in_log(lines: Sequence[str]) -> Words:
    """The line of a kernel log that repeats it, of the last boot the log shows."""
    said = [line.partition("ommand line: ")[2] for line in lines if _COMMAND_LINE.search(line)]
    return split_cmdline(said[-1]) if said else Unknown("the log does not reach back to the boot")


_COMMAND_LINE = re.compile(r"(?<!Kernel c)(?<=[\] :]C)ommand line: .")
"""Not `Kernel command line:`, to which the kernel may have added its own words."""
