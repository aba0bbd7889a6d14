"""The daily script over a folder that stands for a host. Simulated driver, systemd and server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from plan_bench import Host

from rigspec.plan.binding import BoundCard, gpus_table
from rigspec.plan.daily import DAILY_TABLE, DAILY_TIMER
from rigspec.plan.rig import all_files, plan_rig
from rigspec.plan.sections import Plan
from rigspec.spec.rig import Rig

UUIDS = tuple(f"GPU-{n * 8}-0000-4000-8000-{n * 12}" for n in "12")
ANSWER = '{"choices": [{"message": {"content": "Yes"}}], "usage": {"completion_tokens": 3}}'
FETCHED = f"/srv/models/x--y@{'b' * 12}"
NVRM = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.71.05  Release Build  (x)\n"
SYSTEMCTL = """\
shift
case $1 in
is-active) ! grep -qx "$2" "$STATE/stopped" 2>/dev/null ;;
is-enabled) ! grep -qx "$2" "$STATE/disabled" 2>/dev/null ;;
*) exit 9 ;;
esac"""
CURL = """\
printf '%s\\n' "$*" >>"$STATE/asked"
case "$*" in *'-H @-'*) cat >>"$STATE/headers" ;; esac
[ ! -e "$STATE/frozen" ] || { echo 'curl: (28) Operation timed out'; exit 28; }
cat "$STATE/answer" """


@pytest.fixture
def plan(make_rig: Callable[..., Rig]) -> Plan:
    return plan_rig(
        make_rig(
            verify={"daily": "true"},
            gpus={"main": {"power_limit_w": "290"}},
            pcie={"acs": "off_on_gpu_paths", "width": "16"},
            services={
                "chat": {"api_key_env": "KEY", "mounts": {"/srv/templates": "/templates"}},
            },
            models={"fetched": {"hub": "x/y", "revision": "b" * 40, "storage": "weights"}},
        )
    )


def smi(host: Host, **changes: str) -> None:
    cells = {"driver": "595.71.05", "watts": "290.00", "width": "16", "count": "2"} | changes
    rows = [
        f"{uuid}, {cells['driver']}, {cells['watts']}, 350.00, {cells['width']}"
        for uuid in UUIDS[: int(cells["count"])]
    ]
    host.file("/rows", "\n".join(rows) + "\n")
    host.stub("nvidia-smi", 'cat "$STATE/rows"')


@pytest.fixture
def converged(host: Host, plan: Plan) -> Host:
    for file in all_files(plan):
        host.file(file.dest, file.content, int(file.mode, 8))
    cards = tuple(BoundCard(f"main.{n}", u, f"0000:0{n + 1}:00.0") for n, u in enumerate(UUIDS))
    host.file("/etc/rigspec/gpus.tsv", gpus_table("bench", cards))
    host.file("/etc/rigspec/secrets/chat.env", "VLLM_API_KEY=sk-4711-0815\n", 0o600)
    host.file("/srv/models/tiny/config.json", "{}")
    host.file(f"{FETCHED}/.rigspec-manifest", "rigspec-manifest\t1\n")
    host.file("/srv/templates/chat.jinja", "")
    host.file("/proc/cmdline", f"BOOT_IMAGE=/vmlinuz ro {' '.join(plan.kernel.arguments)} quiet\n")
    host.file("/proc/driver/nvidia/version", NVRM)
    host.file("/answer", ANSWER)
    # the real script needs a fabric: its own tests cover it
    host.stub("acs-said", "true")
    smi(host)
    host.stub("systemctl", SYSTEMCTL)
    host.stub("curl", CURL)
    return host


def look(host: Host, plan: Plan) -> tuple[int, str, str]:
    """Status, what the journal gets, the metrics."""
    assert plan.daily is not None
    script = plan.daily.files[0].content
    acs = "if said=$(acs-said 2>&1); then"
    script = script.replace('if said=$("$root$1" --check 2>&1); then', acs)
    assert acs in script
    done = host.run(script)
    metrics = host.root / plan.daily.metrics_path.lstrip("/")
    return done.returncode, done.stderr, metrics.read_text() if metrics.exists() else ""


def test_a_host_as_planned_says_nothing_and_writes_metrics(converged: Host, plan: Plan) -> None:
    status, said, metrics = look(converged, plan)
    assert (status, said) == (0, "")
    assert 'rigspec_drift_check{rig="bench",check="service.token",subject="chat"} 1' in metrics
    assert 'rigspec_drift_check{rig="bench",check="pcie.width",subject="main.1"} 1' in metrics
    assert 'rigspec_drift_exit_code{rig="bench"} 0' in metrics
    assert " 0\n" not in metrics.replace('exit_code{rig="bench"} 0\n', "")
    assert plan.daily is not None
    file = converged.root / plan.daily.metrics_path.lstrip("/")
    assert file.stat().st_mode & 0o777 == 0o644
    assert list(file.parent.iterdir()) == [file]  # the new one was moved over the old one


def test_every_sample_is_of_the_text_format(converged: Host, plan: Plan) -> None:
    from rigspec.observed.endpoint import Metrics, parse_metrics

    _, _, metrics = look(converged, plan)
    samples = [line for line in metrics.splitlines() if line and not line.startswith("#")]
    parsed = parse_metrics(metrics)
    assert isinstance(parsed, Metrics)
    assert len(parsed.samples) == len(samples) > 10


def test_the_key_goes_through_a_pipe(converged: Host, plan: Plan) -> None:
    look(converged, plan)
    headers = (converged.root / "headers").read_text()
    assert headers == "Authorization: Bearer sk-4711-0815\n"
    assert "sk-4711" not in (converged.root / "asked").read_text()


def edit(host: Host) -> None:
    host.file("/usr/local/lib/rigspec/power", "#!/bin/sh\n", 0o755)


def remove(host: Host) -> None:
    (host.root / "etc/rigspec/power.tsv").unlink()


def boot_another_entry(host: Host) -> None:
    host.file("/proc/cmdline", "ro quiet\n")


def upgrade_half(host: Host) -> None:
    smi(host, driver="595.84")


def freeze(host: Host) -> None:
    host.file("/frozen", "")


def answer_nothing(host: Host) -> None:
    host.file("/answer", ANSWER.replace("3}", "0}"))


def lose_driver(host: Host) -> None:
    host.stub(
        "nvidia-smi", "echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18"
    )


def set_acs(host: Host) -> None:
    host.stub("acs-said", "echo 'rigspec-acs: the bridge 0000:41:00.0 redirects traffic'; exit 1")


def lose(path: str) -> Callable[[Host], None]:
    def spoil(host: Host) -> None:
        place = host.root / path.lstrip("/")
        place.rename(place.with_name(f"{place.name}.away"))

    return spoil


DRIFT: dict[str, tuple[Callable[[Host], object], str]] = {
    "edited file": (edit, "/usr/local/lib/rigspec/power was edited"),
    "removed file": (remove, "/etc/rigspec/power.tsv is gone"),
    "file mode": (
        lambda host: (host.root / "etc/rigspec/power.tsv").chmod(0o600),
        "has mode 600, planned is 644",
    ),
    "boot entry": (boot_another_entry, "the kernel was started without"),
    "half an upgrade": (upgrade_half, "module is 595.71.05, its library 595.84"),
    "driver silent": (lose_driver, "nvidia-smi does not answer: Failed to initialize NVML"),
    "second writer": (
        lambda host: smi(host, watts="350.00"),
        "main.0 enforces 350 W, planned is 290",
    ),
    "lost lanes": (lambda host: smi(host, width="8"), "main.0 has 8 lanes, planned is 16"),
    "missing card": (lambda host: smi(host, count="1"), "the card main.1 (GPU-2222"),
    "acs": (set_acs, "the bridge 0000:41:00.0 redirects traffic"),
    "unit stopped": (
        lambda host: host.file("/stopped", "rigspec-power.service\n"),
        "rigspec-power.service is not active",
    ),
    "unit disabled": (
        lambda host: host.file("/disabled", "rigspec-chat.service\n"),
        "rigspec-chat.service is disabled",
    ),
    "timer stopped": (
        lambda host: host.file("/stopped", f"{DAILY_TIMER}\n"),
        "timer is not active",
    ),
    "weights gone": (lose("/srv/models/tiny"), "tiny are not there: /srv/models/tiny is gone"),
    "manifest gone": (lose(f"{FETCHED}/.rigspec-manifest"), "fetched are not there: "),
    "weights damaged": (
        lambda host: host.file(f"{FETCHED}/.rigspec-damaged", "sha256:0\tmodel.safetensors\n"),
        "the weights of fetched are damaged",
    ),
    "mounted folder gone": (lose("/srv/templates"), "/srv/templates, which a service mounts"),
    "key for everybody": (
        lambda host: (host.root / "etc/rigspec/secrets/chat.env").chmod(0o644),
        "chat.env has mode and owner 644",
    ),
    "frozen server": (freeze, "chat gives no token: curl: (28)"),
    "empty answer": (answer_nothing, "chat gives no token"),
}


@pytest.mark.parametrize("fault", DRIFT)
def test_each_drift_is_said_and_counted(fault: str, converged: Host, plan: Plan) -> None:
    spoil, words = DRIFT[fault]
    spoil(converged)
    status, said, metrics = look(converged, plan)
    assert status == 1
    assert words in said
    assert all(line.startswith("rigspec-drift: drift: ") for line in said.splitlines())
    assert 'rigspec_drift_exit_code{rig="bench"} 1' in metrics
    assert any(line.endswith("} 0") for line in metrics.splitlines() if "_check{" in line)


UNREAD: dict[str, tuple[Callable[[Host], object], str]] = {
    "no cell": (lambda host: smi(host, watts="[N/A]"), "nvidia-smi says '[N/A]'"),
    "no module": (
        lambda host: host.file("/proc/driver/nvidia/version", "nothing\n"),
        "names no version",
    ),
    "unbound": (lambda host: host.file("/etc/rigspec/gpus.tsv", "#\n"), "no card is bound"),
}


@pytest.mark.parametrize("what", UNREAD)
def test_what_cannot_be_read_is_no_drift_and_no_pass(
    what: str, converged: Host, plan: Plan
) -> None:
    spoil, words = UNREAD[what]
    spoil(converged)
    status, said, metrics = look(converged, plan)
    assert status == 3
    assert words in said
    assert 'rigspec_drift_exit_code{rig="bench"} 3' in metrics


def test_without_its_table_it_says_what_to_do(converged: Host, plan: Plan) -> None:
    (converged.root / DAILY_TABLE.lstrip("/")).unlink()
    status, said, _ = look(converged, plan)
    assert status == 3
    assert "run the rigspec deploy" in said


def test_metrics_that_cannot_be_written_do_not_hide_the_result(converged: Host, plan: Plan) -> None:
    edit(converged)
    converged.file("/var/lib/rigspec/metrics", "a file where a folder belongs")
    status, said, _ = look_without_metrics(converged, plan)
    assert status == 1
    assert "cannot be written" in said


def look_without_metrics(host: Host, plan: Plan) -> tuple[int, str, str]:
    assert plan.daily is not None
    script = plan.daily.files[0].content.replace('"$root$1" --check', "acs-said")
    done = host.run(script)
    return done.returncode, done.stderr, ""


def test_a_service_that_stands_back_is_not_missed(
    host: Host, make_rig: Callable[..., Rig], tmp_path: Path
) -> None:
    other = {
        "engine": "vllm", "image": "registry.test/vllm@sha256:" + "b" * 64, "model": "tiny",
        "gpus": ["main"], "tensor_parallel_size": "2", "listen": {"port": "8001"},
        "instead_of": ["chat"],
    }  # fmt: skip
    plan = plan_rig(make_rig(verify={"daily": "true"}, services={"other": other}))
    for file in all_files(plan):
        host.file(file.dest, file.content, int(file.mode, 8))
    host.stub("nvidia-smi", "exit 1")
    host.stub("systemctl", SYSTEMCTL)
    host.stub("curl", CURL)
    host.file("/answer", ANSWER)
    host.file("/stopped", "rigspec-chat.service\n")
    assert "rigspec-chat.service" not in look(host, plan)[1]
    host.file("/stopped", "rigspec-chat.service\nrigspec-other.service\n")
    assert "rigspec-chat.service is not active" in look(host, plan)[1]


def test_a_rig_without_the_field_has_nothing_of_it(make_rig: Callable[..., Rig]) -> None:
    plan = plan_rig(make_rig())
    assert plan.daily is None
    assert not [file.dest for file in all_files(plan) if "drift" in file.dest]
