"""A model hub with the Hugging Face routes that rigspec uses, over plain folders.

    GET api/models/ORG/NAME/revision/REV              {"sha": …}
    GET api/models/ORG/NAME/tree/REV?recursive=true   [{type, path, size, oid, lfs: {oid, size}}]
    GET ORG/NAME/resolve/REV/PATH                     the file, with Range

A model is a folder ORG/NAME/REV of files; REV is a commit, and `main` means the newest one.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rigspec.lab.reply import NOT_FOUND, Reply, json_reply

# what a model repository's .gitattributes usually sends to large file storage
LFS = re.compile(r"\.(safetensors|gguf|bin|pt|pth|onnx|model)$|(^|/)tokenizer\.json$")
API = re.compile(r"api/models/([^/]+/[^/]+)/(revision|tree)/([^/]+)")
RESOLVE = re.compile(r"([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


def add_model(hub: Path, name: str, revision: str, files: Mapping[str, bytes]) -> None:
    """Put a model `ORG/NAME` at a revision into the hub; what was there is replaced."""
    folder = hub / name / revision
    for path, data in files.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)


class Hub:
    """Answers /hub/…; `cut_after` breaks each answer off after that many bytes."""

    def __init__(self, folder: Path, *, cut_after: int | None = None) -> None:
        self._folder = folder
        self._cut_after = cut_after

    def answer(self, path: str) -> Reply:
        """One request."""
        if ".." in path.split("/"):
            return NOT_FOUND
        if match := API.fullmatch(path):
            return self._describe(match[1], match[2], match[3])
        if match := RESOLVE.fullmatch(path):
            return self._file(match[1], match[2], match[3])
        return NOT_FOUND

    def _describe(self, name: str, kind: str, revision: str) -> Reply:
        folder = self._find_revision(name, revision)
        if folder is None:
            return json_reply({"error": "Repository or revision not found"}, status=404)
        files = sorted(file for file in folder.rglob("*") if file.is_file())
        if kind == "revision":
            siblings = [{"rfilename": str(file.relative_to(folder))} for file in files]
            return json_reply({"id": name, "sha": folder.name, "siblings": siblings})
        return json_reply([_entry(file, folder) for file in files])

    def _file(self, name: str, revision: str, path: str) -> Reply:
        folder = self._find_revision(name, revision)
        if folder is None or not (folder / path).is_file():
            return NOT_FOUND
        entry = _entry(folder / path, folder)
        etag = entry["lfs"]["oid"] if "lfs" in entry else entry["oid"]
        headers = (("ETag", f'"{etag}"'), ("X-Repo-Commit", folder.name))
        return Reply(body=folder / path, headers=headers, cut_after=self._cut_after)

    def _find_revision(self, name: str, revision: str) -> Path | None:
        model = self._folder / name
        if revision == "main" and model.is_dir():
            return max(model.iterdir(), key=lambda folder: folder.stat().st_mtime, default=None)
        return model / revision if (model / revision).is_dir() else None


def _entry(file: Path, folder: Path) -> dict[str, Any]:
    data, path = file.read_bytes(), str(file.relative_to(folder))
    entry: dict[str, Any] = {"type": "file", "path": path, "size": len(data)}
    if not LFS.search(path):
        return {**entry, "oid": git_blob_id(data)}
    digest = hashlib.sha256(data).hexdigest()
    pointer = (
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {len(data)}\n"
    ).encode()
    lfs = {"oid": digest, "size": len(data), "pointerSize": len(pointer)}
    return {**entry, "oid": git_blob_id(pointer), "lfs": lfs}


def git_blob_id(data: bytes) -> str:
    """The name git gives these contents (SHA-1 of `blob SIZE\\0` and the data)."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()
