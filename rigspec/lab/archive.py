"""Debian's archive as the virtual rigs see it: real packages, a shorter index.

Debian lists 69,000 packages, and apt weighs every one of them in each call: emulated, 14 to 20 s
for an `apt-get -s install` of one package. The index is cut down to what administers a machine and
all that this depends on. Debian's signature is checked here, the shorter index is signed by the
lab's own key, and apt compares each package with the hash that Debian gave for it.
"""

from __future__ import annotations

import hashlib
import lzma
import re
import subprocess
import tempfile
from collections import defaultdict
from functools import cached_property
from pathlib import Path

from rigspec.errors import LabError
from rigspec.lab.debian import KEYRING
from rigspec.lab.home import cached
from rigspec.lab.hosttools import need, say
from rigspec.lab.mirror import Mirror
from rigspec.lab.reply import Reply, static_file
from rigspec.lab.signing import clearsigned, fingerprint
from rigspec.plan.preflight import TOOLS

COMPONENTS = ("main", "contrib", "non-free", "non-free-firmware")
SECTIONS = ("admin", "kernel")
PRIORITIES = ("required", "important", "standard")
SHORT = 10_000
"""An index of up to so many packages stays whole."""

CUT = (COMPONENTS, SECTIONS, PRIORITIES, TOOLS, SHORT)
"""All that decides what stays of an index: these, and what they depend on."""

INDEX = "binary-amd64/Packages"
KEPT_FIELDS = re.compile(r"^(?:Origin|Label|Suite|Version|Codename|Date|Description): .*\n", re.M)
DISTS = re.compile(r"dists/([\w.-]+)/(.+)")
NAMES = re.compile(r"(?:^|[,|])\s*([a-z0-9][a-z0-9+.-]*)")
FIELD = re.compile(r"^(Package|Section|Priority|Provides|Depends|Pre-Depends): (.*)$", re.M)


class Archive:
    """Answers /debian/…"""

    def __init__(self, cache: Path) -> None:
        self._mirror = Mirror(cache)

    def answer(self, path: str) -> Reply:
        """The lab's own index, else the archive's file of that path."""
        match = DISTS.fullmatch(path)
        if match is None:
            return self._mirror.answer(path)
        try:
            return static_file(self._index(match[1]), match[2])
        except LabError as problem:
            say(problem.message)  # apt shows no more than the number
            return Reply(502, f"{problem.message}\n".encode())

    @cached_property
    def _key(self) -> str:
        return fingerprint()

    def _index(self, suite: str) -> Path:
        """The folder of this suite's index, made anew when Debian's has changed."""
        signed = self._read(f"dists/{suite}/InRelease")
        inputs = {
            "debian": hashlib.sha256(signed).hexdigest(),
            "cut": CUT,
            "key": self._key,
        }
        return cached("debian-index", inputs, lambda folder: self._build(suite, signed, folder))

    def _build(self, suite: str, signed: bytes, folder: Path) -> None:
        release = verified(signed)
        hashes = sha256_of_indexes(release)
        lines = []
        for component in COMPONENTS:
            name = f"{component}/{INDEX}"
            if f"{name}.xz" not in hashes:
                continue
            packed = self._read(f"dists/{suite}/{name}.xz")
            if hashlib.sha256(packed).hexdigest() != hashes[f"{name}.xz"]:
                raise LabError(f"{suite}/{name}.xz is not what Debian signed: try again later")
            data = cut(lzma.decompress(packed).decode()).encode()
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_bytes(data)
            lines.append(f" {hashlib.sha256(data).hexdigest()} {len(data)} {name}\n")
        head = "".join(KEPT_FIELDS.findall(release))
        text = f"{head}Architectures: amd64\nComponents: {' '.join(COMPONENTS)}\nSHA256:\n"
        (folder / "InRelease").write_bytes(clearsigned(text + "".join(lines)))

    def _read(self, path: str) -> bytes:
        reply = self._mirror.answer(path)
        if reply.status != 200:
            raise LabError(f"Debian's {path} cannot be had from the host's mirror: {reply.status}")
        with reply.open() as body:
            return body.read()


def verified(signed: bytes) -> str:
    """What Debian has signed; LabError when it has not."""
    need("gpgv")
    with tempfile.NamedTemporaryFile() as file:
        file.write(signed)
        file.flush()
        argv = ("gpgv", "--quiet", "--keyring", KEYRING, "--output", "-", file.name)
        done = subprocess.run(argv, capture_output=True)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise LabError(f"the host's mirror has a Release file that Debian did not sign\n{said}")
    return done.stdout.decode()


def sha256_of_indexes(release: str) -> dict[str, str]:
    """SHA-256 by path, of a Release file."""
    _, _, listed = release.partition("\nSHA256:\n")
    rows = re.finditer(r"^ ([0-9a-f]{64}) +\d+ (\S+)$", listed, re.M)
    return {row[2]: row[1] for row in rows}


def cut(index: str) -> str:
    """A Packages file without what no rig needs; closed, so that all of it can be installed."""
    stanzas = [stanza for stanza in index.split("\n\n") if stanza.strip()]
    if len(stanzas) <= SHORT:
        return index
    fields = [dict(FIELD.findall(stanza)) for stanza in stanzas]
    kept = _closure(fields)
    left = (s for s, field in zip(stanzas, fields, strict=True) if field["Package"] in kept)
    return "\n\n".join(left) + "\n"


def _closure(fields: list[dict[str, str]]) -> set[str]:
    """The wanted packages and all that they depend on, whoever provides it."""
    needs: defaultdict[str, set[str]] = defaultdict(set)
    todo = list(TOOLS)
    for field in fields:
        name = field["Package"]
        for depends in ("Depends", "Pre-Depends"):
            needs[name].update(NAMES.findall(field.get(depends, "")))
        for virtual in NAMES.findall(field.get("Provides", "")):
            needs[virtual].add(name)
        if field.get("Section") in SECTIONS or field.get("Priority") in PRIORITIES:
            todo.append(name)
    kept: set[str] = set()
    while todo:
        name = todo.pop()
        if name not in kept:
            kept.add(name)
            todo += needs[name]
    return kept
