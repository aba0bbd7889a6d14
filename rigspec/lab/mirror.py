"""A caching mirror of Debian: fetched once from wherever this host's apt fetches."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
import threading
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path

from rigspec.lab.debian import host_mirror
from rigspec.lab.reply import NOT_FOUND, Reply

UNCHANGING = re.compile(r"\.deb$|/by-hash/")  # all else is asked again every time
TIMEOUT_S = 60


class Mirror:
    """Answers /debian/…; the upstream is asked for only when first needed."""

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        self._upstream: str | None = None
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._guard = threading.Lock()
        cache.mkdir(parents=True, exist_ok=True)

    def answer(self, path: str) -> Reply:
        """The file of that path in the archive."""
        if ".." in path.split("/"):
            return NOT_FOUND
        file = self._cache / hashlib.sha256(path.encode()).hexdigest()
        with self._guard:
            lock = self._locks[path]
        with lock:
            if UNCHANGING.search(path) and file.exists():
                return Reply(body=file)
            return self._fetch(path, file)

    def _fetch(self, path: str, file: Path) -> Reply:
        try:
            source = f"{self._find_upstream()}/{path}"
            with (
                urllib.request.urlopen(source, timeout=TIMEOUT_S) as answer,  # noqa: S310 - apt's own
                tempfile.NamedTemporaryFile(dir=self._cache, delete=False) as part,
            ):
                shutil.copyfileobj(answer, part, 1 << 20)
            os.replace(part.name, file)  # noqa: PTH105 - atomic over an existing file
        except urllib.error.HTTPError as error:
            error.close()
            return Reply(error.code)
        except OSError as error:
            return Reply(504, f"the host's mirror does not answer: {error}\n".encode())
        return Reply(body=file)

    def _find_upstream(self) -> str:
        with self._guard:
            if self._upstream is None:
                self._upstream = host_mirror()
            return self._upstream
