"""`rigspec plan --sizing`: one screen, data, and the pages that show what is printed."""

from __future__ import annotations

import json
import os

import pytest
from asked import ROOT, rigspec

pytestmark = pytest.mark.usefixtures("in_the_repository")


def test_plan_sizing_is_one_screen_of_a_hundred_columns() -> None:
    for name in ("starter", "home"):
        done = rigspec("plan", f"rigs/{name}.yaml", "--sizing")
        assert done.exit_code == 0
        lines = done.stdout.splitlines()
        assert len(lines) <= 45
        assert max(map(len, lines)) <= 110


def test_plan_sizing_as_data_holds_links_power_and_an_honest_unknown() -> None:
    record = json.loads(rigspec("plan", "rigs/home.yaml", "--sizing", "--json").stdout)
    glm = record["services"]["glm"]
    assert glm["verdict"] == "close"
    assert record["services"]["stt"]["verdict"] is None  # nothing is saved of its model
    assert len(glm["links"]) == 6
    assert {link["label"] for link in glm["links"]} == {"PIX"}
    # (4 × 350 W + 280 W) / 0.92, (4 × 600 W + 280 W) / 0.92, 120 V × 20 A × 0.8
    assert record["power"]["wall_at_caps_w"] == pytest.approx(1826.1)
    assert record["power"]["wall_at_default_limits_w"] == pytest.approx(2913.0)
    assert record["power"]["circuit_w"] == pytest.approx(1920)


def test_plan_ends_with_the_sizing_screen() -> None:
    done = rigspec("plan", "rigs/starter.yaml")
    assert done.exit_code == 0
    assert done.stdout.index("digest ") < done.stdout.index("power at the wall")


FIT = ("fit", "Qwen/Qwen3.6-27B-FP8", "--gpu", "rtx-3090", "--count", "2")
NEWEST = ("--engine-version", "0.30.0")


@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("docs/fit.md", ("plan", "rigs/starter.yaml", "--sizing")),
        ("docs/fit.md", (*FIT, "--sequences", "16", *NEWEST)),
        ("README.md", (*FIT, "--context", "32768", "--sequences", "8", *NEWEST)),
    ],
    ids=["plan --sizing", "fit", "README"],
)
def test_docs_show_what_the_commands_print(file: str, arguments: tuple[str, ...]) -> None:
    """After a wanted change: `RIGSPEC_REWRITE=1 pytest tests/unit/cli`, then read the diff."""
    page = ROOT / file
    printed = rigspec(*arguments).stdout.rstrip()
    text = page.read_text()
    title = printed.partition("\n")[0]
    shown = next(b for b in text.split("```") if b.strip().startswith(title[:30])).strip("\n")
    if os.environ.get("RIGSPEC_REWRITE"):
        page.write_text(text.replace(shown, printed))
        return
    assert shown == printed


def test_the_readme_states_the_errors_that_the_benchmark_wrote_down() -> None:
    readme, table = ((ROOT / name).read_text() for name in ("README.md", "docs/sizing.md"))
    for row, stated in (
        ("weights, sizes at hand", "0.15 % of the weights"),
        ("free memory, settings alone", "0.64 GiB of the free memory"),
        ("decode, one stream, dense", "6.82 % of decode speed (dense models)"),
        ("decode, one stream, experts", "13.6 %"),
        ("false `fits`", "8 of 1368, 674 too close"),
    ):
        found = next(line for line in table.splitlines() if line.startswith(f"| {row} |"))
        assert stated in " ".join(readme.split())
        assert stated.partition(" of the ")[0].partition(" of decode")[0] in found
