"""Documentation that is made from the code: compared by tests, written anew with ``FANLIGHT_WRITE_DOCS=1``."""

from __future__ import annotations

import os
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def check(name: str, expected: str) -> None:
    """Compare ``docs/NAME`` with what the code says, or write it."""
    path = DOCS / name
    if os.environ.get("FANLIGHT_WRITE_DOCS") == "1":
        path.write_text(expected)
    assert path.read_text() == expected, (
        f"docs/{name} is behind the code; run: FANLIGHT_WRITE_DOCS=1 .venv/bin/python -m pytest tests/docs"
    )
