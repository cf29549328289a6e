"""Folders in memory where the system has them: here processes die, not machines, so nothing need wait for a disk."""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

MEMORY = Path("/dev/shm")  # noqa: S108


@pytest.fixture(scope="module")
def quick_folder() -> Iterator[Path]:
    """An empty folder, deleted afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="fanlight-faults-", dir=MEMORY if MEMORY.is_dir() else None))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Thousands of rounds have nothing to say."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.configure(**before)
