"""The probes behind a deploy's comparisons, run by a real sh, and their parsers."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path
from typing import Any

import pytest

from rigspec.facts.base import Quiet, one_script
from rigspec.facts.boot import Boot, arguments
from rigspec.facts.files import Files
from rigspec.facts.managed import Probe, apt_probe, parse_apt, parse_units
from rigspec.facts.services import ServiceQuestion, ServiceStage
from rigspec.facts.smoke import ask, header_pipe, parse_answers
from rigspec.facts.stage import Stage
from rigspec.facts.storage import StorageStage
from rigspec.observed.sections import split_sections
from rigspec.plan.rig import plan_rig
from rigspec.plan.sections import ServicePlan
from rigspec.rules.run import check_file


def sections(name: str, text: str) -> dict[str, list[str]]:
    return split_sections(f"##RIG {name}\n{text}\n##RIG-END\n")


def ask_host(fact: Any, **kwargs: Any) -> Any:
    """Run the fact's command here and parse what it prints, as pyinfra does."""
    instance = fact()
    done = subprocess.run(
        ["sh", "-c", str(instance.command(**kwargs))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return instance.process(done.stdout.splitlines())


def test_files_are_read_with_mode_time_and_hash_and_absent_ones_are_missing(tmp_path: Path) -> None:
    file = tmp_path / "it's a file"
    file.write_text("hello\n")
    file.chmod(0o600)
    seen = ask_host(Files, paths=(str(file), str(tmp_path), str(tmp_path / "absent")))
    assert set(seen) == {str(file), str(tmp_path)}
    assert seen[str(file)].mode == "600"
    assert seen[str(file)].sha256 == hashlib.sha256(b"hello\n").hexdigest()
    assert seen[str(file)].modified == int(file.stat().st_mtime)
    assert seen[str(tmp_path)].sha256 is None


def test_whole_files_are_read_for_merging(tmp_path: Path) -> None:
    file = tmp_path / "daemon.json"
    file.write_text('{"a": 1,\n "b": "x:y"}\n')
    seen = ask_host(Stage, texts=(str(file), str(tmp_path / "absent")))
    assert seen.texts == {str(file): '{"a": 1,\n "b": "x:y"}\n'}


def test_stage_without_questions_is_empty() -> None:
    seen = ask_host(Stage)
    assert (seen.files, seen.units, seen.texts) == ({}, {}, {})


APT = """\
p ii |nvidia-open|595.71.05-1
p hi |nvidia-driver-cuda|595.71.05-1
p iF |nvidia-kernel-open-dkms|595.71.05-1
p rc |nvidia-driver|550.163.01-2
p un |cuda-drivers|
key /usr/share/keyrings/rigspec-nvidia.asc EB693B3035CD5710E231E123A4B469963BF863CC
stale /etc/apt/sources.list.d/rigspec-nvidia.sources"""


def test_package_states_holds_keys_and_unread_sources_are_told_apart() -> None:
    seen = parse_apt(sections("apt", APT))
    installed = {name: p.installed for name, p in seen.packages.items()}
    assert installed == {
        "nvidia-open": True,
        "nvidia-driver-cuda": True,
        "nvidia-kernel-open-dkms": False,
        "nvidia-driver": False,
        "cuda-drivers": False,
    }
    assert [name for name, p in seen.packages.items() if p.held] == ["nvidia-driver-cuda"]
    assert seen.broken  # half configured
    assert seen.fingerprints == {
        "/usr/share/keyrings/rigspec-nvidia.asc": ("EB693B3035CD5710E231E123A4B469963BF863CC",)
    }
    assert seen.lists_stale == ("/etc/apt/sources.list.d/rigspec-nvidia.sources",)


def test_dpkg_is_asked_in_the_form_that_is_parsed() -> None:
    script = str(one_script([apt_probe(["dpkg", "no-such-package"])]))
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    seen = parse_apt(split_sections(done.stdout))
    assert seen.packages["dpkg"].installed
    assert "no-such-package" not in seen.packages


SHOW = """\
Id=rigspec-power.service
LoadState=loaded
ActiveState=active
SubState=exited
UnitFileState=enabled
NeedDaemonReload=no
Result=success
StateChangeTimestamp=@1764000000

Id=rigspec-new.service
LoadState=not-found
ActiveState=inactive
SubState=dead
UnitFileState=
NeedDaemonReload=no
Result=success
StateChangeTimestamp="""


def test_units_are_told_apart_and_a_unit_that_never_ran_has_no_time() -> None:
    seen = parse_units(sections("units", SHOW))
    power, new = seen["rigspec-power.service"], seen["rigspec-new.service"]
    assert (power.is_active, power.is_enabled, power.since) == (True, True, 1764000000)
    assert (new.is_active, new.is_enabled, new.since) == (False, False, 0)


BOOT = """\
boot_id 1b4e28ba
kernel 6.12.117
cmdline BOOT_IMAGE=/boot/vmlinuz ro iommu=pt
grub \tlinux\t/boot/vmlinuz-6.12 root=UUID=x ro iommu=pt "pci=disable_acs_redir=0000:00:10.0;a"
grub-stale /etc/default/grub
smi NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.
param nvidia_uvm.uvm_disable_hmm=Y
owed kernel arguments have changed"""


def test_the_next_boot_is_read_off_grub_with_its_quotes_undone() -> None:
    seen = Boot().parse(sections("boot", BOOT))
    assert seen.grub is not None
    assert seen.grub[-2:] == ("iommu=pt", "pci=disable_acs_redir=0000:00:10.0;a")
    assert seen.grub[0] == "root=UUID=x"
    assert seen.grub_stale
    assert not seen.initrd_stale
    assert seen.parameters == {"nvidia_uvm.uvm_disable_hmm": "Y"}
    assert seen.smi.startswith("NVIDIA-SMI has failed")
    assert seen.owed == ("kernel arguments have changed",)
    assert (seen.driver_loaded, seen.nouveau) == (None, False)


def test_a_kernel_line_with_an_open_quote_is_still_words() -> None:
    assert arguments('a "b c') == ("a", '"b', "c")


def test_a_model_is_complete_when_its_script_says_so(tmp_path: Path) -> None:
    script = tmp_path / "fetch"
    script.write_text('#!/bin/sh\n[ "$1" = good ] && [ "$2" = --check ] || exit 3\n')
    script.chmod(0o755)
    seen = ask_host(
        StorageStage,
        models=(
            ("good", str(tmp_path), (str(script), "good")),
            ("bad", str(tmp_path), (str(script), "bad")),
            ("gone", str(tmp_path / "gone"), ()),
        ),
    )
    assert (seen.models["good"].exists, seen.models["good"].complete) == (True, True)
    assert (seen.models["bad"].exists, seen.models["bad"].complete) == (True, False)
    assert "gone" not in seen.models


def test_the_start_record_of_a_service_is_read_by_path(tmp_path: Path) -> None:
    record = tmp_path / "glm.started"
    record.write_text(f"{'a' * 64}  etc/rigspec/gpus.env\n{'b' * 64}  /usr/local/x\n")
    question = ServiceQuestion("rigspec-glm.service", str(record), "")
    seen = ask_host(ServiceStage, questions=(question,))
    assert seen.started == {
        "rigspec-glm.service": {"/etc/rigspec/gpus.env": "a" * 64, "/usr/local/x": "b" * 64}
    }


@pytest.fixture(scope="module")
def service() -> ServicePlan:
    rig = check_file("rigs/home.yaml").rig
    assert rig is not None
    return plan_rig(rig).services[0]


@pytest.mark.parametrize(
    ("line", "written", "key"),
    [
        ("VLLM_API_KEY={}", "VLLM_API_KEY=s3/c&ret", "s3/c&ret"),
        ("api-key: '{}'", "api-key: 'it''s'", "it's"),
    ],
    ids=["environment", "yaml"],
)
def test_the_key_reaches_curl_through_a_pipe(
    tmp_path: Path, service: ServicePlan, line: str, written: str, key: str
) -> None:
    from dataclasses import replace

    secret = tmp_path / "secret"
    secret.write_text(written + "\n")
    with_key = replace(service, secret_path=str(secret), secret_line=line)
    text = f"{header_pipe(with_key)}cat"
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert done.stdout == f"Authorization: Bearer {key}\n"
    assert key not in ask(with_key, "/v1/models", 5, None)


def test_a_silent_service_is_not_the_same_as_one_that_need_not_run(service: ServicePlan) -> None:
    silent = sections("models-glm", "curl: (7) refused\n##RIG-EXIT 7 curl")
    asleep = sections("models-glm", "##RIG-ABSENT unit")
    assert parse_answers(asleep, service) is None
    said = parse_answers(silent, service)
    assert said is not None
    assert "refused" in said.models.reason  # type: ignore[union-attr]


def test_long_arguments_are_not_printed_when_a_fact_fails() -> None:
    assert repr(Quiet(("a" * 1000,))) == str(Quiet(("b",))) == "(1 items)"


def test_probe_names_are_checked() -> None:
    with pytest.raises(ValueError, match="section name"):
        one_script([Probe("no blanks", "true")])
