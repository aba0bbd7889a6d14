"""A rig's estimates as plain data: what `rigspec plan --sizing --json` and `fit --json` print."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from rigspec.plan.peers import as_served, why_peers_off
from rigspec.rules.context import CheckContext
from rigspec.rules.power_budget import equal_cap
from rigspec.rules.power_states import PowerStates, power_states
from rigspec.rules.sizable import sized_once, uncounted_of, why_unsized
from rigspec.sizing.amount import Amount
from rigspec.sizing.cache_type import cache_type
from rigspec.sizing.from_spec import catalog_of, paths_of
from rigspec.sizing.links import LinkPath
from rigspec.sizing.service import Sized
from rigspec.sizing.speeds import speeds_of
from rigspec.sizing.state_room import StateRoom
from rigspec.sizing.throughput import Speed
from rigspec.sizing.weights import host_gib
from rigspec.spec.rig import Rig

Record = dict[str, Any]


def rig_record(rig: Rig, facts: CheckContext) -> Record:
    """The whole rig: GiB, GB/s (10^9), µs, tokens per second, watts; null is unknown."""
    states = power_states(rig, facts)
    catalog = catalog_of(facts.catalog)
    rig = as_served(rig, facts.faults)
    services: Record = {}
    for name in rig.services:
        sized = sized_once(rig, name, facts)
        links = [link_record(path) for path in paths_of(rig, name, catalog)]
        services[name] = (service_record(sized) if sized else {"verdict": None}) | {
            "not_reckoned": uncounted_of(rig.services[name], facts),
            "unsized": why_unsized(rig, name, facts) or None,
            "links": links,
            "peers_off": list(why_peers_off(rig, name, facts.faults)),
        }
    power = power_record(states) if states else None
    return {"rig": rig.name, "services": services, "power": power}


def service_record(sized: Sized) -> Record:
    """One service: verdict, memory of the tightest card, speed; only why, where it is refused."""
    memory, speeds, found = sized.memory, speeds_of(sized), _memory(sized)
    return {
        "verdict": "refused" if memory.refused else memory.outlook.value,
        "refusals": [asdict(refusal) for refusal in memory.refusals],
        "doubts": list(memory.doubts),
        "model": sized.facts.name,
        "revision": sized.facts.revision,
        "card": sized.card.name,
        "cards": len(sized.cards),
        "engine": sized.settings.engine.value,
        "tensor_parallel": sized.settings.tensor_parallel,
        "pipeline_parallel": sized.settings.pipeline_parallel,
        "data_parallel": sized.settings.data_parallel,
        "decode_context_parallel": sized.settings.decode_context_parallel,
        "expert_parallel": sized.settings.expert_parallel,
        "card_gib": amount(sized.card.total),
        "kv_cache_type": asdict(cache_type(sized.facts, sized.settings)),
        "neighbours": [
            {"service": each.name, "gib": round(each.gib, 4), "bounded": each.bounded}
            for each in sized.neighbours
        ],
        **(dict.fromkeys(found) if memory.refused else found),
        "speed_at_tokens": speeds.depth,
        "decode_tok_s": _speed(speeds.single),
        "decode_speculative_tok_s": _speed(speeds.speculative),
        "streams": speeds.streams,
        "streams_waiting": speeds.waiting,
        "decode_streams_tok_s": _speed(speeds.batch),
        "prefill_tok_s": _speed(speeds.prefill),
    }


def _memory(sized: Sized) -> Record:
    memory, held = sized.memory, host_gib(sized.facts, sized.settings)
    return {
        "states": states_record(memory.states),
        "terms_gib": [
            {"name": term.name, **amount(term.size), "basis": term.basis} for term in memory.terms
        ],
        "kv_tokens": amount(memory.kv_tokens) if memory.kv_tokens else None,
        "request_gib": amount(memory.needed) if memory.needed else None,
        "concurrency": memory.concurrency,
        "largest_context": memory.largest_context,
        "host_gib": amount(held) if held else None,
    }


def amount(value: Amount) -> Record:
    """A figure with its band; a zero has no sign."""
    return {key: round(part, 4) + 0.0 for key, part in asdict(value).items()}


def _speed(speed: Speed | None) -> Record | None:
    if speed is None:
        return None
    return {**amount(speed.tok_s), "bottleneck": speed.bottleneck.value, "basis": speed.basis}


def link_record(path: LinkPath) -> Record:
    """One pair of cards."""
    slowest = path.bottleneck
    return {
        "gpus": [path.first, path.second],
        "label": path.label.value,
        "nvlink": bool(path.nvlink),
        "topo": path.topo,
        "peer": path.peer,
        "one_way_gb_s": amount(path.one_way_gb_s),
        "two_way_gb_s": amount(path.two_way_gb_s),
        "latency_us": amount(path.latency_us),
        "bottleneck": {"at": slowest.name, "form": slowest.form, "narrow": path.narrow},
        "shared_with": list(path.shared_with),
    }


def states_record(room: StateRoom | None) -> Record | None:
    """Sequences asked for, and the blocks that hold one state each; None where none are refused."""
    return {"sequences": room.sequences, "blocks": amount(room.blocks)} if room else None


def power_record(states: PowerStates) -> Record:
    """Watts at the wall and per supply."""
    return {
        "wall_idle_at_most_w": _watts(states.idle_w),
        "wall_at_caps_w": round(states.capped_w, 1),
        "wall_at_default_limits_w": _watts(states.default_w),
        "circuit_w": round(states.circuit_w, 1),
        "arithmetic": states.arithmetic,
        "highest_cap_w": equal_cap(states.highest_caps_w),
        "highest_cap_on_domestic_socket_w": equal_cap(states.socket_caps_w),
        "highest_caps_w": states.highest_caps_w,
        "supplies": [
            {
                "name": load.psu.name,
                "gpus": list(load.gpus),
                "steady_w": load.steady_w,
                "with_spikes_w": round(load.peak_w, 1),
                "rating_w": load.rating_w,
            }
            for load in states.supplies
        ],
    }


def _watts(watts: float | None) -> float | None:
    return None if watts is None else round(watts, 1)
