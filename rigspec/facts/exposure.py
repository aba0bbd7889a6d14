"""Probes of exposure: every route without the key, and which addresses listen.

No request can execute anything: what changes or generates is asked with a body that is no JSON, or
with a method that the route does not have; see `rigspec/catalog/data/routes.yaml`.
"""

from __future__ import annotations

import shlex

from rigspec.catalog.routes import Asking, Route, routes_of
from rigspec.observed.probes import Probe
from rigspec.plan.sections import ServicePlan

LISTENERS = Probe(
    "listeners",
    "set --\n"
    'for f in /proc/net/tcp /proc/net/tcp6; do [ ! -r $f ] || set -- "$@" $f; done\n'
    "[ $# -gt 0 ] || { echo '##RIG-ABSENT /proc/net/tcp'; exit 0; }\n"
    "grep -hE '^ *[0-9]+: [0-9A-F]+:[0-9A-F]+ [0-9A-F]+:[0-9A-F]+ 0A ' \"$@\"\n",
)
"""/proc instead of ss(8): nothing to install, no process names to hide."""

_ONE_LIMIT_S, _ALL_LIMIT_S = 5, 60
_LISTED = r"""
[.paths | to_entries[] | select(.key | test("^/[A-Za-z0-9_{}/.:-]*$"))
 | (.value | keys | map(ascii_upcase | select(test("^(GET|POST|PUT|PATCH|DELETE|HEAD)$")))) as $m
 | ["url = " + ($base + (.key | gsub("[{][^}]*[}]"; "rigspec")) | @json),
    "request = " + (if $m | index("PATCH") then "PUT" else "PATCH" end | @json),
    "output = \"/dev/null\"", "max-time = 5", "silent",
    "write-out = \"listed %{http_code} " + ($m | join(",")) + " " + .key + "\\n\""]
 | join("\n")] | join("\nnext\n")
"""
"""jq: an OpenAPI description to a config of curl that asks each route with a method it lacks."""


def routes_text(service: ServicePlan, url: str, header_pipe: str) -> str:
    """Shell text that prints `route STATUS METHOD PATH` for each known route, then
    `listed STATUS METHODS PATH` for those that the engine itself names in /openapi.json."""
    words = ["curl"]
    for route in routes_of(service.engine):
        words += [*(["--next"] if len(words) > 1 else []), *_request(route, url)]
    with_key = ["-H", "@-"] if header_pipe else []
    openapi = ["curl", "-sS", "-m", str(_ONE_LIMIT_S * 2), *with_key, f"{url}/openapi.json"]
    return (
        f"rig_try {_ALL_LIMIT_S} {shlex.join(words)}\n"
        "command -v jq >/dev/null 2>&1 || exit 0\n"
        f"{header_pipe}{shlex.join(openapi)} 2>/dev/null | "
        f"jq -r --arg base {shlex.quote(url)} {shlex.quote(_LISTED.strip())} 2>/dev/null | "
        f"{{ ! IFS= read -r first || {{ printf '%s\\n' \"$first\"; cat; }} | "
        f"timeout {_ALL_LIMIT_S} curl -K - 2>/dev/null; }}\n"
        "true\n"
    )


def _request(route: Route, url: str) -> list[str]:
    words = ["-sS", "-m", str(_ONE_LIMIT_S), "-o", "/dev/null", "-X", route.method]
    words += ["-w", rf"route %{{http_code}} {route.method} {route.path}\n"]
    if route.asking is Asking.BROKEN:
        words += ["-H", "Content-Type: application/json", "--data-binary", "{"]
    return [*words, url + route.path]
