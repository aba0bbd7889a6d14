"""The fetch script against a hub on the loopback; files land in a temporary folder."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from plan_bench import Host, tool
from plan_hub import COMMIT, NAME, FakeHub, serving

from rigspec.plan.model import plan_models
from rigspec.plan.sections import ModelPlan
from rigspec.spec.rig import Rig

WEIGHTS = os.urandom(300_000)
FILES = {
    "config.json": b'{"model_type": "tiny"}\n',
    "model-00001-of-00002.safetensors": WEIGHTS,
    "model-00002-of-00002.safetensors": b"second" * 1000,
    "sub folder/note #1 – ü.txt": b"odd name\n",
    "empty.txt": b"",
    "original/consolidated.pth": b"not wanted twice" * 100,
}
LARGE = frozenset(path for path in FILES if path.endswith(("safetensors", "pth")))


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    for name, package in (("curl", "curl"), ("jq", "jq"), ("flock", "util-linux")):
        tool(name, package)
    with serving(FakeHub(dict(FILES), LARGE)) as running:
        yield running


@dataclass(frozen=True)
class Fetch:
    """The planned command, aimed at a temporary folder."""

    host: Host
    plan: ModelPlan
    folder: Path
    words: tuple[str, ...]
    script: str

    def run(self, *more: str, **environment: str) -> subprocess.CompletedProcess[str]:
        patience = {"RIGSPEC_RETRIES": "3", "RIGSPEC_PAUSE_S": "0"}
        return self.host.run(self.script, *self.words, *more, **(patience | environment))

    def files(self) -> dict[str, bytes]:
        """What lies in the folder, our own records left out."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and not path.name.startswith(".rigspec")
        }


@pytest.fixture
def fetch(hub: FakeHub, host: Host, make_rig: Callable[..., Rig]) -> Callable[..., Fetch]:
    def make(**change: object) -> Fetch:
        model = {"hub": NAME, "revision": COMMIT, "storage": "weights", "endpoint": hub.url}
        rig = make_rig(models={"fetched": {**model, **change}})
        plan = next(m for m in plan_models(rig) if m.name == "fetched")
        folder = host.root / plan.directory.lstrip("/")
        words = [str(folder) if word == plan.directory else word for word in plan.fetch_argv[1:]]
        if plan.secret_path:
            words = [
                word if word != plan.secret_path else str(host.root / "token") for word in words
            ]
        return Fetch(host, plan, folder, tuple(words), plan.files[0].content)

    return make


def test_all_files_arrive_whole_and_the_check_agrees(fetch: Callable[..., Fetch]) -> None:
    job = fetch()
    assert job.run("--check").returncode == 3
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert job.files() == FILES
    assert job.run("--check").returncode == 0


def test_a_second_run_asks_for_no_file(fetch: Callable[..., Fetch], hub: FakeHub) -> None:
    job = fetch()
    job.run()
    hub.asked.clear()
    assert job.run().returncode == 0
    assert hub.asked == []


def test_patterns_choose_files_across_folders(fetch: Callable[..., Fetch]) -> None:
    job = fetch(include=["*.safetensors", "*.json", "original/"], exclude=["original/*.pth"])
    assert job.run().returncode == 0
    assert set(job.files()) == {path for path in FILES if path.endswith(("safetensors", "json"))}


def test_other_patterns_make_the_manifest_void_and_reuse_what_is_there(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    assert fetch(include=["*.safetensors"]).run().returncode == 0
    hub.asked.clear()
    job = fetch()
    assert job.run("--check").returncode == 3
    assert job.run().returncode == 0
    assert job.files() == FILES
    assert not [path for path, _ in hub.asked if path.endswith("safetensors")]


def test_patterns_that_match_nothing_are_an_error(fetch: Callable[..., Fetch]) -> None:
    done = fetch(include=["*.gguf"]).run()
    assert done.returncode == 1
    assert "no file of acme/tiny matches" in done.stderr


def test_a_listing_of_many_pages_is_read_to_its_end(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    hub.page_size = 2
    job = fetch()
    assert job.run().returncode == 0
    assert job.files() == FILES


def test_broken_transfers_go_on_where_they_were_cut(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    hub.cut_after = 70_000
    job = fetch()
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert job.files() == FILES
    ranges = [asked for path, asked in hub.asked if path.startswith("model-00001")]
    assert ranges == ["", "bytes=70000-", "bytes=140000-", "bytes=210000-", "bytes=280000-"]


def test_a_server_without_ranges_is_asked_from_the_beginning(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    hub.ranges = False
    job = fetch()
    part = job.folder / "model-00001-of-00002.safetensors.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(WEIGHTS[:1000])
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert job.files() == FILES


def test_a_killed_fetch_resumes_at_the_byte(
    fetch: Callable[..., Fetch], hub: FakeHub, host: Host
) -> None:
    hub.cut_after = 100_000
    job = fetch()
    script = host.file("/killed", job.script, 0o755)
    environment = {
        **os.environ,
        "RIGSPEC_ROOT": str(host.root),
        "RIGSPEC_PAUSE_S": "30",
        "RIGSPEC_RETRIES": "3",
    }
    running = subprocess.Popen(
        ["/bin/sh", str(script), *job.words],
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    part = job.folder / "model-00001-of-00002.safetensors.part"
    deadline = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size == 100_000) and time.monotonic() < deadline:
        time.sleep(0.02)
    os.killpg(running.pid, signal.SIGKILL)
    running.wait()
    assert job.run("--check").returncode == 3
    hub.cut_after = 0
    hub.asked.clear()
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert ("model-00001-of-00002.safetensors", "bytes=100000-") in hub.asked
    assert "config.json" not in [path for path, _ in hub.asked]  # arrived before the kill
    assert job.files() == FILES


def test_a_hub_that_sends_nothing_is_given_up_with_the_reason(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    hub.sizes["config.json"] = 10_000  # longer than what is ever sent
    done = fetch().run()
    assert done.returncode == 1
    assert "config.json stops at 23 of 10000 bytes" in done.stderr


@pytest.mark.parametrize("path", ["config.json", "model-00002-of-00002.safetensors"])
def test_damage_on_the_way_is_noticed_and_fetched_again(
    fetch: Callable[..., Fetch], hub: FakeHub, path: str
) -> None:
    hub.damaged[path] = 1
    job = fetch()
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert f"{path}: the first transfer has the wrong hash" in done.stdout
    assert job.files() == FILES


def test_a_file_that_is_damaged_twice_is_refused(fetch: Callable[..., Fetch], hub: FakeHub) -> None:
    hub.damaged["model-00002-of-00002.safetensors"] = 2
    job = fetch()
    done = job.run()
    assert done.returncode == 1
    assert "arrived damaged twice" in done.stderr
    assert "model-00002-of-00002.safetensors" not in job.files()
    assert job.run("--check").returncode == 3


def test_a_file_somebody_else_put_there_is_taken_if_right_and_replaced_if_not(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    job = fetch()
    job.folder.mkdir(parents=True)
    (job.folder / "model-00001-of-00002.safetensors").write_bytes(WEIGHTS)
    (job.folder / "model-00002-of-00002.safetensors").write_bytes(b"wrong!" * 1000)
    assert job.run().returncode == 0
    assert job.files() == FILES
    assert "model-00001-of-00002.safetensors" not in [path for path, _ in hub.asked]


def test_a_file_that_vanished_is_noticed_and_fetched_alone(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    job = fetch()
    job.run()
    (job.folder / "config.json").unlink()
    checked = job.run("--check")
    assert checked.returncode == 3
    assert "config.json is missing" in checked.stdout
    hub.asked.clear()
    assert job.run().returncode == 0
    assert [path for path, _ in hub.asked] == ["config.json"]


@pytest.mark.parametrize("name", ["model-00001-of-00002.safetensors", "config.json"])
def test_a_byte_that_flipped_on_the_disk_is_found_by_reading_and_then_fetched_alone(
    fetch: Callable[..., Fetch], hub: FakeHub, name: str
) -> None:
    job = fetch()
    job.run()
    file = job.folder / name
    file.write_bytes(bytes([file.read_bytes()[0] ^ 1]) + file.read_bytes()[1:])
    assert job.run("--check").returncode == 0  # nobody has read it yet
    read = job.run("--rehash")
    assert read.returncode == 0, read.stderr
    assert f"{name} is damaged" in read.stdout
    assert f"damaged: 1 of {len(FILES)} files" in read.stdout
    checked = job.run("--check")
    assert checked.returncode == 3
    assert f"{name} is damaged" in checked.stdout
    hub.asked.clear()
    assert job.run().returncode == 0
    assert [path for path, _ in hub.asked] == [name]
    assert job.files() == FILES
    assert job.run("--check").returncode == 0


def test_reading_again_finds_nothing_in_sound_files_and_forgets_damage_that_was_healed(
    fetch: Callable[..., Fetch],
) -> None:
    job = fetch()
    assert job.run("--rehash").returncode == 1  # nothing was fetched: nothing to compare with
    job.run()
    file = job.folder / "model-00002-of-00002.safetensors"
    sound = file.read_bytes()
    file.write_bytes(b"S" + sound[1:])
    job.run("--rehash")
    file.write_bytes(sound)
    assert f"damaged: 0 of {len(FILES)} files" in job.run("--rehash").stdout
    assert job.run("--check").returncode == 0


def test_a_disk_too_small_is_refused_before_the_first_byte(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    hub.sizes["model-00001-of-00002.safetensors"] = 1 << 60
    job = fetch()
    done = job.run()
    assert done.returncode == 1
    assert "MiB free" in done.stderr
    assert "nothing was fetched" in done.stderr
    assert hub.asked == []


def test_the_free_space_of_the_spec_is_kept(fetch: Callable[..., Fetch], hub: FakeHub) -> None:
    job = fetch()
    assert "--min-free-gib" in job.words
    at = job.words.index("--min-free-gib") + 1
    greedy = replace(job, words=(*job.words[:at], "1000000000", *job.words[at + 1 :]))
    done = greedy.run()
    assert done.returncode == 1
    assert "1000000000 GiB shall stay free" in done.stderr
    assert hub.asked == []


def test_a_gated_model_without_token_says_what_to_do(
    fetch: Callable[..., Fetch], hub: FakeHub
) -> None:
    hub.token = "hf_secret"
    done = fetch().run()
    assert done.returncode == 1
    assert "HTTP 401" in done.stderr
    assert "token_env" in done.stderr


def test_a_gated_model_is_fetched_with_the_token_file(
    fetch: Callable[..., Fetch], hub: FakeHub, host: Host
) -> None:
    hub.token = "hf_secret"
    host.file("/token", "Authorization: Bearer hf_secret\n", 0o600)
    job = fetch(token_env="HUB_TOKEN")
    assert "hf_secret" not in " ".join(job.words)
    done = job.run()
    assert done.returncode == 0, done.stderr
    assert job.files() == FILES
    assert "hf_secret" not in done.stdout + done.stderr


def test_a_revision_the_hub_does_not_have_says_so(fetch: Callable[..., Fetch]) -> None:
    done = fetch(revision="f" * 40).run()
    assert done.returncode == 1
    assert "HTTP 404" in done.stderr


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "a\tb", "a\\b"])
def test_a_path_that_leaves_the_folder_is_refused(
    fetch: Callable[..., Fetch], hub: FakeHub, path: str
) -> None:
    hub.files[path] = b"x"
    done = fetch().run()
    assert done.returncode == 1
    assert "unsafe path" in done.stderr
    assert hub.asked == []


def test_two_fetches_into_one_folder_exclude_each_other(
    fetch: Callable[..., Fetch],
) -> None:
    job = fetch()
    job.folder.mkdir(parents=True)
    with (job.folder / ".rigspec-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = job.run()
    assert done.returncode == 1
    assert "another fetch" in done.stderr


def test_each_revision_has_a_folder_of_its_own(make_rig: Callable[..., Rig]) -> None:
    def folder(revision: str) -> str:
        model = {"hub": NAME, "revision": revision, "storage": "weights"}
        return plan_models(make_rig(models={"fetched": model}))[1].directory

    assert folder(COMMIT) == "/srv/models/acme--tiny@0123456789ab"
    assert folder("f" * 40) != folder(COMMIT)
    assert "/" not in folder("refs/pr/1").rpartition("@")[2]
