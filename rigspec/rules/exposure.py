"""Who can reach the API: addresses, keys, and what stays open with a key."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig

_OPEN_ROUTES = {
    "vllm": "`/invocations` (inference), `/tokenize`, `/metrics` and `/health`",
    "sglang": "`/health`, `/ready` and `/metrics`",
    "llama_cpp": "`/health` only",
}
"""Routes that answer without the key (vLLM 0.32 asked; SGLang 0.5.23 and llama.cpp b11434 read)."""


def parsed(address: str) -> IPv4Address | IPv6Address | None:
    """An IP address, or None when the text is none."""
    try:
        return ip_address(address)
    except ValueError:
        return None


def overlap(one: str, other: str) -> bool:
    """Whether two sockets on the same port would collide: equal, or one on every address."""
    first, second = parsed(one), parsed(other)
    if first is None or second is None:
        return one == other
    if first.is_unspecified or second.is_unspecified:
        # `::` also takes IPv4 on Linux; 0.0.0.0 leaves IPv6 alone
        wide = first if first.is_unspecified else second
        return wide.version == 6 or first.version == second.version
    return first == second


def address_valid(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`listen.address` is an IP address."""
    for name, service in rig.services.items():
        if parsed(service.listen.address) is None:
            yield error(
                "exposure.address-valid",
                ("services", name, "listen", "address"),
                f"`{service.listen.address}` is no IP address",
                hint="`127.0.0.1` for this machine only, the host's own address for the LAN",
            )


def lan_without_key(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Anything but loopback needs a key."""
    for name, service in rig.services.items():
        address = parsed(service.listen.address)
        if address is None or address.is_loopback or service.api_key_env:
            continue
        where = "every interface" if address.is_unspecified else f"`{address}`"
        yield error(
            "exposure.lan-without-key",
            ("services", name, "listen", "address"),
            f"`{name}` would answer on {where} without a key",
            why="everybody who reaches the port can use the cards, and read what others ask",
            hint="add `api_key_env: RIG_API_KEY` and export that variable, or listen on 127.0.0.1 "
            "and come in through SSH or a proxy",
        )


def open_routes(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """What answers without the key."""
    for name, service in rig.services.items():
        address = parsed(service.listen.address)
        if address is None or address.is_loopback or not service.api_key_env:
            continue
        say = warning if service.engine == "vllm" else note
        yield say(
            "exposure.open-routes",
            ("services", name, "listen", "address"),
            f"with a key set, {service.engine} still answers {_OPEN_ROUTES[service.engine]} "
            "without one",
            why="the key guards the API routes only"
            + ("; `/invocations` runs the model" if service.engine == "vllm" else ""),
            hint="let a firewall or a proxy admit only the routes and machines that you mean",
        )


def public_address(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """An address of the open internet."""
    for name, service in rig.services.items():
        address = parsed(service.listen.address)
        if address is not None and address.is_global:
            yield warning(
                "exposure.public-address",
                ("services", name, "listen", "address"),
                f"`{address}` is an address of the public internet",
                why="the key and every answer would travel without encryption: engines speak "
                "plain HTTP here",
                hint="listen on loopback behind a proxy with TLS, or on a VPN address",
            )


def key_is_hub_token(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The API key is not the hub token."""
    tokens = {m.token_env for m in rig.models.values() if m.token_env}
    for name, service in rig.services.items():
        if service.api_key_env in tokens and service.api_key_env:
            yield error(
                "exposure.key-is-hub-token",
                ("services", name, "api_key_env"),
                f"`{service.api_key_env}` is also the token of the model hub",
                why="everybody who may ask the model would hold your hub account",
                hint="give the API a key of its own",
            )
