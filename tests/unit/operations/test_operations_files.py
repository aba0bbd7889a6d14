"""Files: what differs is written in one atomic command, what is equal is left alone."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from fakehost import FakeHost, run

from rigspec.facts.files import Files
from rigspec.facts.managed import FileState
from rigspec.operations.files import digest, write, written
from rigspec.plan.sections import RenderedFile

A = RenderedFile("/etc/rigspec/a", "one\n", "x")
B = RenderedFile("/usr/local/lib/rigspec/b", "#!/bin/sh\necho 'it''s'\n", "x", mode="755")


def state(file: RenderedFile, **changes: str) -> FileState:
    values = {"mode": file.mode, "owner": "root:root", "sha256": digest(file.content)} | changes
    return FileState(modified=1, **values)


def test_nothing_is_written_when_all_files_are_as_planned() -> None:
    host = FakeHost({Files: {A.dest: state(A), B.dest: state(B)}})
    assert run(written, host, files=(A, B)) == []
    assert host.said == "2 files are as planned"


@pytest.mark.parametrize(
    "changes", [{"mode": "600"}, {"owner": "rig:rig"}, {"sha256": "0" * 64}], ids=str
)
def test_only_the_file_that_differs_is_written(changes: dict[str, str]) -> None:
    host = FakeHost({Files: {A.dest: state(A, **changes), B.dest: state(B)}})
    (command,) = run(written, host, files=(A, B))
    assert A.dest in command
    assert B.dest not in command


def test_all_missing_files_are_written_in_one_command() -> None:
    commands = run(written, FakeHost({Files: {}}), files=(A, B))
    assert len(commands) == 1


def test_a_file_that_is_not_planned_any_more_is_removed() -> None:
    host = FakeHost({Files: {A.dest: state(A), "/etc/old": state(A)}})
    commands = run(written, host, files=(A,), absent=("/etc/old", "/etc/never"))
    assert commands == ['set -- /etc/old\nrm -f -- "$@"']


def test_an_unreadable_host_is_refused() -> None:
    (command,) = run(written, FakeHost({Files: None}), files=(A,))
    assert command.startswith("REFUSED: the host's state could not be read")


def execute(
    tmp_path: Path, file: RenderedFile, before: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the write command in a real sh, with a chown that needs no root."""
    tools = tmp_path / "bin"
    tools.mkdir(exist_ok=True)
    (tools / "chown").write_text("#!/bin/sh\n")
    (tools / "chown").chmod(0o755)
    command = write([file], before=before)
    return subprocess.run(
        ["sh", "-c", str(command)],
        input=command.connector_arguments["_stdin"] + "\n",
        text=True,
        env={**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"},
        capture_output=True,
        check=False,
    )


@pytest.mark.parametrize(
    "content",
    ["plain\n", "$HOME `id` \\ \"quotes\" 'single'\n", "\n\ntabs\t\n", "ünï × –\n", "$(id)\nEOF\n"],
    ids=["plain", "shell words", "blank lines", "utf-8", "here-document words"],
)
def test_content_arrives_byte_for_byte(tmp_path: Path, content: str) -> None:
    file = RenderedFile(str(tmp_path / "new folder" / "file"), content, "x", mode="640")
    done = execute(tmp_path, file)
    assert done.returncode == 0, done.stderr
    target = Path(file.dest)
    assert target.read_bytes() == content.encode()
    assert target.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in target.parent.iterdir()] == ["file"]


def test_a_mark_is_left_before_the_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old\n")
    mark = tmp_path / "mark"
    done = execute(tmp_path, RenderedFile(str(target), "new\n", "x"), f"cat {target} >{mark}")
    assert done.returncode == 0
    assert mark.read_text() == "old\n"
    assert target.read_text() == "new\n"


def test_a_failing_step_leaves_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "file"
    target.write_text("old\n")
    done = execute(tmp_path, RenderedFile(str(target), "new\n", "x"), "false")
    assert done.returncode != 0
    assert target.read_text() == "old\n"


def test_a_file_that_could_not_be_carried_whole_is_a_programmer_error() -> None:
    with pytest.raises(ValueError, match="newline"):
        write([RenderedFile("/etc/x", "no newline", "x")])
