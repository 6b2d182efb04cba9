"""Tests that may be skipped: what they need, and why it can be missing.

CI sets `PKS4_TEST_ALL_PARTS` after it installed what was missing. A skip whose reason is not in
`UNAVOIDABLE` then fails the run, and so do more than ten skips.
"""

import os
import re

MOST = 10
# What no installed package can give: a pattern of the reason of the skip, and why it may stay.
UNAVOIDABLE = {
    r"there is a GPU here": "the test says what happens without one",
}


def unexpected(reasons: list[str]) -> list[str]:
    """Reasons that may not be the reason of a skip, and one more line where there are too many."""
    wrong = [r for r in reasons if not any(re.search(known, r) for known in UNAVOIDABLE)]
    if len(reasons) > MOST:
        wrong.append(f"{len(reasons)} tests are skipped, {MOST} may be")
    return wrong


class Watch:
    """A pytest plugin of the process that reports: it collects the reasons of all skips."""

    def __init__(self) -> None:
        self.reasons: list[str] = []

    def pytest_runtest_logreport(self, report) -> None:
        if report.skipped and not hasattr(report, "wasxfail"):
            self.reasons.append(report.longrepr[2].removeprefix("Skipped: "))

    def pytest_sessionfinish(self, session) -> None:
        if unexpected(self.reasons) and not session.exitstatus:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter) -> None:
        for line in unexpected(self.reasons):
            terminalreporter.write_line(f"may not be skipped: {line}", red=True)


def register(config) -> None:
    """Watch this run where all parts are installed."""
    if os.environ.get("PKS4_TEST_ALL_PARTS") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Watch())
