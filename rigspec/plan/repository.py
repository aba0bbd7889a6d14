"""A signed package repository: its deb822 file and the key it must be signed with."""

from __future__ import annotations

from dataclasses import replace

from rigspec.catalog import repositories as catalog
from rigspec.plan.render import render
from rigspec.plan.sections import AptRepository
from rigspec.spec.driver import Repository


def plan_repository(
    rig_name: str, vendors: catalog.Repository, mirror: Repository | None, *, origin: str
) -> AptRepository:
    """The vendor's repository, or the owner's mirror of it, which is a flat one."""
    wanted = vendors
    if mirror is not None:
        wanted = replace(
            vendors,
            url=mirror.url,
            suite="/",
            components=(),
            key_url=mirror.key_url,
            key_fingerprint=mirror.key_fingerprint,
        )
    keyring = f"/usr/share/keyrings/rigspec-{wanted.name}.asc"
    sources = render(
        f"/etc/apt/sources.list.d/rigspec-{wanted.name}.sources",
        rig=rig_name,
        origin=origin,
        template="etc/apt/sources.list.d/rigspec-NAME.sources",
        url=f"{wanted.url.rstrip('/')}/",
        suite=wanted.suite,
        components=" ".join(wanted.components),
        keyring=keyring,
    )
    fingerprint = wanted.key_fingerprint.upper()
    return AptRepository(wanted.name, sources, wanted.key_url, fingerprint, keyring)
