"""Long lists come page by page: the number of a page in an address, and what is said beside what is on it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query

PageNumber = Annotated[int, Query(ge=1, le=10**9)]
"""From 1; beyond the last page there is nothing on it."""


def paging(page: int, size: int, total: int) -> dict[str, int]:
    """``page``, ``pages`` (at least 1) and ``total``, where ``size`` of ``total`` entries fit a page."""
    return {"page": page, "pages": pages_of(size, total), "total": total}


def pages_of(size: int, total: int) -> int:
    """How many pages there are: at least 1, which may be empty."""
    return max(1, -(-total // size))
