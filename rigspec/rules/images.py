"""Container images: pinned, and with enough driver below them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from rigspec.catalog.drivers import CardCuda, card_cuda
from rigspec.catalog.engine_support import support
from rigspec.catalog.engines import (
    ENGINES,
    engine,
    is_beyond_known,
    is_version,
    repository,
    tag,
    version_like,
    version_of,
)
from rigspec.catalog.gpus import Gpu
from rigspec.finding import Finding, error, note, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.places import a_card
from rigspec.spec.rig import Rig
from rigspec.spec.services import Service


def is_stock(name: str, image: str) -> bool:
    """Whether an image is the project's own build."""
    return engine(name).is_stock(image)


def version_of_tag(name: str, image: str) -> str:
    """`0.30.0` of `vllm/vllm-openai:v0.30.0`; empty where the tag of a stock image names none."""
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


def no_version(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`engine_version` is a version as the engine counts them, whatever words the tag has."""
    for name, service in rig.services.items():
        told = service.engine_version
        if told is None or is_version(service.engine, told):
            continue
        written = version_of_tag(service.engine, service.image)
        hint = (
            f"`engine_version: {written}`, as the image's tag says"
            if written
            else f"for example `engine_version: {version_like(service.engine)}`; delete the line "
            f"where {_COUNTED[service.engine]} is not known"
        )
        yield error(
            "images.no-version",
            ("services", name, "engine_version"),
            f"`engine_version: {told}` is no version of {_LABELS[service.engine]}",
            why="flags, defaults and memory are judged by the version",
            hint=hint,
        )


_LABELS = {"vllm": "vLLM", "sglang": "SGLang", "llama_cpp": "llama.cpp"}
_COUNTED = {"vllm": "the release", "sglang": "the release", "llama_cpp": "the build"}


def version_contradicts_tag(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """`engine_version` is the version in the tag of the project's own image."""
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


def version_beyond_known(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """A release that came out after the catalog is judged by the newest one it knows."""

    for name, service in rig.services.items():
        told = version_told(service)
        if not is_beyond_known(service.engine, version_of(told)):
            continue
        newest, label = engine(service.engine).flag_version, _LABELS[service.engine]
        yield note(
            "images.version-beyond-known",
            ("services", name, "engine_version" if service.engine_version else "image"),
            f"{label} {told} is newer than {newest}, the newest that was looked at",
            why=f"flags and refusals are judged by {newest}; memory and speed are reckoned by its "
            "rules, with bands as wide as without a version",
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


def other_engine(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The image of a well-known repository holds the engine that is asked for."""
    for name, service in rig.services.items():
        holds = next((e for e in ENGINES if is_stock(e, service.image)), service.engine)
        if holds != service.engine:
            yield error(
                "images.other-engine",
                ("services", name, "image"),
                f"`{repository(service.image)}` holds `{holds}`, not `{service.engine}`",
                why="the command of one engine is started in the image of another",
                hint=f"`engine: {holds}`, or the image `{engine(service.engine).stock[0]}`",
            )


def without_cuda(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """llama.cpp's own image holds a server, and one that computes with CUDA."""
    for name, service in rig.services.items():
        found = _LLAMA_TAG.fullmatch(tag(service.image))
        if service.engine != "llama_cpp" or not is_stock("llama_cpp", service.image) or not found:
            continue
        kind, variant = found.group("kind"), found.group("variant") or ""
        if kind != "light" and variant in ("cuda", "cuda12", "cuda13", "vulkan"):
            continue  # Vulkan computes on NVIDIA's cards as well
        lacks = "`llama-server`" if kind == "light" else "CUDA"
        yield error(
            "images.without-cuda",
            ("services", name, "image"),
            f"`{tag(service.image)}` is an image without {lacks}",
            why="the container ends at once"
            if kind == "light"
            else "the model would be computed by the CPU, without a message",
            hint="take `server-cuda` (CUDA 12) or `server-cuda13`",
        )


_LLAMA_TAG = re.compile(
    r"(?P<kind>server|full|light)"
    r"(-(?P<variant>cuda1[23]|cuda|rocm|musa|intel|vulkan|openvino|s390x))?(-b\d+)?"
)
"""Tags of docs/docker.md; `light` has `llama-cli` and `llama-completion` only."""


def cuda_for_card(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """The image's CUDA release compiles for every card."""
    for name, service in rig.services.items():
        release = service.cuda or engine(service.engine).cuda_of_image(service.image)
        groups = dict.fromkeys(ref.partition(".")[0] for ref in service.gpus)
        for card in filter(None, (facts.gpu(rig, group) for group in groups)):
            known = card_cuda(card)
            compiles = known.compiles(release) if known and release else "yes"
            if known is None or compiles == "yes":
                continue
            if compiles == "not yet" and service.engine == "llama_cpp":
                continue  # its images hold PTX, which the driver compiles for newer cards
            if compiles == "no longer" and _without_code(service, card):
                continue  # `refused.card` says it
            edge = f"{known.last} is the last" if compiles == "no longer" else f"{known.first} is"
            edge += " that does" if compiles == "no longer" else " the first that does"
            stock = is_stock(service.engine, service.image) or compiles == "no longer"
            yield (error if stock else warning)(
                "images.cuda-for-card",
                ("services", name, "cuda" if service.cuda else "image"),
                f"CUDA {release} does not compile for {a_card(card)}; {edge}",
                why="`no kernel image is available for execution on the device`, or the CPU "
                "computes",
                hint=_other_cuda(service.engine, known),
            )


def _without_code(service: Service, card: Gpu) -> bool:
    """Whether the project's own builds leave a card out whatever their CUDA release."""
    taken = support(service.engine)
    if taken is None or not is_stock(service.engine, service.image):
        return False
    return card.compute_capability < taken.least_card(version_of(version_told(service))).least


def _other_cuda(name: str, known: CardCuda) -> str:
    if known.last is None:
        return f"take an image built with CUDA {known.first} or newer"
    if name == "llama_cpp":
        return "`ghcr.io/ggml-org/llama.cpp:server-cuda` is built with CUDA 12"
    return f"take an image built with CUDA {known.last} or older"
