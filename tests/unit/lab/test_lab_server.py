"""What the lab serves, asked as its clients ask: over HTTP on the loopback."""

from __future__ import annotations

import hashlib
import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rigspec.lab.hub import add_model, git_blob_id
from rigspec.lab.registry import Registry, add_image
from rigspec.lab.server import ServerConfig, parse_range, routes, serving

REVISION = "0123456789abcdef0123456789abcdef01234567"
WEIGHTS = bytes(range(256)) * 40


def config_in(folder: Path, **changes: int) -> ServerConfig:
    config = ServerConfig(
        folder / "apt", folder / "nvidia", folder / "hub", folder / "store", **changes
    )
    for part in ("nvidia", "hub"):
        (folder / part).mkdir(exist_ok=True)
    files = {"config.json": b"{}\n", "model.safetensors": WEIGHTS, "sub/notes.txt": b""}
    add_model(config.hub, "org/model", REVISION, files)
    (config.nvidia / "key.asc").write_text("key")
    (folder / "secret").write_text("not served")
    return config


class Client:
    def __init__(self, port: int) -> None:
        self.port = port

    def get(self, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        link.request("GET", path, headers=headers)
        answer = link.getresponse()
        try:
            body = answer.read()
        except http.client.IncompleteRead as broken:
            body = broken.partial
        link.close()
        return answer.status, dict(answer.getheaders()), body


def serve(config: ServerConfig) -> Iterator[Client]:
    with serving(routes(config)) as port:
        yield Client(port)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    yield from serve(config_in(tmp_path))


@pytest.fixture
def breaking_client(tmp_path: Path) -> Iterator[Client]:
    yield from serve(config_in(tmp_path, cut_after=1000))


def test_the_tree_lists_every_file_with_its_hashes(client: Client) -> None:
    status, _, body = client.get(f"/hub/api/models/org/model/tree/{REVISION}?recursive=true")
    entries = {entry["path"]: entry for entry in json.loads(body)}
    assert status == 200
    assert set(entries) == {"config.json", "model.safetensors", "sub/notes.txt"}
    assert entries["model.safetensors"]["lfs"]["oid"] == hashlib.sha256(WEIGHTS).hexdigest()
    assert entries["model.safetensors"]["size"] == len(WEIGHTS)
    assert "lfs" not in entries["config.json"]
    # git's well-known name of the empty blob
    assert entries["sub/notes.txt"]["oid"] == "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_a_proxied_request_is_answered_by_its_path(client: Client) -> None:
    # how apt asks for the rig's own address while the image is built
    direct = client.get("/nvidia/key.asc")
    assert client.get("http://lab.rigspec.internal/nvidia/key.asc")[::2] == direct[::2]
    assert direct[0] == 200


def test_a_branch_is_resolved_to_its_commit(client: Client) -> None:
    status, _, body = client.get("/hub/api/models/org/model/revision/main")
    assert status == 200
    assert json.loads(body)["sha"] == REVISION


def test_an_unknown_revision_is_not_found(client: Client) -> None:
    assert client.get("/hub/api/models/org/model/tree/other?recursive=true")[0] == 404


def test_a_file_can_be_fetched_from_the_middle(client: Client) -> None:
    path = f"/hub/org/model/resolve/{REVISION}/model.safetensors"
    status, headers, body = client.get(path, Range="bytes=10000-")
    assert status == 206
    assert body == WEIGHTS[10000:]
    assert headers["Content-Range"] == f"bytes 10000-{len(WEIGHTS) - 1}/{len(WEIGHTS)}"
    assert headers["X-Repo-Commit"] == REVISION


def test_a_range_beyond_the_end_is_refused(client: Client) -> None:
    path = f"/hub/org/model/resolve/{REVISION}/model.safetensors"
    assert client.get(path, Range=f"bytes={len(WEIGHTS)}-")[0] == 416


def test_a_breaking_line_delivers_the_file_in_pieces(breaking_client: Client) -> None:
    path = f"/hub/org/model/resolve/{REVISION}/model.safetensors"
    got = b""
    for _ in range(20):
        if len(got) < len(WEIGHTS):
            piece = breaking_client.get(path, Range=f"bytes={len(got)}-")[2]
            assert len(piece) <= 1000
            got += piece
    assert got == WEIGHTS


@pytest.mark.parametrize("path", ["/nvidia/../secret", "/nvidia/%2e%2e/secret", "/hub/../secret"])
def test_nothing_outside_the_folders_is_served(client: Client, path: str) -> None:
    assert client.get(path)[0] == 404


def test_the_repository_key_is_served(client: Client) -> None:
    assert client.get("/nvidia/key.asc")[2] == b"key"


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("bytes=0-", (0, 99)),
        ("bytes=5-7", (5, 7)),
        ("bytes=5-500", (5, 99)),
        ("bytes=-5", None),
        ("items=0-1", None),
    ],
)
def test_range_headers(header: str | None, expected: tuple[int, int] | None) -> None:
    assert parse_range(header, 100) == expected


def test_git_blob_id_of_known_contents() -> None:
    # `printf 'hello\n' | git hash-object --stdin`
    assert git_blob_id(b"hello\n") == "ce013625030ba8dba906f756967f9e9ca394464a"


def test_an_image_is_pulled_by_digest_and_by_tag(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "bin").mkdir(parents=True)
    (root / "bin" / "tool").write_text("#!/bin/sh\n")
    image = add_image(root, tmp_path / "store", "lab/tool", "v1", entrypoint=("/bin/tool",))
    registry = Registry(tmp_path / "store")
    by_digest = registry.answer(f"lab/tool/manifests/{image.digest}")
    assert registry.answer("lab/tool/manifests/v1") == by_digest
    manifest = json.loads(Path(str(by_digest.body)).read_bytes())
    for part in (manifest["config"], *manifest["layers"]):
        blob = Path(str(registry.answer(f"lab/tool/blobs/{part['digest']}").body)).read_bytes()
        assert f"sha256:{hashlib.sha256(blob).hexdigest()}" == part["digest"]
        assert len(blob) == part["size"]


def test_equal_trees_make_equal_images(tmp_path: Path) -> None:
    digests = set()
    for name in ("one", "two"):
        root = tmp_path / name
        root.mkdir()
        (root / "file").write_text("same")
        digests.add(add_image(root, tmp_path / f"store-{name}", "lab/same", "v1").digest)
    assert len(digests) == 1


def test_an_unknown_image_is_reported_as_registries_do(tmp_path: Path) -> None:
    reply = Registry(tmp_path).answer("lab/none/manifests/latest")
    assert reply.status == 404
    assert b"MANIFEST_UNKNOWN" in bytes(reply.body)
