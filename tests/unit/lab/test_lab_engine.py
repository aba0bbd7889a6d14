"""The simulated engine's command line: what real vLLM and SGLang accept and refuse.

The scripts run under the host's /bin/sh with their fixed places moved into a folder; what would be
the llama.cpp server prints its arguments.
"""

from __future__ import annotations

import os
import resource
import subprocess
from pathlib import Path

import pytest

from rigspec.lab.engine import SCRIPTS


class Engine:
    """The scripts in a folder, with so many GPU nodes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for script in SCRIPTS.iterdir():
            text = script.read_text()
            for place in ("/usr/share/rigspec-lab", "/usr/bin", "/dev"):
                moved = place.rpartition("/")[2]
                text = text.replace(f"{place}/", f"{folder}/{moved}/")
                text = text.replace(f"{place}\n", f"{folder}/{moved}\n")
            where = "bin" if script.name in ("vllm", "sglang", "python3") else "rigspec-lab"
            target = folder / where / script.name
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
            target.chmod(0o755)
        server = folder / "bin" / "llama-server"
        server.write_text('#!/bin/sh\necho "KEY ${LLAMA_API_KEY:-}"\nprintf "%s\\n" "$@"\n')
        server.chmod(0o755)
        (folder / "dev").mkdir()
        model = folder / "model"
        model.mkdir()
        (model / "config.json").write_text('{"architectures": ["Test"]}')
        (model / "model.safetensors").write_bytes(b"")
        self.model = str(model)

    def run(
        self, *words: str, gpus: int = 0, env: dict[str, str] | None = None
    ) -> tuple[int, list[str], str]:
        for number in range(gpus):
            (self.folder / "dev" / f"nvidia{number}").touch()
        (self.folder / "dev" / "nvidiactl").touch()
        done = subprocess.run(
            ["/bin/sh", str(self.folder / "bin" / words[0]), *words[1:]],
            capture_output=True,
            text=True,
            env={"PATH": os.environ["PATH"], **(env or {})},
        )
        return done.returncode, done.stdout.splitlines(), done.stderr


@pytest.fixture
def engine(tmp_path: Path) -> Engine:
    return Engine(tmp_path)


def option(said: list[str], name: str) -> str:
    return said[said.index(name) + 1]


def test_a_long_command_line_is_read_in_no_time(engine: Engine) -> None:
    # emulated it takes twenty times as long, at every start of every virtual rig
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    words = [word for n in range(10) for word in ("--max-num-seqs", str(n))]
    assert engine.run("vllm", "serve", engine.model, *words, gpus=1)[0] == 0
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before < 0.5


def test_vllm_serves_under_its_first_name_on_its_port(engine: Engine) -> None:
    words = ("--served-model-name", "one", "two", "--port", "8123", "--host", "127.0.0.1")
    code, said, _ = engine.run("vllm", "serve", engine.model, *words, "-tp", "2", gpus=2)
    assert code == 0
    assert option(said, "--alias") == "one"
    assert option(said, "--port") == "8123"
    assert option(said, "--host") == "127.0.0.1"
    assert all(line.startswith("simulated engine") for line in said[: said.index("KEY ")])


def test_vllm_takes_underscores_equals_and_dotted_options(engine: Engine) -> None:
    words = ("--tensor_parallel_size=2", "--speculative-config.method", "mtp", "--port=9000")
    code, said, _ = engine.run("vllm", "serve", engine.model, *words, gpus=2)
    assert code == 0
    assert option(said, "--port") == "9000"


def test_switches_take_no_word(engine: Engine) -> None:
    words = ("--trust-remote-code", "--no-enable-prefix-caching", "--port", "8001")
    code, said, _ = engine.run("vllm", "serve", "--enforce-eager", engine.model, *words, gpus=1)
    assert code == 0
    assert option(said, "--port") == "8001"


def test_the_key_comes_from_the_environment_and_not_into_the_arguments(engine: Engine) -> None:
    code, said, _ = engine.run(
        "vllm", "serve", engine.model, gpus=1, env={"VLLM_API_KEY": "sesame"}
    )
    assert code == 0
    assert "KEY sesame" in said
    assert "sesame" not in said


@pytest.mark.parametrize(
    "words",
    [
        ("--tensor-parallel-sizes", "2"),
        ("--swap-space", "4"),
        ("--port",),
        ("--port", "many"),
        ("second-model",),
    ],
    ids=["unknown", "removed", "no-value", "not-a-number", "two-models"],
)
def test_vllm_refuses_a_wrong_command_line_as_argparse_does(
    engine: Engine, words: tuple[str, ...]
) -> None:
    code, _, said = engine.run("vllm", "serve", engine.model, *words, gpus=1)
    assert code == 2
    assert "simulated engine: vllm: error" in said


def test_a_gpu_too_few_is_refused(engine: Engine) -> None:
    words = ("--tensor-parallel-size", "2", "--pipeline-parallel-size", "2")
    code, _, said = engine.run("vllm", "serve", engine.model, *words, gpus=3)
    assert code == 1
    assert "4 GPUs are needed" in said
    assert "3 were handed over" in said


def test_a_model_that_is_not_there_is_refused(engine: Engine) -> None:
    code, _, said = engine.run("vllm", "serve", f"{engine.model}-gone", gpus=1)
    assert code == 1
    assert "no config.json" in said


def test_sglang_has_its_own_options_and_defaults(engine: Engine) -> None:
    words = ("--model-path", engine.model, "--tp-size", "2", "--served-model-name", "one")
    code, said, _ = engine.run("sglang", "serve", *words, gpus=2)
    assert code == 0
    assert option(said, "--port") == "30000"
    assert option(said, "--host") == "127.0.0.1"


def test_sglang_takes_no_underscores(engine: Engine) -> None:
    code, _, _ = engine.run("sglang", "serve", "--model_path", engine.model, gpus=1)
    assert code == 2


def test_the_python_stand_in_starts_sglang_and_nothing_else(engine: Engine) -> None:
    words = ("-m", "sglang.launch_server", "--model-path", engine.model)
    assert engine.run("python3", *words, gpus=1)[0] == 0
    code, _, said = engine.run("python3", "-c", "print(1)")
    assert code == 1
    assert "simulated engine" in said
