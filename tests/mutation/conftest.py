"""Prints the table behind a run of the mutation tests, so that CI shows what was proved."""

from __future__ import annotations

from _pytest.terminal import TerminalReporter


def pytest_terminal_summary(terminalreporter: TerminalReporter) -> None:
    """Only where the mutation tests ran and nothing kept them from being collected."""
    reports = terminalreporter.stats.get("passed", []) + terminalreporter.stats.get("failed", [])
    ran = [r for r in reports if "test_mutation.py" in getattr(r, "nodeid", "")]
    if len(ran) < 5:
        return
    from .table import table

    terminalreporter.section("verify, tested by mutation")
    for line in table():
        terminalreporter.write_line(line)
