"""Debian's index as the virtual rigs see it: checked, cut down, closed, signed by the lab."""

from __future__ import annotations

import hashlib
import lzma
import subprocess
from pathlib import Path

import pytest

from rigspec.errors import LabError
from rigspec.lab import archive
from rigspec.lab.archive import Archive, cut, sha256_of_indexes, verified
from rigspec.lab.mirror import Mirror
from rigspec.lab.reply import NOT_FOUND, Reply
from rigspec.lab.signing import clearsigned, public_key


def stanza(name: str, section: str = "games", **fields: str) -> str:
    more = "".join(f"{key.replace('_', '-')}: {value}\n" for key, value in fields.items())
    return f"Package: {name}\nSection: {section}\n{more}Filename: pool/{name}.deb\n"


INDEX = "\n".join(
    (
        stanza("engine", "admin", Depends="runner (>= 1), mail-agent | editor", Pre_Depends="base"),
        stanza("runner", "libs", Depends="deeper:any"),
        stanza("deeper", "libs"),
        stanza("base", "libs"),
        stanza("postman", "mail", Provides="mail-agent (= 2), other"),
        stanza("editor", "editors"),
        stanza("less", "text", Priority="standard"),
        stanza("jq", "utils", Depends="libjq"),
        stanza("libjq", "libs"),
        stanza("chess", Depends="board", Recommends="engine"),
        stanza("board", "libs"),
    )
)


def names(index: str) -> set[str]:
    return {line[9:] for line in index.splitlines() if line.startswith("Package: ")}


def test_what_administers_a_machine_stays_with_all_it_depends_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archive, "SHORT", 3)
    short = cut(INDEX)
    assert names(INDEX) - names(short) == {"chess", "board"}
    kept = [part.strip("\n") for part in short.split("\n\n")]
    assert set(kept) <= {part.strip("\n") for part in INDEX.split("\n\n")}  # word for word


def test_a_short_index_stays_whole() -> None:
    assert cut(INDEX) == INDEX


def release(index: bytes, name: str = "main/binary-amd64/Packages.xz") -> str:
    digest = hashlib.sha256(index).hexdigest()
    return (
        "Origin: Debian\nSuite: stable\nCodename: trixie\nAcquire-By-Hash: yes\n"
        f"Components: main\nMD5Sum:\n {'0' * 32} 7 {name}\nSHA256:\n {digest} {len(index)} {name}\n"
    )


@pytest.fixture
def upstream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Archive, dict[str, bytes]]:
    """An archive before a mirror that has these files, signed by a key of our own."""
    monkeypatch.setenv("RIGSPEC_LAB_HOME", str(tmp_path / "lab"))
    packed = lzma.compress(INDEX.encode())
    files = {
        "dists/trixie/InRelease": clearsigned(release(packed)),
        "dists/trixie/main/binary-amd64/Packages.xz": packed,
        "pool/jq.deb": b"deb",
    }

    def answer(_: Mirror, path: str) -> Reply:
        return Reply(body=files[path]) if path in files else NOT_FOUND

    ring = tmp_path / "ring.gpg"
    ring.write_bytes(dearmored(public_key()))
    monkeypatch.setattr(archive, "KEYRING", ring)
    monkeypatch.setattr(Mirror, "answer", answer)
    return Archive(tmp_path / "apt"), files


def dearmored(key: bytes) -> bytes:
    return subprocess.run(("gpg", "--dearmor"), input=key, capture_output=True, check=True).stdout


def body(reply: Reply) -> bytes:
    with reply.open() as opened:
        return opened.read()


def test_the_index_is_listed_in_a_release_that_the_lab_signs(
    upstream: tuple[Archive, dict[str, bytes]],
) -> None:
    served, _ = upstream
    index = body(served.answer("dists/trixie/main/binary-amd64/Packages"))
    said = verified(body(served.answer("dists/trixie/InRelease")))
    assert sha256_of_indexes(said) == {
        "main/binary-amd64/Packages": hashlib.sha256(index).hexdigest()
    }
    assert "Codename: trixie\n" in said
    assert "By-Hash" not in said
    assert body(served.answer("pool/jq.deb")) == b"deb"
    assert served.answer("dists/trixie/main/binary-amd64/Packages.xz").status == 404


def test_a_release_that_debian_did_not_sign_is_refused(
    upstream: tuple[Archive, dict[str, bytes]],
) -> None:
    served, files = upstream
    files["dists/trixie/InRelease"] = files["dists/trixie/InRelease"].replace(b"stable", b"stale1")
    reply = served.answer("dists/trixie/InRelease")
    assert reply.status == 502
    assert b"Debian did not sign" in body(reply)
    with pytest.raises(LabError, match="did not sign"):
        verified(b"nothing signed at all")


def test_an_index_other_than_the_signed_one_is_refused(
    upstream: tuple[Archive, dict[str, bytes]],
) -> None:
    served, files = upstream
    files["dists/trixie/main/binary-amd64/Packages.xz"] = lzma.compress(b"Package: evil\n")
    reply = served.answer("dists/trixie/InRelease")
    assert reply.status == 502
    assert b"not what Debian signed" in body(reply)


def test_a_changed_release_gives_a_new_index(
    upstream: tuple[Archive, dict[str, bytes]],
) -> None:
    served, files = upstream
    before = body(served.answer("dists/trixie/main/binary-amd64/Packages"))
    packed = lzma.compress((INDEX + "\n" + stanza("newer", "admin")).encode())
    files["dists/trixie/InRelease"] = clearsigned(release(packed))
    files["dists/trixie/main/binary-amd64/Packages.xz"] = packed
    after = body(served.answer("dists/trixie/main/binary-amd64/Packages"))
    assert names(after.decode()) - names(before.decode()) == {"newer"}


def test_a_mirror_that_does_not_answer_is_said(
    upstream: tuple[Archive, dict[str, bytes]], capsys: pytest.CaptureFixture[str]
) -> None:
    served, files = upstream
    del files["dists/trixie/main/binary-amd64/Packages.xz"]
    reply = served.answer("dists/trixie/InRelease")
    assert reply.status == 502
    assert b"Packages.xz cannot be had from the host's mirror: 404" in body(reply)
    assert "Packages.xz cannot be had" in capsys.readouterr().err  # apt says `502` alone
