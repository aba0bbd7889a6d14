"""A read-only registry of container images (OCI distribution, `pull`), and how images get in."""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from rigspec.lab.reply import Reply, json_reply

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
CONFIG = "application/vnd.docker.container.image.v1+json"
LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"
ROUTE = re.compile(r"(.+)/(manifests|blobs)/([^/]+)")


@dataclass(frozen=True)
class Image:
    """An image in the store: `name@digest` is how it is pulled."""

    name: str
    digest: str

    @property
    def reference(self) -> str:
        """`name@sha256:…`, without the registry in front."""
        return f"{self.name}@{self.digest}"


class Registry:
    """Answers /v2/…"""

    def __init__(self, store: Path) -> None:
        self._store = store

    def answer(self, path: str) -> Reply:
        """One request."""
        if not path:
            return json_reply({})
        match = ROUTE.fullmatch(path)
        if match is None:
            return json_reply({"errors": [{"code": "UNSUPPORTED"}]}, status=404)
        name, kind, reference = match[1], match[2], match[3]
        digest = reference if reference.startswith("sha256:") else self._find_tag(name, reference)
        blob = self._store / "blobs" / (digest or "").removeprefix("sha256:")
        if digest is None or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest) or not blob.exists():
            code = "MANIFEST_UNKNOWN" if kind == "manifests" else "BLOB_UNKNOWN"
            return json_reply({"errors": [{"code": code}]}, status=404)
        media = MANIFEST if kind == "manifests" else "application/octet-stream"
        headers = (("Content-Type", media), ("Docker-Content-Digest", digest))
        return Reply(body=blob, headers=headers)

    def _find_tag(self, name: str, tag: str) -> str | None:
        if not re.fullmatch(r"[\w.-]+", tag):
            return None
        file = self._store / "tags" / name / tag
        return file.read_text() if file.is_file() else None


def add_image(
    root: Path, store: Path, name: str, tag: str, *, entrypoint: Sequence[str] = ()
) -> Image:
    """Pack a folder as a one-layer image and put it into the store."""
    raw = _pack(root)
    layer = _add_blob(store, gzip.compress(raw, 1, mtime=0), LAYER)
    settings: dict[str, object] = {
        "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"],
        "Labels": {"rigspec.lab": "simulated"},
    }
    if entrypoint:
        settings["Entrypoint"] = list(entrypoint)
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": "1970-01-01T00:00:00Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(raw).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": _add_blob(store, json.dumps(config, sort_keys=True).encode(), CONFIG),
        "layers": [layer],
    }
    entry = _add_blob(store, json.dumps(manifest, sort_keys=True).encode(), MANIFEST)
    digest = str(entry["digest"])
    tags = store / "tags" / name
    tags.mkdir(parents=True, exist_ok=True)
    (tags / tag).write_text(digest)
    return Image(name, digest)


def _pack(root: Path) -> bytes:
    """The folder as a tar of root's files without times, so that equal trees have equal digests."""
    buffer = BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as archive:
        for path in sorted(root.rglob("*")):
            member = archive.gettarinfo(path, arcname=str(path.relative_to(root)))
            member.uid = member.gid = 0
            member.mtime = 0
            member.uname = member.gname = ""
            archive.addfile(member, BytesIO(path.read_bytes()) if member.isreg() else None)
    return buffer.getvalue()


def _add_blob(store: Path, data: bytes, media: str) -> dict[str, object]:
    digest = hashlib.sha256(data).hexdigest()
    blobs = store / "blobs"
    blobs.mkdir(parents=True, exist_ok=True)
    (blobs / digest).write_bytes(data)
    return {"mediaType": media, "digest": f"sha256:{digest}", "size": len(data)}
