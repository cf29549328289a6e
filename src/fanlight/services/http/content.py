"""Answer with a file that its SHA-256 names: all of it, the range that is missing, or that the asker has it already.

RFC 9110, sections 13 and 14, as far as it helps: one range of bytes; anything else gets the whole file, as the RFC
allows. The content is in memory, since it comes out of a row of the database.
"""

from __future__ import annotations

import re
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_KIND: Final = "application/octet-stream"


def etag_of(sha256: bytes) -> str:
    """The entity tag of the content with this hash."""
    return f'"{sha256.hex()}"'


def content_response(request: Request, content: bytes, sha256: bytes, name: str = "") -> Response:
    """``content`` as ``request`` asks for it.

    Args:
        request: its ``If-None-Match``, ``Range`` and ``If-Range`` count.
        content: what to send.
        sha256: of ``content``.
        name: under which name to save it; by default it is not for saving.
    """
    headers = {"ETag": etag_of(sha256), "Accept-Ranges": "bytes"}
    known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
    if headers["ETag"] in known or known == ["*"]:
        return Response(status_code=304, headers=headers)
    if name:
        headers["Content-Disposition"] = f'attachment; filename="{name}"'
    wanted = _range(request, len(content), headers["ETag"])
    if wanted is None:
        return Response(content, media_type=_KIND, headers=headers)
    start, stop = wanted
    if start >= stop:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{len(content)}"})
    headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(content)}"
    return Response(memoryview(content)[start:stop], status_code=206, media_type=_KIND, headers=headers)


def _range(request: Request, size: int, etag: str) -> tuple[int, int] | None:
    """First byte, and the one after the last; None for all of it; nothing between them: it cannot be had."""
    asked = _RANGE.fullmatch(request.headers.get("range", "").strip())
    if asked is None or request.headers.get("if-range", etag) != etag or asked[0] == "bytes=-":
        return None
    first, last = asked.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None  # not a range at all: as if it had not been asked for
    return int(first), min(size, int(last) + 1) if last else size
