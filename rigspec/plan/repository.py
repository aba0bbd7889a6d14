"""A signed package repository: its deb822 file and the key it must be signed with."""

from __future__ import annotations

from rigspec.plan.render import render
from rigspec.plan.sections import AptRepository


def plan_repository(
    rig_name: str,
    name: str,
    *,
    origin: str,
    url: str,
    suite: str,
    components: str,
    key_url: str,
    key_fingerprint: str,
) -> AptRepository:
    """Repository `name`; `suite` `/` is a flat one, and `components` empty then."""
    keyring = f"/usr/share/keyrings/rigspec-{name}.asc"
    sources = render(
        f"/etc/apt/sources.list.d/rigspec-{name}.sources",
        rig=rig_name,
        origin=origin,
        template="etc/apt/sources.list.d/rigspec-NAME.sources",
        url=url if url.endswith("/") else f"{url}/",
        suite=suite,
        components=components,
        keyring=keyring,
    )
    return AptRepository(name, sources, key_url, key_fingerprint.upper(), keyring)
