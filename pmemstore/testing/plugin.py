"""The pytest plugin: fixtures ``crash_check`` and ``crash_check_mapping``, and their options.

    def test_no_crash_loses_money(crash_check):
        crash_check(transfer, invariant=no_money_is_lost, setup=open_accounts)

Loaded by pytest itself wherever pmemstore is installed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pmemstore.testing.report import CrashReport

_REPORTS = pytest.StashKey[list[tuple[str, "CrashReport"]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup("pmemstore", "crash tests of pmemstore")
    group.addoption("--crash-images", type=int, help="images before each fence or sync")
    group.addoption("--crash-nested", type=int, help="recoveries that are crashed in turn")
    group.addoption("--crash-seconds", type=float, help="limit for each medium")
    group.addoption("--crash-seed", type=int, help="seed of the samples")
    group.addoption("--crash-keep", type=Path, help="folder for the images of violations")


@pytest.fixture
def crash_check(request: pytest.FixtureRequest) -> Callable[..., CrashReport]:
    """``pmemstore.testing.crash_check``; options of the command line win over arguments."""
    from pmemstore.testing import crash_check

    return _with_options(crash_check, request)


@pytest.fixture
def crash_check_mapping(request: pytest.FixtureRequest) -> Callable[..., CrashReport]:
    """``pmemstore.testing.crash_check_mapping``, in the same way."""
    from pmemstore.testing import crash_check_mapping

    return _with_options(crash_check_mapping, request)


def _with_options(
    function: Callable[..., CrashReport], request: pytest.FixtureRequest
) -> Callable[..., CrashReport]:
    names = ("images", "nested", "seconds", "seed", "keep")
    given = {name: request.config.getoption(f"crash_{name}") for name in names}
    wanted = {name: value for name, value in given.items() if value is not None}

    def check(*args: Any, **kwargs: Any) -> CrashReport:
        __tracebackhide__ = True
        report = function(*args, **{**kwargs, **wanted})
        request.config.stash.setdefault(_REPORTS, []).append((request.node.nodeid, report))
        return report

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what the crash tests have looked at."""
    reports = terminalreporter.config.stash.get(_REPORTS, [])
    if not reports:
        return
    terminalreporter.section("crash images")
    for name, report in reports:
        for line in str(report).splitlines():
            terminalreporter.write_line(f"{name}  {line}")
