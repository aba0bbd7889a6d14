from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from rigspec.errors import LabError
from rigspec.lab import home, hosttools
from rigspec.lab.disk import Volumes
from rigspec.lab.keeper import KeeperPlan
from rigspec.lab.machine import MachineConfig, machine_argv
from rigspec.lab.qemu_args import config_edits
from rigspec.lab.rootfs import Installation
from rigspec.lab.simulated.model import ANSWER, simulated_checkpoint, write_gguf
from rigspec.lab.topology import MachineTree

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RIGSPEC_LAB_HOME", str(tmp_path))
    return tmp_path


def test_a_missing_tool_is_said_with_the_line_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hosttools, "find_command", lambda name: None)
    with pytest.raises(LabError) as caught:
        hosttools.need("mmdebstrap", "mke2fs")
    assert "`mmdebstrap` (bootstraps the Debian images)" in caught.value.message
    assert caught.value.hint == "sudo apt-get install --no-install-recommends e2fsprogs mmdebstrap"


def test_the_set_up_script_installs_what_the_lab_needs() -> None:
    listed = (REPOSITORY / "scripts" / "packages.txt").read_text().split()
    assert set(hosttools.debian_packages()) <= set(listed)


def test_a_failing_command_is_told_with_its_last_words() -> None:
    script = "import sys; sys.exit('the disk is full')"
    with pytest.raises(LabError, match=r"making it: .* ended with 1\nthe disk is full"):
        hosttools.run((sys.executable, "-c", script), doing="making it")


def test_a_build_happens_once_for_equal_inputs(lab: Path) -> None:
    built: list[Path] = []

    def build(folder: Path) -> None:
        built.append(folder)
        (folder / "file").write_text("x")

    first = home.cached("thing", {"a": 1}, build)
    assert home.cached("thing", {"a": 1}, build) == first
    assert home.cached("thing", {"a": 2}, build) != first
    assert len(built) == 2
    assert (first / "file").exists()


def test_a_build_that_fails_leaves_nothing(lab: Path) -> None:
    def build(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise LabError("power cut")

    with pytest.raises(LabError, match="power cut"):
        home.cached("thing", {}, build)
    assert list((lab / "cache" / "thing").iterdir()) == []


def test_a_keeper_plan_survives_its_file(tmp_path: Path, switch4: MachineTree) -> None:
    plan = KeeperPlan(("qemu",), ("server",), config_edits(switch4))
    plan.save(tmp_path)
    assert KeeperPlan.load(tmp_path) == plan


def test_the_guest_reaches_nothing_but_the_lab(
    lab: Path, switch4: MachineTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rigspec.lab.machine.qemu", lambda: Path("/qemu"))
    config = MachineConfig(switch4, Path("/base"), server=("server",), forwards=(8000,))
    argv = machine_argv(config, {"ssh": 2222, "server": 3333, "8000": 4444})
    network = argv[argv.index("-netdev") + 1]
    assert "restrict=on" in network
    assert "hostfwd=tcp:127.0.0.1:2222-:22" in network
    assert "hostfwd=tcp:127.0.0.1:4444-:8000" in network
    assert "guestfwd=tcp:10.0.2.100:80-cmd:socat - TCP:127.0.0.1:3333" in network


def test_the_installed_system_names_no_mirror_of_its_host() -> None:
    sources = Installation().files["/etc/apt/sources.list.d/debian.sources"]
    assert "URIs: http://lab.rigspec.internal/debian\n" in sources


def test_the_installed_system_lacks_what_rigspec_has_to_install() -> None:
    packages = Installation().packages
    assert not {"python3", "pciutils", "curl", "jq", "gpg"} & set(packages)


def test_fstab_names_the_file_systems_by_identity() -> None:
    volumes = Volumes.named_after("image")
    assert volumes == Volumes.named_after("image")
    assert volumes.fstab(uefi=False).startswith(f"UUID={volumes.root_uuid} / ext4")
    assert "/boot/efi vfat" in volumes.fstab(uefi=True)


def test_the_known_answer_model_walks_through_its_answer(tmp_path: Path) -> None:
    """Follow the greedy path by hand: one-hot embedding times output matrix."""
    import numpy as np
    from gguf import GGUFReader

    write_gguf(tmp_path / "m.gguf")
    reader = GGUFReader(tmp_path / "m.gguf")
    tensors = {tensor.name: np.array(tensor.data) for tensor in reader.tensors}
    field = reader.fields["tokenizer.ggml.tokens"]
    tokens = [bytes(field.parts[i]).decode() for i in field.data]
    said, token = [], 3 + ord("?")
    for _ in range(8):
        logits = tensors["output.weight"] @ tensors["token_embd.weight"][token]
        token = int(np.argmax(logits))
        if tokens[token] == "</s>":
            break
        said.append(tokens[token].replace("\u2581", " "))
    assert "".join(said) == ANSWER


def test_a_simulated_checkpoint_is_well_formed_and_says_so() -> None:
    files = simulated_checkpoint({"num_hidden_layers": 48})
    config = json.loads(files["config.json"])
    assert config["num_hidden_layers"] == 48
    assert config["architectures"]
    shard = files["model-00001-of-00001.safetensors"]
    length = int.from_bytes(shard[:8], "little")
    assert json.loads(shard[8 : 8 + length])["__metadata__"] == {"simulated": "rigspec lab"}
