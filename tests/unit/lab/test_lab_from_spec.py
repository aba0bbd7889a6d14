"""A spec becomes the virtual machine it describes, and a rehearsal changes only what it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.errors import LabError
from rigspec.lab.from_spec import machine_tree, member_slots
from rigspec.lab.rehearse import Surroundings, changes, rehearse
from rigspec.lab.topology import Link, Switch, walk_ports
from rigspec.spec.driver import Repository
from rigspec.spec.gpus import GpuGroup
from rigspec.spec.load import load
from rigspec.spec.pcie import DirectSlots
from rigspec.spec.pcie import Switch as SwitchSpec
from rigspec.spec.rig import Rig

RIGS = Path(__file__).resolve().parents[3] / "rigs"
DIGEST = "127.0.0.1:48555/lab/engine@sha256:" + "a" * 64
REPOSITORY = Repository(
    url="http://lab.invalid/nvidia",
    key_url="http://lab.invalid/nvidia/key.asc",
    key_fingerprint="A" * 40,
)
LAB = Surroundings(
    ssh_port=2222,
    ssh_key="/lab/key",
    known_hosts="/lab/known_hosts",
    nvidia_repository=REPOSITORY,
    toolkit_repository=REPOSITORY,
    hub_url="http://lab.invalid/hub",
    engine_images={"vllm": DIGEST, "sglang": DIGEST, "llama_cpp": DIGEST},
)


def rig_of(name: str) -> Rig:
    rig = load(RIGS / f"{name}.yaml").rig
    assert rig is not None
    return rig


def test_home_has_four_cards_behind_one_gen4_switch() -> None:
    tree = machine_tree(rig_of("home"))
    (socket,) = tree.sockets
    (root,) = socket.ports
    assert isinstance(root.child, Switch)
    assert root.trained == Link(4, 16)
    assert [port.trained for port in root.child.downstream] == [Link(4, 16)] * 4
    assert {gpu.device_id for gpu in tree.gpus} == {0x2BB1}  # gpu-catalog: 2BB1


def test_starter_has_two_cards_at_x8_on_the_cpu() -> None:
    tree = machine_tree(rig_of("starter"))
    (socket,) = tree.sockets
    assert [port.trained for port in socket.ports] == [Link(4, 8)] * 2
    assert tree.firmware_aspm == "l1"  # the spec wants ASPM off: the firmware had better not


def test_two_sockets_and_a_cascade_keep_their_order() -> None:
    home = rig_of("home")
    inner = SwitchSpec(name="inner", generation=4, upstream_width=8, gpus=("main.3",))
    outer = SwitchSpec(
        name="outer", generation=4, gpus=("main.1", "main.2"), switches=(inner,), numa_node=1
    )
    direct = DirectSlots(gpus=("main.0",), numa_node=0)
    pcie = home.pcie.model_copy(update={"switches": (outer,), "direct": (direct,)})
    rig = home.model_copy(update={"pcie": pcie})
    tree = machine_tree(rig)
    assert member_slots(rig) == {"main.0": 0, "main.1": 1, "main.2": 2, "main.3": 3}
    assert [socket.numa_node for socket in tree.sockets] == [0, 1]
    assert [gpu.slot for gpu in tree.gpus] == [0, 1, 2, 3]
    cascade = [port for port in walk_ports(tree.sockets[1].ports) if isinstance(port.child, Switch)]
    assert [port.trained.width for port in cascade] == [16, 8]


def test_an_unknown_card_is_said() -> None:
    home = rig_of("home")
    group = GpuGroup(sku="voodoo-2", count=4)
    with pytest.raises(LabError, match="voodoo-2"):
        machine_tree(home.model_copy(update={"gpus": {"main": group}}))


def test_a_rehearsal_keeps_everything_the_owner_decides() -> None:
    home = rig_of("home")
    played = rehearse(home, machine_tree(home), LAB)
    for kept in ("kernel", "pcie", "power", "storage", "verify", "gpus", "board"):
        assert getattr(played, kept) == getattr(home, kept), kept
    before, after = home.services["glm"], played.services["glm"]
    assert after.model_copy(update={"image": before.image}) == before
    assert played.driver.branch == home.driver.branch
    assert (played.host.address, played.host.port) == ("127.0.0.1", 2222)


def test_a_rehearsal_gives_known_cards_the_virtual_uuids() -> None:
    home = rig_of("home")
    uuids = tuple(f"GPU-00000000-0000-0000-0000-00000000000{i}" for i in range(4))
    group = home.gpus["main"].model_copy(update={"uuids": uuids})
    bound = home.model_copy(update={"gpus": {"main": group}})
    tree = machine_tree(bound)
    assert rehearse(bound, tree, LAB).gpus["main"].uuids == tuple(gpu.uuid for gpu in tree.gpus)


def test_weights_come_from_the_local_hub_without_a_token() -> None:
    starter = rig_of("starter")
    model = starter.models["qwen"].model_copy(update={"token_env": "HF_TOKEN"})
    played = rehearse(
        starter.model_copy(update={"models": {"qwen": model}}), machine_tree(starter), LAB
    )
    assert played.models["qwen"].endpoint == "http://lab.invalid/hub"
    assert played.models["qwen"].token_env is None
    assert played.models["qwen"].revision == model.revision


def test_another_os_is_said_to_be_unrehearsed() -> None:
    home = rig_of("home")
    ubuntu = home.model_copy(update={"host": home.host.model_copy(update={"os": "ubuntu-24.04"})})
    assert rehearse(ubuntu, machine_tree(ubuntu), LAB).host.os == "debian-13"
    assert any("ubuntu-24.04" in line for line in changes(ubuntu))
    assert not any("debian-13" in line for line in changes(home))


@pytest.mark.parametrize(
    ("address", "played_at"),
    [("127.0.0.1", "127.0.0.1"), ("192.168.1.50", "0.0.0.0"),  # noqa: S104 - inside the VM
     ("fd00::5", "::"), ("::1", "::1"), ("1.2.3", "1.2.3")],
)  # fmt: skip
def test_an_address_of_the_owners_lan_is_not_looked_for(address: str, played_at: str) -> None:
    home = rig_of("home")
    service = home.services["glm"]
    listen = service.listen.model_copy(update={"address": address})
    moved = home.model_copy(
        update={"services": {"glm": service.model_copy(update={"listen": listen})}}
    )
    played = rehearse(moved, machine_tree(moved), LAB)
    assert played.services["glm"].listen.address == played_at
