"""Container images: pinned, and with enough driver below them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.catalog.engines import engine, tag
from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.spec.rig import Rig
from rigspec.spec.services import Service


def is_stock(name: str, image: str) -> bool:
    """Whether an image is the project's own build."""
    return engine(name).is_stock(image)


def version_of_tag(name: str, image: str) -> str:
    """`0.30.0` of `vllm/vllm-openai:v0.30.0`; empty where the tag of a stock image names none."""
    from rigspec.sizing.from_spec import version_of  # its estimates are for later

    said = tag(image) if is_stock(name, image) else ""
    if name == "llama_cpp":  # its releases are builds: `server-cuda-b6700`
        return said.rpartition("-")[2] if re.search(r"(^|-)b\d+$", said) else ""
    told = version_of(said)
    return ".".join(map(str, told)) if told else ""


def version_told(service: Service) -> str | None:
    """The version an engine is judged by: what is written, else what a stock image's tag says."""
    return service.engine_version or version_of_tag(service.engine, service.image) or None


def digest_missing(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """An image without digest needs consent."""
    for name, service in rig.services.items():
        if "@sha256:" in service.image:
            continue
        path = ("services", name, "image")
        why = "a tag can be moved or deleted: the same spec may run other code tomorrow"
        if service.accept_moving_tag:
            yield warning(
                "images.digest-missing", path, "no digest; the tag may move, as you accept", why=why
            )
            continue
        yield error(
            "images.digest-missing",
            path,
            f"`{service.image}` has no digest",
            why=why,
            hint=f"`docker buildx imagetools inspect {service.image}` prints it; or consent with "
            "`accept_moving_tag: true`",
        )


def consent_needless(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A consent to something the spec does not do."""
    for name, service in rig.services.items():
        if service.accept_moving_tag and "@sha256:" in service.image:
            yield note(
                "images.consent-needless",
                ("services", name, "accept_moving_tag"),
                "the image has a digest and cannot move",
                hint="delete the line",
            )


def cuda_unknown(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Without the image's CUDA version its driver floor cannot be checked."""
    for name, service in rig.services.items():
        if service.cuda is None and engine(service.engine).cuda_of_image(service.image) is None:
            yield note(
                "images.cuda-unknown",
                ("services", name, "image"),
                "`cuda` is not given and the tag does not say it, so nobody checks whether the "
                "driver is new enough",
                why="a driver that is too old ends in error 804, or in silence on the CPU",
                hint='the image\'s page or its `CUDA_VERSION` variable says it: `cuda: "13.0"`',
            )


def version_contradicts_tag(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`engine_version` is the version in the tag of the project's own image."""
    from rigspec.sizing.from_spec import version_of  # its estimates are for later

    for name, service in rig.services.items():
        written = version_of_tag(service.engine, service.image)
        told, said = version_of(written), version_of(service.engine_version)
        if not told or not said:
            continue
        if any(one != other for one, other in zip(told, said, strict=False)):
            yield warning(
                "images.version-contradicts-tag",
                ("services", name, "engine_version"),
                f"`engine_version: {service.engine_version}`, but the image's tag is "
                f"`{tag(service.image)}`",
                why="flags, defaults and memory are judged by the version",
                hint=f"set `engine_version: {written}`, or take that image",
            )


def cuda_contradicts_tag(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`cuda` agrees with what the tag says."""
    for name, service in rig.services.items():
        told = engine(service.engine).cuda_of_image(service.image)
        if service.cuda is not None and told is not None and service.cuda != told:
            yield warning(
                "images.cuda-contradicts-tag",
                ("services", name, "cuda"),
                f"`cuda: {service.cuda}`, but images with this tag are built with CUDA {told}",
                why="the driver floor follows from it",
                hint=f'set `cuda: "{told}"`, or delete the line',
            )
