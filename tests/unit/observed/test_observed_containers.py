"""Container engines, containers, images and CDI: absent and unreadable are two things."""

from __future__ import annotations

import json

from rigspec.observed import containers, units
from rigspec.observed.record import Unknown

DOCKER_INFO = (
    '{"ServerVersion":"29.7.2","Driver":"overlay2","CgroupDriver":"systemd",'
    '"Runtimes":{"runc":{},"nvidia":{}},"CDISpecDirs":["/etc/cdi","/var/run/cdi"],'
    '"LiveRestoreEnabled":false}'
)


def test_engine_of_docker_podman_and_a_dead_daemon() -> None:
    docker = containers.parse_engine("WARNING: bridge-nf-call-iptables is disabled\n" + DOCKER_INFO)
    assert not isinstance(docker, Unknown)
    assert (docker.version, docker.runtimes) == ("29.7.2", ("nvidia", "runc"))
    assert docker.cdi_spec_dirs == ("/etc/cdi", "/var/run/cdi")
    podman = containers.parse_engine(
        '{"host":{"cgroupManager":"systemd"},"version":{"Version":"5.4.2"},"store":{}}'
    )
    assert not isinstance(podman, Unknown) and podman.version == "5.4.2"
    dead = containers.parse_engine(
        '{"ServerVersion":"","Runtimes":null}\nCannot connect to the Docker daemon at unix:///x'
    )
    assert not isinstance(dead, Unknown)
    assert isinstance(dead.version, Unknown) and "annot connect" in dead.version.line


CONTAINER = """[{"Id":"f00","Name":"/rigspec-main","Image":"sha256:1e",
"State":{"Status":"running","ExitCode":0,"OOMKilled":false,"Health":{"Status":"healthy"},
"StartedAt":"2026-11-24T18:00:00Z"},"RestartCount":0,
"HostConfig":{"Binds":["/srv/models:/models:ro"],"IpcMode":"host","ShmSize":67108864,
"Devices":[],"DeviceRequests":[{"Driver":"cdi","DeviceIDs":["nvidia.com/gpu=GPU-5eed0000"]}],
"RestartPolicy":{"Name":"no"}},
"Config":{"Image":"vllm/vllm-openai@sha256:ab","Cmd":["--model","/models/q"],"Env":["A=1"],
"Labels":{"rigspec.plan":"abc"}},
"NetworkSettings":{"Ports":{"8000/tcp":[{"HostIp":"127.0.0.1","HostPort":"8000"}]}}}]"""


def test_container_inspect() -> None:
    found = containers.parse_containers(CONTAINER)
    assert not isinstance(found, Unknown)
    (container,) = found
    assert (container.name, container.state, container.health) == (
        "rigspec-main",
        "running",
        "healthy",
    )
    assert container.devices == ("nvidia.com/gpu=GPU-5eed0000",)
    assert container.ports == ("127.0.0.1:8000->8000/tcp",)
    assert container.labels == {"rigspec.plan": "abc"} and container.shm_bytes == 64 << 20


def test_absent_container_and_broken_inspect() -> None:
    for said in ("[]\nError: No such container: x", "Error: No such container: x\n[]"):
        assert containers.parse_containers(said) == ()
    assert containers.parse_images("Error response from daemon: No such image: x") == ()
    for end in range(1, len(CONTAINER) - 1):
        assert isinstance(containers.parse_containers(CONTAINER[:end]), Unknown)
    denied = containers.parse_containers("permission denied while trying to connect")
    assert isinstance(denied, Unknown) and "denied" in denied.line


def test_image_inspect() -> None:
    images = containers.parse_images(
        '[{"Id":"sha256:1e","RepoTags":["vllm/vllm-openai:v0.20"],"Size":123,'
        '"RepoDigests":["vllm/vllm-openai@sha256:ab"],"Architecture":"amd64","Config":null}]'
    )
    assert not isinstance(images, Unknown)
    assert images[0].digests == ("vllm/vllm-openai@sha256:ab",) and images[0].size_bytes == 123


def test_cdi_list_and_stale_file() -> None:
    cdi = containers.parse_cdi_probe(
        {
            "cdi": [
                'time="2026-11-24T18:00:00Z" level=info msg="Found 3 CDI devices"',
                "nvidia.com/gpu=0",
                "nvidia.com/gpu=GPU-5eed0000-0001",
                "nvidia.com/gpu=all",
            ],
            "cdi-files": ["/etc/cdi/nvidia.yaml", "/var/run/cdi/nvidia.yaml"],
        }
    )
    assert cdi.devices == (
        "nvidia.com/gpu=0",
        "nvidia.com/gpu=GPU-5eed0000-0001",
        "nvidia.com/gpu=all",
    )
    assert len(cdi.spec_files) == 2
    assert isinstance(
        containers.parse_cdi_probe({"cdi": ["##RIG-ABSENT nvidia-ctk"]}).devices, Unknown
    )


def test_docker_info_for_people_says_what_its_json_says() -> None:
    engine = containers.parse_engine(
        "Client: Docker Engine - Community\n Version:    28.3.0\nServer:\n Containers: 2\n"
        " Server Version: 28.3.0\n Storage Driver: overlay2\n  Backing Filesystem: extfs\n"
        " Cgroup Driver: systemd\n Runtimes: io.containerd.runc.v2 nvidia runc\n"
        " CDI spec directories:\n  /etc/cdi\n  /var/run/cdi\n Swarm: inactive\n"
        " Live Restore Enabled: false\n"
    )
    assert engine == containers.Engine(
        "28.3.0",
        ("io.containerd.runc.v2", "nvidia", "runc"),
        ("/etc/cdi", "/var/run/cdi"),
        "systemd",
        "overlay2",
    )
    assert isinstance(containers.parse_engine("Cannot connect to the Docker daemon.\n"), Unknown)
    cut = containers.parse_engine(" Live Restore Enabled: true\n Server Version:")
    assert not isinstance(cut, Unknown)
    assert (cut.version, cut.live_restore) == (Unknown("the line was cut", "Server Version:"), True)


def test_secrets_are_hidden_and_their_names_stay() -> None:
    leaking = CONTAINER.replace('"--model","/models/q"', '"--api-key","sk-planted","--port","1"')
    leaking = leaking.replace('"A=1"', '"HF_TOKEN=hf_planted","VLLM_API_KEY=sk-planted","A=1"')
    found = containers.parse_containers(leaking)
    assert not isinstance(found, Unknown)
    assert found[0].command == ("--api-key", "(hidden)", "--port", "1")
    assert found[0].env == ("HF_TOKEN=(hidden)", "VLLM_API_KEY=(hidden)", "A=1")
    assert "planted" not in json.dumps(found[0].to_json())
    unit = units.parse_units("Id=a.service\nEnvironment=HF_TOKEN=planted B=2\n")["a.service"]
    assert unit.properties["Environment"] == "HF_TOKEN=(hidden) B=2"
