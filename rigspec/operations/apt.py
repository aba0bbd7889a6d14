"""Packages as the plan has them: signed sources, one install call, holds, no lock left unwaited.

Pure functions from what is wanted and what was seen to commands; the stages' operations yield
them. Repair comes first, so that a run that was killed inside dpkg goes on here.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator

from pyinfra.api import StringCommand

from rigspec.facts.managed import AptState, FileState, PackageState
from rigspec.frozen import dataclass
from rigspec.operations.apt_scripts import FETCH_KEY, INSTALL, MARK, REPAIR, UPDATE
from rigspec.operations.components import ENABLE_COMPONENTS
from rigspec.operations.files import differing, write
from rigspec.operations.shell import shell
from rigspec.plan.sections import AptRepository, Package, RenderedFile


@dataclass(frozen=True)
class Wanted:
    """What one stage wants of apt."""

    packages: tuple[Package, ...]
    repositories: tuple[AptRepository, ...] = ()
    files: tuple[RenderedFile, ...] = ()
    """Preferences and the like that must be in place before anything is installed."""
    first: tuple[Package, ...] = ()
    """Pinning packages: installed in a call of their own, before the rest."""
    hold: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    """Packages that cannot live beside the wanted ones."""
    components: tuple[str, ...] = ()
    """Components of the distribution that the packages' dependencies live in."""

    @property
    def names(self) -> tuple[str, ...]:
        """Every package name asked about."""
        named = (package.name for package in (*self.packages, *self.first))
        return tuple(dict.fromkeys([*named, *self.hold, *self.absent]))

    @property
    def all_files(self) -> tuple[RenderedFile, ...]:
        """Source files and preferences."""
        return (*(repository.sources for repository in self.repositories), *self.files)

    @property
    def keyrings(self) -> tuple[str, ...]:
        """Keyring files of the repositories."""
        return tuple(repository.keyring for repository in self.repositories)

    @property
    def sources(self) -> tuple[str, ...]:
        """Source files of the repositories."""
        return tuple(repository.sources.dest for repository in self.repositories)


def is_satisfied(package: Package, state: PackageState | None) -> bool:
    """Whether it is installed, configured, and of the wanted version."""
    if state is None or not state.installed:
        return False
    return package.version is None or fnmatch.fnmatchcase(state.version, package.version)


def missing(packages: Iterable[Package], seen: AptState) -> tuple[Package, ...]:
    """The packages that must be installed or brought to their version."""
    return tuple(p for p in packages if not is_satisfied(p, seen.packages.get(p.name)))


def changes(wanted: Wanted, seen: AptState, files: dict[str, FileState]) -> Iterator[StringCommand]:
    """The commands that bring the host from `seen` to `wanted`; none when it is there."""
    if seen.broken:
        yield shell(REPAIR)
    for repository in wanted.repositories:
        if repository.key_fingerprint.upper() not in seen.fingerprints.get(repository.keyring, ()):
            yield fetch_key(repository)
    sources = differing(wanted.all_files, files)
    if sources:
        yield write(sources)
    first, rest = missing(wanted.first, seen), missing(wanted.packages, seen)
    present = [name for name in wanted.absent if name in seen.packages and _is_there(seen, name)]
    if rest and wanted.components:
        yield shell(ENABLE_COMPONENTS, *wanted.components)
    if (first or rest) and _lists_missing(wanted, seen, sources):
        yield shell(UPDATE, *wanted.sources)  # asks again: a component may have brought it along
    if first:
        yield install(first, ())
    if rest or present:
        yield install(rest, present)
    yield from _holds(wanted, seen, (*first, *rest))


def _is_there(seen: AptState, name: str) -> bool:
    # a removed package whose configuration is left ("rc") is no obstacle
    return seen.packages[name].installed


def _lists_missing(wanted: Wanted, seen: AptState, written: tuple[RenderedFile, ...]) -> bool:
    return bool(seen.lists_stale) or any(file.dest in wanted.sources for file in written)


def fetch_key(repository: AptRepository) -> StringCommand:
    """Fetch a repository's key and install it if its fingerprint is the declared one."""
    return shell(
        FETCH_KEY, repository.key_url, repository.key_fingerprint.upper(), repository.keyring
    )


def install(packages: Iterable[Package], removed: Iterable[str]) -> StringCommand:
    """One apt-get call for all packages; what must be absent goes in the same transaction."""
    packages = tuple(packages)
    options = ["--no-install-recommends", "--allow-change-held-packages"]
    if any(package.version for package in packages):
        options.append("--allow-downgrades")  # an exact version in the spec may be the older one
    named = [f"{p.name}={p.version}" if p.version else p.name for p in packages]
    return shell(INSTALL, *options, *named, *(f"{name}-" for name in removed))


def _holds(wanted: Wanted, seen: AptState, changed: tuple[Package, ...]) -> Iterator[StringCommand]:
    installed_now = {package.name for package in changed}
    held = {name for name, state in seen.packages.items() if state.held}
    # an install call leaves the hold of what it changes in doubt: set it again
    hold = [n for n in wanted.hold if n not in held or n in installed_now]
    if hold:
        yield shell(MARK, "hold", *hold)
    ours = {package.name for package in (*wanted.packages, *wanted.first)}
    release = sorted(held & ours - set(wanted.hold))
    if release:
        yield shell(MARK, "unhold", *release)
