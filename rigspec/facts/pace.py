"""Fact: the pace of one server, three runs after a warm-up. It makes load: only on request."""

from __future__ import annotations

import json
import shlex

from pyinfra.api import StringCommand
from typing_extensions import override

from rigspec.facts.base import Quiet, RigFact, Sections, one_script
from rigspec.facts.smoke import header_pipe
from rigspec.observed.pace import PaceRun, parse_pace
from rigspec.observed.probes import Probe
from rigspec.observed.record import Reading
from rigspec.plan.asking import url_of
from rigspec.plan.sections import ServicePlan

RUNS, TOKENS, WARM_UP_TOKENS = 3, 128, 8
_TOPICS = ("rivers", "bridges", "lighthouses", "railways")
"""One per run, the first for the warm-up: prompts differ, so that no cached prefix is measured."""
_NONCE = "RIGNONCE"


def pace_probe(service: ServicePlan, limit_s: int) -> Probe:
    """Streams with fixed sampling; the host's clock is read at the request, at the first piece
    with text and at the end. Only the last events come back."""
    name = f"pace-{service.name}"
    text = ["rig_has curl || exit 0", _STREAM]
    for topic in _TOPICS[: RUNS + 1]:
        warm_up = topic == _TOPICS[0]
        body = shlex.quote(json.dumps(_body(service, topic, warm_up=warm_up)))
        words = ["curl", "-sS", "-N", "-m", str(limit_s), "-H", "Content-Type: application/json"]
        words += ["-H", "@-"] if service.secret_path else []
        url = shlex.quote(url_of(service, "/v1/chat/completions"))
        asked = f'{header_pipe(service)}{shlex.join(words)} --data-binary "$rig_body" {url} 2>&1'
        text += [
            f'rig_body=$(printf "%s" {body} | sed "s/{_NONCE}/$(date +%s%N)/")',
            *([] if warm_up else ["echo run"]),
            'echo "at start $(date +%s%N)"',
            f"{asked} | rig_stream" + (" >/dev/null" if warm_up else ""),
        ]
    return Probe(name, "\n".join([*text, "exit 0"]))


_STREAM = """\
rig_stream() {
  rig_seen=
  while IFS= read -r line; do
    case $line in
    *'"content":"'[!\\"]* | *'"content": "'[!\\"]* | *'"reasoning_content":"'[!\\"]* | \\
    *'"reasoning_content": "'[!\\"]* | *'"reasoning":"'[!\\"]* | *'"reasoning": "'[!\\"]*)
      echo "at first $(date +%s%N)"; rig_seen=yes; break ;;
    'data: '* | '') ;;
    *) echo "$line" ;;
    esac
  done
  [ -z "$rig_seen" ] || grep -E '"completion_tokens"|"finish_reason": ?"|\\[DONE\\]' | tail -n 4
  echo "at end $(date +%s%N)"
}"""


def _body(service: ServicePlan, topic: str, *, warm_up: bool) -> dict[str, object]:
    return {
        "model": service.served_names[0],
        "messages": [
            {"role": "user", "content": f"Note {_NONCE}. Write a long, plain text about {topic}."}
        ],
        "temperature": 0,
        "seed": 7,
        "max_tokens": WARM_UP_TOKENS if warm_up else TOKENS,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


class Pace(RigFact[Reading[tuple[PaceRun, ...]]]):
    """One service: `services` holds it alone, so that a failing fact does not print all of it."""

    name: str

    @override
    def command(self, services: Quiet[ServicePlan], limit_s: int) -> StringCommand:
        (service,) = services
        self.name = service.name
        return one_script([pace_probe(service, limit_s)])

    @override
    def parse(self, sections: Sections) -> Reading[tuple[PaceRun, ...]]:
        return parse_pace(sections, f"pace-{self.name}")
