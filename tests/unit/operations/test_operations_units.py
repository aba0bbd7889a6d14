"""Units: enabled and active, reloaded when what they read is newer; secrets; all state-based."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fakehost import text_of

from rigspec.facts.managed import FileState, UnitState
from rigspec.operations.files import digest
from rigspec.operations.secrets import Secret, secret_changes
from rigspec.operations.units import enabled, unit_changes
from rigspec.plan.sections import RenderedFile

UNIT = "rigspec-power.service"
TABLE = RenderedFile("/etc/rigspec/power.tsv", "x\n", "x")
FILE = RenderedFile(f"/etc/systemd/system/{UNIT}", "[Unit]\n", "x")
UP = UnitState("loaded", "active", "exited", "enabled", False, "success", since=1000)


def state(modified: int) -> FileState:
    return FileState("644", "root:root", modified, digest(TABLE.content))


def verbs(
    unit: UnitState | None,
    written: tuple[RenderedFile, ...] = (),
    modified: int = 900,
) -> list[str]:
    found = []
    for command in unit_changes(
        [UNIT],
        {UNIT: unit} if unit else {},
        written,
        inputs={UNIT: (TABLE.dest,)},
        files={TABLE.dest: state(modified)},
    ):
        text = str(command)
        first = text.splitlines()[0]
        if "-q enable" in text:
            found.append("enable")
        elif "daemon-reload" in text:
            found.append("daemon-reload")
        else:
            found.append(first.removeprefix("set -- ").split()[0])
    return found


def test_an_active_unit_on_current_inputs_is_left_alone() -> None:
    assert verbs(UP) == []


def test_a_changed_table_reloads_only_the_unit_that_reads_it() -> None:
    assert verbs(UP, (TABLE,)) == ["reload"]


def test_a_table_written_by_a_killed_run_reloads_the_unit_the_next_time() -> None:
    assert verbs(UP, modified=1001) == ["reload"]


def test_a_table_written_in_the_second_of_the_start_is_not_newer() -> None:
    assert verbs(UP, modified=1000) == []


def test_a_new_unit_is_read_enabled_and_started() -> None:
    assert verbs(None, (FILE,)) == ["enable", "start"]  # enabling reads unit files, too


@pytest.mark.parametrize(
    ("unread", "already", "done"),
    [
        (True, ("a", "b"), "daemon-reload"),  # by their packages, a moment ago
        (True, ("a",), "-q enable -- b"),
        (False, ("a", "b"), ""),
        (False, (), "-q enable -- a b"),
    ],
)
def test_units_are_enabled_or_read_with_one_reload(
    tmp_path: Path, unread: bool, already: tuple[str, ...], done: str
) -> None:
    fake = tmp_path / "systemctl"
    fake.write_text(
        'if [ "$1" = is-enabled ]; then\n'
        '  case " $KNOWN " in *" $3 "*) echo enabled ;; *) echo enabled-runtime ;; esac\n'
        'else echo "$*"; fi\n'
    )
    fake.chmod(0o755)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "KNOWN": " ".join(already)}
    text = str(enabled(("a", "b"), unread=unread))
    said = subprocess.run(
        ["sh", "-c", text], env=environment, capture_output=True, text=True, check=True
    )
    assert said.stdout.strip() == done


def test_a_unit_file_systemd_has_not_read_is_read() -> None:
    stale = UnitState("loaded", "active", "exited", "enabled", True, "success", 1000)
    assert verbs(stale) == ["daemon-reload"]


@pytest.mark.parametrize("active", ["inactive", "failed", "activating"])
def test_a_unit_that_is_not_up_is_started(active: str) -> None:
    assert verbs(UnitState("loaded", active, "x", "enabled", False, "x", 1000)) == ["start"]


def test_a_disabled_unit_is_enabled_and_not_restarted() -> None:
    off = UnitState("loaded", "active", "exited", "disabled", False, "success", 1000)
    assert verbs(off) == ["enable"]


SECRET = Secret("/etc/rigspec/secrets/glm.env", "KEY", "services.glm", "VLLM_API_KEY={}\n".format)
HAVE = {SECRET.path: FileState("600", "root:root", 1, digest("VLLM_API_KEY=s3cret\n"))}


def secrets(seen: dict[str, FileState], **environment: str) -> list[str]:
    return [text_of(c) for c in secret_changes([SECRET], seen, environment)]


def test_a_secret_travels_through_stdin_only() -> None:
    (command,) = secret_changes([SECRET], {}, {"KEY": "s3cret"})
    assert "s3cret" not in str(command)
    assert command.connector_arguments["_stdin"] == "VLLM_API_KEY=s3cret"
    assert "umask 077" in str(command)


def test_a_secret_that_is_there_is_left_alone() -> None:
    assert secrets(HAVE, KEY="s3cret") == []


def test_without_the_variable_the_hosts_secret_stays() -> None:
    assert secrets(HAVE) == []


def test_without_variable_and_file_the_run_stops_and_names_the_variable() -> None:
    (refusal,) = secrets({})
    assert refusal.startswith("REFUSED: services.glm needs a secret, and `KEY` is not set here")


@pytest.mark.parametrize(
    "wrong",
    [
        FileState("644", "root:root", 1, digest("VLLM_API_KEY=s3cret\n")),
        FileState("600", "rig:rig", 1, digest("VLLM_API_KEY=s3cret\n")),
        FileState("600", "root:root", 1, digest("VLLM_API_KEY=older\n")),
    ],
    ids=["readable by all", "owned by another", "older value"],
)
def test_a_secret_that_differs_is_written(wrong: FileState) -> None:
    assert len(secrets({SECRET.path: wrong}, KEY="s3cret")) == 1


def test_a_secret_of_two_lines_is_refused() -> None:
    (refusal,) = secrets({}, KEY="a\nb")
    assert "one line" in refusal
    assert "a\nb" not in refusal
