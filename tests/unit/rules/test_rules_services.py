"""Services that share a card: what bounds an engine, and what two of them take together."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from rigspec.catalog.model_quant import Quantization, Scheme
from rigspec.catalog.models import load_model_facts
from rigspec.finding import Finding, Severity
from rigspec.report.sizing import as_text
from rigspec.report.sizing_json import rig_record
from rigspec.rules.context import CheckContext
from rigspec.rules.memory import fits as memory_fits
from rigspec.rules.memory import fits_closely
from rigspec.rules.run import check
from rigspec.rules.services import gpus_oversubscribed, gpus_shared_unbounded
from rigspec.spec.load import load_text
from rigspec.spec.rig import Rig

ROOT = Path(__file__).resolve().parents[3]
LLAMA = {"engine": "llama_cpp", "split_mode": "layer"}


def sharing(one: dict[str, Any], other: dict[str, Any]) -> Rig:
    """Two services on the cards of the starter."""
    head = (ROOT / "rigs/starter.yaml").read_text().partition("\nservices:")[0]
    common = {"model": "qwen", "gpus": ["pair"], "image": "example/engine:v1"}
    services = {
        name: common | {"listen": {"port": port}} | service
        for name, port, service in (("one", 8000, one), ("other", 8001, other))
    }
    loaded = load_text("rig.yaml", f"{head}\n{yaml.safe_dump({'services': services})}")
    assert loaded.rig is not None, loaded.findings
    return loaded.rig


def unbounded(one: dict[str, Any], other: dict[str, Any]) -> list[tuple[str, str]]:
    found = gpus_shared_unbounded(sharing(one, other), CheckContext())
    return [(finding.message, finding.hint) for finding in found]


def test_a_set_context_bounds_llama_cpp() -> None:
    bounded = LLAMA | {"context_length": 32768}
    assert unbounded(bounded, bounded) == []
    assert unbounded(bounded, {"engine": "vllm", "gpu_memory_fraction": 0.4}) == []


def test_the_hint_names_what_each_engine_is_bounded_by_and_the_other_way_out() -> None:
    ((message, hint),) = unbounded(LLAMA, {"engine": "sglang"})
    assert message.endswith("nothing bounds the memory of `one`, `other`")
    assert "`context_length` bounds `one`; `gpu_memory_fraction` bounds `other`" in hint
    assert "`instead_of: [one]` in `other`" in hint


def test_vllm_s_default_share_leaves_llama_cpp_no_room() -> None:
    ((message, hint),) = unbounded(LLAMA | {"context_length": 32768}, {"engine": "vllm"})
    assert message.endswith("nothing bounds the memory of `other`")
    assert hint.startswith("`gpu_memory_fraction` bounds `other`; or ")


def test_what_llama_cpp_takes_at_least_counts_beside_a_share() -> None:
    facts = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert facts is not None
    known = CheckContext(models={"qwen": facts})
    llama = LLAMA | {"context_length": 32768}
    (found,) = gpus_oversubscribed(
        sharing(llama, {"engine": "vllm", "gpu_memory_fraction": 0.5}), known
    )
    share = float(found.message.partition("take ")[2].split()[0])
    assert 0.5 < share < 0.65  # 28.7 GiB of weights over two cards of 23.6, and the cache
    small = {"engine": "vllm", "gpu_memory_fraction": 0.1}
    assert not list(gpus_oversubscribed(sharing(llama, small), known))


def test_no_hint_offers_more_of_a_card_than_the_other_services_leave() -> None:
    known = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert known is not None
    given = {
        name: {"engine": "vllm", "tensor_parallel_size": 2, "context_length": 8192}
        | {"gpu_memory_fraction": share}
        for name, share in (("one", 0.3), ("other", 0.25))
    }
    rig = sharing(given["one"], given["other"])
    facts = CheckContext(models={"qwen": known})
    found = list(memory_fits(rig, facts))
    assert [finding.path[1] for finding in found] == ["one", "other"]
    for finding in found:
        (larger,) = re.findall(r"larger share: `gpu_memory_fraction: (0\.\d+)`", finding.hint)
        assert float(larger) > 0.4
        followed = given | {
            finding.path[1]: given[str(finding.path[1])] | {"gpu_memory_fraction": float(larger)}
        }
        assert not list(gpus_oversubscribed(sharing(followed["one"], followed["other"]), facts))
    apart = rig.model_copy(update={"services": {"one": rig.services["one"]}})
    (alone,) = memory_fits(apart, facts)
    assert "larger share: `gpu_memory_fraction: 0.89`" in alone.hint


def test_what_never_runs_beside_a_service_leaves_it_the_whole_card() -> None:
    known = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert known is not None
    part = {"engine": "vllm", "tensor_parallel_size": 2, "gpu_memory_fraction": 0.3}
    rig = sharing(part | {"context_length": 8192}, part | {"instead_of": ["one"]})
    facts = CheckContext(models={"qwen": known})
    first = next(finding for finding in memory_fits(rig, facts) if finding.path[1] == "one")
    assert "larger share: `gpu_memory_fraction: 0.89`" in first.hint


def test_no_hint_offers_what_sglang_s_own_share_takes() -> None:
    known = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert known is not None
    tp = {"tensor_parallel_size": 2, "context_length": 8192}
    rig = sharing(tp | {"engine": "vllm", "gpu_memory_fraction": 0.3}, tp | {"engine": "sglang"})
    found = {f.path[1]: f.hint for f in memory_fits(rig, CheckContext(models={"qwen": known}))}
    assert "larger share" not in found["one"]


@pytest.mark.parametrize("share", [0.25, 0.3, 0.4])
def test_a_larger_share_leaves_sglang_what_its_own_must_hold(share: float) -> None:
    given = vllm(0.15)
    rig, facts = two(given, sglang(share))
    (found,) = memory_fits(rig, facts)
    (larger,) = re.findall(r"`gpu_memory_fraction: (0\.\d+)`", found.hint)
    given["gpu_memory_fraction"] = float(larger)
    rig, facts = two(given, sglang(share))
    assert not list(memory_fits(rig, facts))
    assert not list(gpus_oversubscribed(rig, facts))


def two(one: dict[str, Any], other: dict[str, Any]) -> tuple[Rig, CheckContext]:
    """Two services of an 8B model in 16 bits, 15.3 GiB, on one card of 95 GiB."""
    facts = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert facts is not None
    rig = sharing(*({"gpus": ["pair.0"], "context_length": 8192} | each for each in (one, other)))
    large = rig.gpus["pair"].model_copy(update={"sku": "rtx-pro-6000-workstation"})
    return rig.model_copy(update={"gpus": {"pair": large}}), CheckContext(models={"qwen": facts})


def sglang(share: float) -> dict[str, Any]:
    return {"engine": "sglang", "gpu_memory_fraction": share, "engine_version": "0.5.23"}


def vllm(share: float) -> dict[str, Any]:
    return {"engine": "vllm", "gpu_memory_fraction": share, "engine_version": "0.33.0"}


def test_sglang_is_judged_by_what_is_free_when_it_starts_last() -> None:
    rig, facts = two(sglang(0.4), sglang(0.25))
    (found,) = memory_fits(rig, facts)  # 0.25 × 57 GiB is less than its weights
    assert found.message.startswith("`other` does not fit where it starts after `one`: ")
    assert "`one` before it 38." in found.why
    assert "one at a time: `instead_of: [one]`" in found.hint
    assert not list(gpus_oversubscribed(rig, facts))
    rig, facts = two(sglang(0.3), sglang(0.4))
    assert not list(memory_fits(rig, facts))
    apart = two(sglang(0.4), sglang(0.25) | {"instead_of": ["one"]})
    assert not list(memory_fits(*apart))


def test_shares_of_what_is_left_may_be_more_than_one_in_sum() -> None:
    rig, facts = two(sglang(0.5), sglang(0.55))
    assert not list(gpus_oversubscribed(rig, facts))
    assert not list(memory_fits(rig, facts))  # 0.55 of 47 and 0.5 of 43 GiB hold it either way
    (found,) = gpus_oversubscribed(rig, CheckContext())  # of a model nobody knows: as if of all
    assert "0.5 + 0.55 = 1.05" in found.message


def test_sglang_beside_vllm_takes_its_share_of_what_vllm_leaves() -> None:
    rig, facts = two(vllm(0.6), sglang(0.35))
    (found,) = memory_fits(rig, facts)
    assert found.message.startswith("`other` does not fit where it starts after `one`: ")
    assert not list(memory_fits(*two(vllm(0.5), sglang(0.45))))


def test_vllm_needs_its_share_free_where_sglang_started_before_it() -> None:
    rig, facts = two(vllm(0.5), sglang(0.6))
    (found,) = gpus_oversubscribed(rig, facts)
    assert (found.severity, "0.5 + 0.6 = 1.1" in found.message) == (Severity.ERROR, True)
    three = rig.model_copy(
        update={"services": rig.services | {"third": rig.services["other"].model_copy()}}
    )
    (found,) = gpus_oversubscribed(three, facts)  # 0.6, and 0.6 of the 0.4 that are left
    assert "0.5 + 0.6 + 0.24 = 1.34" in found.message


def test_shares_that_leave_no_room_for_contexts_are_warned_about() -> None:
    (found,) = gpus_oversubscribed(*two(vllm(0.5), vllm(0.5)))
    assert found.severity is Severity.WARNING
    assert found.hint.startswith("lower `gpu_memory_fraction` of `one` to 0.49, use other cards")
    assert not list(gpus_oversubscribed(*two(vllm(0.5), vllm(0.48))))


@pytest.mark.parametrize(("layers", "told"), [([], True), (["-ngl", "4"], False)])
def test_what_lies_in_host_memory_takes_no_share_that_anybody_knows(
    layers: list[str], told: bool
) -> None:
    # 16 GiB of weights on a card of 95, of which vLLM takes 90; of four layers nobody says the rest
    held = {"engine": "llama_cpp", "split_mode": "none", "extra_args": layers}
    found = [f for f in gpus_oversubscribed(*two(vllm(0.95), held)) if f.severity is Severity.ERROR]
    assert bool(found) is told


def of_larger_context(share: float) -> dict[str, Any]:
    return vllm(share) | {"context_length": 40960}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (vllm(0.6), vllm(0.5)),
        (vllm(0.5), vllm(0.5)),
        (vllm(0.5), sglang(0.6)),
        (sglang(0.9), vllm(0.3)),
        (of_larger_context(0.95), vllm(0.24)),
        (vllm(0.95), LLAMA | {"context_length": 8192}),
        ({"engine": "vllm", "engine_version": "0.33.0"}, vllm(0.5)),
    ],
)
def test_shares_of_the_hint_pass_and_hold_what_they_held(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    rig, facts = two(one, other)
    (found,) = gpus_oversubscribed(rig, facts)
    lowered = re.findall(r"of `(\w+)` to ([0-9.]+)", found.hint)
    assert found.hint.startswith("lower `gpu_memory_fraction` of `")
    given = {"one": one, "other": other}
    for name, share in lowered:
        given[name] = given[name] | {"gpu_memory_fraction": float(share)}
        assert given[name]["engine"] != "llama_cpp"
    rig, facts = two(given["one"], given["other"])
    assert not list(gpus_oversubscribed(rig, facts))
    assert not list(memory_fits(rig, facts))


def test_shares_of_the_hint_pass_on_the_smallest_card() -> None:
    # the contexts of the same processes are a larger part of 12 GB than of 96
    def found(one: float, other: float) -> list[Finding]:
        rig = sharing(*(vllm(share) | {"tensor_parallel_size": 2} for share in (one, other)))
        cards = {"small": "rtx-3060", "large": "rtx-pro-6000-workstation"}
        given = rig.model_dump(exclude_defaults=True)
        given["gpus"] = {name: {"sku": sku, "count": 1} for name, sku in cards.items()}
        for service in given["services"].values():
            service["gpus"] = list(cards)
        return list(gpus_oversubscribed(Rig.model_validate(given), CheckContext()))

    ((complaint, *_),) = [found(0.6, 0.5)]
    one, other = (float(share) for share in re.findall(r" to ([0-9.]+)", complaint.hint))
    assert found(one, other) == []
    assert found(one + 0.01, other) != []


def test_shares_that_hold_no_request_are_not_told_to_be_enough() -> None:
    known = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert known is not None
    tp = {"engine": "vllm", "tensor_parallel_size": 2, "context_length": 40960}
    rig = sharing(tp | {"gpu_memory_fraction": 0.8}, tp | {"gpu_memory_fraction": 0.6})
    (found,) = gpus_oversubscribed(rig, CheckContext(models={"qwen": known}))
    otherwise = "use other cards, or let one run `instead_of` the other"
    none = "no shares hold a full request of each: use other cards or a smaller checkpoint, or let "
    assert found.hint == none + "one run `instead_of` the other"
    both = LLAMA | {"context_length": 262144, "max_sequences": 2}
    (found,) = gpus_oversubscribed(sharing(both, both), of_gguf())
    assert found.hint == otherwise


def test_weights_beyond_every_share_are_offered_none() -> None:
    known = load_model_facts("Qwen/Qwen3-8B", [ROOT / "benchmarks/data/model-configs"])
    assert known is not None
    rig = sharing(vllm(0.6), vllm(0.6))  # 15.3 GiB of weights each, on a card of 24
    (found,) = gpus_oversubscribed(rig, CheckContext(models={"qwen": known}))
    assert found.hint.startswith("no shares hold a full request of each: ")
    assert "gpu_memory_fraction" not in found.hint


def test_a_share_that_is_too_small_is_raised_where_the_other_leaves_room() -> None:
    rig, facts = two(of_larger_context(0.95), vllm(0.1))
    (found,) = gpus_oversubscribed(rig, facts)
    assert found.hint.startswith("set `gpu_memory_fraction` of `")
    shares = {n: float(s) for n, s in re.findall(r"of `(\w+)` to ([0-9.]+)", found.hint)}
    rig, facts = two(of_larger_context(shares["one"]), vllm(shares["other"]))
    assert not list(gpus_oversubscribed(rig, facts))
    assert not list(memory_fits(rig, facts))


def test_what_others_hold_is_named_beside_what_is_left() -> None:
    rig, facts = two(vllm(0.5), vllm(0.45))
    lines = as_text(rig, facts).splitlines()
    assert [line.split()[-2] for line in lines if "held by" in line] == ["43.3", "48.0"]
    left = [float(line.split()[-2]) for line in lines if "left to CUDA" in line]
    assert max(left) < 6
    record = rig_record(rig, facts)["services"]["one"]["neighbours"]
    assert record == [{"service": "other", "gib": pytest.approx(43.3, abs=0.1), "bounded": True}]


def test_sglang_s_reserve_is_of_what_is_left() -> None:
    rig, facts = two(sglang(0.3), sglang(0.4))
    both = as_text(rig, facts)
    alone = as_text(rig.model_copy(update={"services": {"one": rig.services["one"]}}), facts)
    kept = [float(text.partition("graphs, context")[2].split()[0]) for text in (both, alone)]
    assert kept[0] == pytest.approx(0.7 * (95.0 - 38.4), abs=0.3)
    assert kept[1] == pytest.approx(0.7 * 95.0, abs=0.3)
    assert "held by `other`" in both
    assert "held by" not in alone


def of_gguf() -> CheckContext:
    known = load_model_facts("Qwen/Qwen3.6-27B-FP8", [ROOT / "rigs/models"])
    assert known is not None
    gguf = replace(
        known, quantization=Quantization(Scheme.GGUF, bits_per_weight=4.5), sizes=None, vision=None
    )
    return CheckContext(models={"qwen": gguf})


def test_beside_a_cache_that_nothing_bounds_no_service_fits_for_sure() -> None:
    # two cards of 24 GiB: one llama.cpp with 8 of weights each and a context set, one without
    facts = of_gguf()
    for context, outlook in (({"context_length": 8192}, "yes"), ({}, "close")):
        rig = sharing(LLAMA | {"context_length": 4096}, LLAMA | context)
        record = rig_record(rig, facts)["services"]["one"]
        assert record["verdict"] == outlook
        (beside,) = record["neighbours"]
        assert beside["bounded"] == bool(context)
        assert 8 < beside["gib"] < 13
        assert ("a cache that nothing bounds" in as_text(rig, facts)) == (not context)


def test_llama_cpp_finds_what_the_services_before_it_leave() -> None:
    # 24 GiB: vLLM holds 0.7 of them, the weights alone are 8
    facts = of_gguf()
    for share, outlook in ((0.2, "yes"), (0.7, "close")):
        vllm_beside = {"engine": "vllm", "gpu_memory_fraction": share}
        rig = sharing(LLAMA | {"context_length": 8192}, vllm_beside)
        assert rig_record(rig, facts)["services"]["one"]["verdict"] == outlook
        found = [each for each in fits_closely(rig, facts) if "`one`" in each.message]
        assert bool(found) is (outlook == "close")
        for each in found:
            assert "where it starts after `other`" in each.message
            assert "`other` before it" in each.why
            assert "one at a time: `instead_of: [other]`" in each.hint


def test_a_service_that_runs_in_place_of_another_keeps_that_partner() -> None:
    # `third` may run beside `one`, `other` never does; what is written must hold for both
    rig = sharing(LLAMA | {"context_length": 8192}, {"engine": "vllm", "gpu_memory_fraction": 0.7})
    third = rig.services["other"].model_copy()
    one = rig.services["one"].model_copy(update={"instead_of": ("other",)})
    three = rig.model_copy(update={"services": rig.services | {"one": one, "third": third}})
    found = [each for each in fits_closely(three, of_gguf()) if "`one`" in each.message]
    assert all("one at a time: `instead_of: [other, third]`" in each.hint for each in found)
    assert found


def test_llama_cpp_s_free_memory_is_less_what_others_hold() -> None:
    facts = of_gguf()
    rig = sharing(LLAMA | {"context_length": 8192}, {"engine": "vllm", "gpu_memory_fraction": 0.2})
    lines = as_text(rig, facts).splitlines()
    (held,) = (line for line in lines[:12] if "held by `other`" in line)
    (free,) = (line for line in lines[:12] if "stays free" in line)
    plain = as_text(rig.model_copy(update={"services": {"one": rig.services["one"]}}), facts)
    (before,) = (line for line in plain.splitlines() if "stays free" in line)
    figures = [float(line.split("`")[-1].split()[0]) for line in (held,)]
    figures += [float(line.split("free")[1].split()[0]) for line in (free, before)]
    assert figures[1] == pytest.approx(figures[2] - figures[0], abs=0.11)


def complaint(rule: str, old: str, new: str) -> Finding:
    text = (ROOT / "rigs/starter.yaml").read_text()
    assert old in text
    rig = load_text("it.yaml", text.replace(old, new)).rig
    assert rig is not None
    (found,) = (f for f in check(rig) if f.rule == rule)
    return found


def test_cards_by_their_bare_number_are_told_the_names_of_members() -> None:
    rule, old = "gpus.reference-exists", "    gpus: [pair]\n    tensor"
    found = complaint(rule, old, old.replace("pair", "1"))
    assert found.hint == "`pair.1` is one card, `pair` the whole group"
    found = complaint(rule, old, old.replace("pair", "7"))
    assert found.hint == "`pair` is the whole group; its members are `pair.0` and so on"


def test_a_gguf_file_in_capitals_is_told_to_be_renamed() -> None:
    text = (ROOT / "rigs/starter.yaml").read_text()
    rig = load_text("it.yaml", text).rig
    assert rig is not None
    data = rig.model_dump(exclude_defaults=True)
    data["models"]["qwen"] = {"path": "/srv/models/Q4.GGUF"}
    data["services"]["qwen"]["engine"] = "llama_cpp"
    found = [f for f in check(Rig.model_validate(data)) if f.rule == "engine.gguf-file"]
    assert [f.path for f in found] == [("models", "qwen", "path")]
    assert found[0].hint == "rename the file on the host: `/srv/models/Q4.gguf`"
