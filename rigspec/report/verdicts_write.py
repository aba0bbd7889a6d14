"""The report files that `rigspec verify` was asked for, by format."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import IO

from rigspec.report.judged import Judged
from rigspec.report.redact import redactor
from rigspec.report.verdicts_html import as_html
from rigspec.report.verdicts_json import as_json
from rigspec.report.verdicts_junit import as_junit
from rigspec.report.verdicts_markdown import as_markdown
from rigspec.report.verdicts_prometheus import as_prometheus
from rigspec.spec.host import Host
from rigspec.verify.observation_file import SavedObservation, observation_to_json

Hide = Callable[[str], str]

PLAIN: Mapping[str, Callable[[Judged], str]] = {
    "json": as_json,
    "junit": as_junit,
    "prometheus": as_prometheus,
}
"""For machines, never redacted."""
FOR_PEOPLE: Mapping[str, Callable[[Judged, Hide], str]] = {
    "markdown": as_markdown,
    "html": as_html,
}
REDACTED_BY_DEFAULT = frozenset({"markdown"})
"""It is made to be pasted into an issue."""


def write_reports(
    judged: Judged,
    saved: SavedObservation,
    files: Mapping[str, IO[str]],
    host: Host,
    *,
    redact: bool | None,
) -> None:
    """`files` by format (`save`: the look itself); `redact` None leaves it to each format."""
    hide = redactor([host.address, host.user, host.ssh_key])
    for name, file in files.items():
        if name == "save":
            file.write(observation_to_json(saved))
        elif name in PLAIN:
            file.write(PLAIN[name](judged))
        elif (name in REDACTED_BY_DEFAULT) if redact is None else redact:
            hidden = replace(judged, verdicts=tuple(map(hide.verdict, judged.verdicts)))
            file.write(FOR_PEOPLE[name](hidden, hide))
        else:
            file.write(FOR_PEOPLE[name](judged, str))
