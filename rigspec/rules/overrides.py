"""llama.cpp's `--override-tensor`: which matrices lie in which memory, told by expressions."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from rigspec.catalog.override_words import FLAGS, VARIABLE, fault, words
from rigspec.finding import Finding, Path, error, warning
from rigspec.rules.context import CheckContext
from rigspec.rules.images import is_stock
from rigspec.spec.rig import Rig, members
from rigspec.spec.secrets import hide_tokens
from rigspec.spec.services import Service

_SHOWN = 5
"""Expressions of one line that are named."""


def words_taken(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """Every word is an expression and a buffer type that llama.cpp has."""
    for path, service, text in _told(rig):
        cards = len(members(rig.gpus, service.gpus))
        complain = error if is_stock(service.engine, service.image) else warning
        for message, hint in dict.fromkeys(fault(word, cards) for word in words(text)):
            if message:
                yield complain(
                    "overrides.words-taken",
                    path,
                    hide_tokens(message),
                    why="llama.cpp ends before it serves",
                    hint=hide_tokens(hint),
                )


def finds_something(rig: Rig, facts: CheckContext) -> Iterator[Finding]:
    """An expression is found in the name of some matrix of the model, where that is known."""
    for path, service, text in _told(rig):
        model = facts.models.get(service.model)
        if model is None:
            continue
        from rigspec.sizing.overrides import finds_nothing, overrides_in

        told = dict.fromkeys(each.pattern for each in overrides_in(text) or ())
        lost = [f"`{hide_tokens(pattern)}`" for pattern in told if finds_nothing(pattern, model)]
        if lost:
            more = f" and {len(lost) - _SHOWN} more" if len(lost) > _SHOWN else ""
            yield warning(
                "overrides.finds-something",
                path,
                f"no matrix of `{service.model}` is found by {', '.join(lost[:_SHOWN])}{more}",
                why="llama.cpp passes over it without a word, and everything stays where it is",
                hint="names are like `blk.0.attn_q.weight` and `blk.0.ffn_up_exps.weight`; "
                "blanks count, a `.` is any character",
            )


def _told(rig: Rig) -> Iterator[tuple[Path, Service, str]]:
    """What each service of llama.cpp is told, and where; buffers of other machines nobody knows."""
    for name, service in rig.services.items():
        given, environment = service.extra_args, service.environment
        if service.engine != "llama_cpp" or "--rpc" in given or "LLAMA_ARG_RPC" in environment:
            continue
        for i, (flag, text) in enumerate(pairwise(given), 1):
            if flag.replace("_", "-") in FLAGS:
                yield ("services", name, "extra_args", i), service, text
        if VARIABLE in environment:
            yield ("services", name, "environment", VARIABLE), service, environment[VARIABLE]
