"""Paths in the engine's flags that the container does not have, and those it may well have."""

from __future__ import annotations

from pathlib import Path

import pytest

from rigspec.rules.run import check_file

FINE = Path(__file__).resolve().parents[3] / "tests" / "errors" / "base-is-fine.yaml"


@pytest.mark.parametrize(
    ("file", "mounts", "missing"),
    [
        ("/t/q.jinja", "", True),
        ("/t/q.jinja", "\n    mounts: {/srv/t: /t}", False),
        ("/vllm-workspace/examples/tool_chat_template_mistral.jinja", "", False),
        ("/sgl-workspace/sglang/examples/chat_template/q.jinja", "", False),
        ("/models/chat/chat_template.jinja", "", False),
        ("/t/q.txt", "", False),
        ("/srv/t/q.txt", "", True),
        ("examples/q.jinja", "", False),
    ],
)
def test_a_template_must_be_mounted_unless_the_image_may_bring_it(
    file: str, mounts: str, missing: bool, tmp_path: Path
) -> None:
    spec = tmp_path / "own.yaml"
    asked = f"    extra_args: [--chat-template, {file}]{mounts}\n"
    spec.write_text(FINE.read_text().rstrip() + "\n" + asked)
    found = {finding.rule for finding in check_file(str(spec)).findings}
    assert ("mounts.path-not-mounted" in found) is missing
