"""The lab's own signing key: made on first use, known to nobody but the virtual rigs."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rigspec.errors import LabError
from rigspec.lab.home import lab_home, locked
from rigspec.lab.hosttools import need

SIGNER = "rigspec lab"


def fingerprint() -> str:
    """The 40-digit fingerprint of the key."""
    said = _gpg("--with-colons", "--list-keys", SIGNER)
    for line in said.decode().splitlines():
        fields = line.split(":")
        if fields[0] == "fpr":
            return fields[9]
    raise LabError("gpg does not show the lab's signing key")


def public_key() -> bytes:
    """The key as guests are given it (ASCII armor)."""
    return _gpg("--armor", "--export", SIGNER)


def clearsigned(text: str) -> bytes:
    """The text signed in line, as an InRelease file is."""
    return _gpg("--clearsign", text=text.encode())


def _gpg(*words: str, text: bytes = b"") -> bytes:
    """Run gpg with the lab's own key ring; the signing key is made on first use."""
    need("gpg")
    ring = lab_home() / "keys" / "gnupg"
    with locked("gpg"):
        if not ring.exists():
            ring.mkdir(mode=0o700, parents=True)
            _run_gpg(ring, ("--quick-gen-key", SIGNER, "rsa3072", "sign", "0"), b"")
    return _run_gpg(ring, words, text)


def _run_gpg(ring: Path, words: Sequence[str], text: bytes) -> bytes:
    # gpg-agent puts sockets where it is told; a short path keeps them below 108 bytes
    with tempfile.TemporaryDirectory() as short:
        home = Path(short) / "g"
        home.symlink_to(ring)
        argv = ("gpg", "--homedir", str(home), "--batch", "--quiet", "--passphrase", "", *words)
        done = subprocess.run(argv, input=text, capture_output=True)
        stop = ("gpgconf", "--homedir", str(home), "--kill", "gpg-agent")
        subprocess.run(stop, capture_output=True)
    if done.returncode:
        raise LabError(f"gpg failed: {done.stderr.decode(errors='replace').strip()}")
    return done.stdout
