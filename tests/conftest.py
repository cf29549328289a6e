"""How the tests run: fast ones first, no skip goes unnoticed, random examples are the same for everybody."""

from __future__ import annotations

import importlib.util
import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path

import hypothesis
import pytest
import structlog

from tests.requirements import all_required, summarise

TESTS = Path(__file__).parent
# Of the slow ones, those with the longest tests first: what is left at the end is soon divided among the workers.
FAST_FIRST = ("unit", "property", "vectors", "contract", "attacks", "docs", "faults", "crash", "e2e", "torch")

# No deadline: a busy machine must not fail a test. The usual run draws the same examples everywhere.
hypothesis.settings.register_profile("usual", deadline=None, max_examples=50, derandomize=True)
hypothesis.settings.register_profile("long", deadline=None, max_examples=2000, print_blob=True)
hypothesis.settings.load_profile("long" if os.environ.get("FANLIGHT_LONG") == "1" else "usual")


def log_plainly() -> None:
    """As structlog logs by default, with plain tracebacks as the program's: its own draw every local variable.

    For a page with names of 10,000 characters that took longer than any test may.
    """
    structlog.reset_defaults()
    before = structlog.get_config()["processors"][:-1]
    console = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(processors=[*before, console])


log_plainly()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Tests marked ``anyio`` run on asyncio, as the services do."""
    return "asyncio"


@pytest.fixture
def restored_logging() -> Iterator[None]:
    """For tests that configure the logging of the whole process: afterwards it is as before."""
    root, loggers = (
        logging.getLogger(),
        [logging.getLogger(name) for name in ("uvicorn", "uvicorn.access", "uvicorn.error")],
    )
    handlers, level, propagating = root.handlers[:], root.level, [logger.propagate for logger in loggers]
    yield
    log_plainly()
    root.handlers[:] = handlers
    root.setLevel(level)
    for logger, propagate in zip(loggers, propagating, strict=True):
        logger.propagate = propagate


def folder_of(path: Path) -> str:
    """Name of the folder directly below ``tests`` that holds ``path``."""
    inside = path.relative_to(TESTS) if path.is_relative_to(TESTS) else path
    return inside.parts[0] if inside.parts else ""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves ``tests/torch`` unread where there is no torch: its modules import it when they are read."""
    if folder_of(collection_path) == "torch" and importlib.util.find_spec("torch") is None:
        return True
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their folder and puts the fast folders first."""
    for item in items:
        if folder_of(item.path) in {"e2e", "crash", "torch"}:
            item.add_marker(folder_of(item.path))
    items.sort(key=lambda item: FAST_FIRST.index(folder) if (folder := folder_of(item.path)) in FAST_FIRST else 0)


def refuse_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Turns a skip into a failure where everything is required; an expected failure is no skip."""
    if report.skipped and all_required() and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, but FANLIGHT_REQUIRE_ALL=1 allows no skip: {reason_of(report)}"


def reason_of(report: pytest.TestReport | pytest.CollectReport) -> str:
    """Why ``report`` says that a test was skipped."""
    return report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Applies :func:`refuse_skip` to tests."""
    report = yield
    refuse_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Applies :func:`refuse_skip` to whole modules."""
    report = yield
    refuse_skip(report)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Says how many tests each missing requirement cost, and what tests have counted."""
    reports = terminalreporter.getreports("skipped")
    for line in summarise([reason_of(report) for report in reports]):
        terminalreporter.write_line(line)
    for report in [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]:
        for name, value in report.user_properties:
            if not name.startswith("_"):  # those are for a summary of their own
                terminalreporter.write_line(f"{name}: {value}")
