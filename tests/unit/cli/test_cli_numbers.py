"""Numbers in options: every one of every verb refuses what is no number, in one sentence."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from asked import fit

from rigspec.cli import main

NO_NUMBERS = ("nan", "-nan", "inf", "-1", "1e308", "", " ", "٣", "٠.٥", "½", "9" * 5000)


def numeric(group: click.Group, words: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Option]]:
    """Every option that takes a number, with its verb."""
    context = click.Context(group)
    for name in group.list_commands(context):
        verb = group.get_command(context, name)
        if isinstance(verb, click.Group):
            yield from numeric(verb, (*words, name))
        for option in verb.params if verb else ():
            if isinstance(option.type, click.types.IntParamType | click.types.FloatParamType):
                assert isinstance(option, click.Option)
                yield " ".join((*words, name, option.opts[0])), option


NUMERIC = dict(numeric(main))


pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_options_with_numbers_are_found() -> None:
    assert {"fit --fraction", "fit --sequences", "burn --minutes", "discover --port"} <= set(
        NUMERIC
    )


@pytest.mark.parametrize("option", NUMERIC)
@pytest.mark.parametrize("written", NO_NUMBERS, ids=ascii)
def test_what_is_no_number_is_refused(option: str, written: str) -> None:
    with pytest.raises(click.BadParameter) as refused:
        NUMERIC[option].type.convert(written, NUMERIC[option], None)
    assert len(refused.value.message) < 120


@pytest.mark.parametrize("option", ["--context", "--sequences", "--power-limit-w"])
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_the_largest_number_gets_an_answer(option: str, engine: str) -> None:
    done = fit("Qwen/Qwen3-8B", "--gpu", "rtx-2080-ti", "--context", "1024", "--engine", engine,
               option, str(2**31 - 1))  # fmt: skip
    assert done.exit_code in (0, 2)
    assert done.exception is None or isinstance(done.exception, SystemExit)
