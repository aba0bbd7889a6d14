"""Exceptions for broken surroundings only: a file that is gone, a host that does not answer.

    RigspecError
    ├── SpecFileError      the spec file cannot be read at all
    ├── LabError           the virtual rig cannot be built or started
    └── HostError          a real host refused something

What is wrong *inside* a spec is a Finding, what is wrong *on* a host a Verdict; neither is raised.
"""

from __future__ import annotations


class RigspecError(Exception):
    """Broken surroundings: `message` says what, `hint` what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class SpecFileError(RigspecError):
    """The spec file cannot be read: missing, a directory, not text."""


class LabError(RigspecError):
    """The virtual rig cannot be built, started or reached."""


class HostError(RigspecError):
    """A host refused or lacks something rigspec needs."""
