"""The driver stage: the planned packages from a signed source, pinned and held."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping

from pyinfra import host
from pyinfra.api import FunctionCommand, StringCommand, operation

from rigspec.facts.managed import AptState, FileState
from rigspec.facts.stage import Stage, StageState
from rigspec.operations.apt import Wanted, changes, missing
from rigspec.operations.apt_scripts import RIG_APT
from rigspec.operations.shell import UNREADABLE, is_executing, refuse, say, shell
from rigspec.plan.sections import AptRepository, DriverPlan, Package

Commands = Generator[StringCommand | FunctionCommand, None, None]

_CHECK_MODULE = (
    RIG_APT
    + """\
command -v dkms >/dev/null 2>&1 && dkms status 2>/dev/null | grep -q '^nvidia' || exit 0
modinfo nvidia >/dev/null 2>&1 && exit 0
# the metapackage brings the newest kernel's headers; the one that runs may be older
release=$(uname -r)
for name in "$@"; do
  name=$(printf '%s' "$name" | sed "s/{release}/$release/")
  apt-cache show "$name" >/dev/null 2>&1 || continue
  rig_what="install $name"
  rig_apt install --no-install-recommends "$name"
done
dkms autoinstall -k "$release" >/dev/null 2>&1 || true
modinfo nvidia >/dev/null 2>&1 && exit 0
echo "the driver's kernel module was not built for $release:" >&2
dkms status >&2
tail -n 8 /var/lib/dkms/nvidia*/*/build/make.log 2>/dev/null >&2
echo "look at: are the headers of the running kernel installed (linux-headers-$release)?" >&2
exit 1
"""
)
"""The module exists for the running kernel, or the owner reads why not. `$@`: its headers."""


def headers_for_all(plan: DriverPlan) -> tuple[Package, ...]:
    """The metapackages: headers of every kernel to come; DKMS builds nothing without them."""
    return tuple(Package(name) for name in plan.headers if "{" not in name)


def wanted_of(plan: DriverPlan, beside: tuple[AptRepository, ...] = ()) -> Wanted:
    """What the driver stage wants of apt, and the sources `beside` its own."""
    own = (plan.repository,) if plan.repository else ()
    return Wanted(
        packages=plan.packages,
        repositories=(*own, *beside),
        files=plan.files,
        first=(*plan.pinning_packages, *headers_for_all(plan)),
        hold=plan.hold,
        absent=plan.must_be_absent,
        components=plan.components,
    )


def read_stage(wanted: Wanted, *, units: tuple[str, ...] = ()) -> StageState | None:
    """The stage's state in one round trip."""
    return host.get_fact(
        Stage,
        paths=tuple(file.dest for file in wanted.all_files),
        units=units,
        packages=wanted.names,
        keyrings=wanted.keyrings,
        sources=wanted.sources,
    )


def steps_of(
    plan: DriverPlan,
    later: tuple[AptRepository, ...],
    seen: AptState,
    files: Mapping[str, FileState],
) -> Iterator[StringCommand]:
    """What is to be done with packages; sources of `later` stages only where lists are read."""
    beside = later if missing(plan.packages, seen) else ()
    return changes(wanted_of(plan, beside), seen, dict(files))


@operation()
def driver_installed(*, plan: DriverPlan, later: tuple[AptRepository, ...] = ()) -> Commands:
    """The driver's packages are installed as pinned, held, and nothing stands in their way.

    The package lists of `later` stages are read in the same go as the driver's: each reading costs.
    """
    seen = read_stage(wanted_of(plan, later))
    if seen is None:
        yield refuse(UNREADABLE)
        return
    steps = list(steps_of(plan, later, seen.apt, seen.files))
    if not steps:
        host.noop(f"driver branch {plan.branch} is installed and held")
        return
    if is_executing() and missing(plan.packages, seen.apt):
        say(host, ["installing the driver takes minutes and is silent until it is done"])
    yield from steps
    if missing(plan.packages, seen.apt):
        yield shell(_CHECK_MODULE, *(name for name in plan.headers if "{" in name))
