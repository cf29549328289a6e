"""Every error that Fanlight raises on purpose, and whose fault it was.

::

    FanlightError
    ├── LocalError                  ours, or our owner's: this process, its settings, its disk, its pictures
    │   ├── SettingsError           a setting is unknown, missing or out of range
    │   ├── UsageError              a command was called with arguments that do not go together
    │   ├── PictureError            one picture cannot be used; names the picture
    │   ├── DataError               a folder of pictures or a data set cannot be used
    │   ├── ModelError              a model, backbone or checkpoint file is not what it should be
    │   ├── NotPossibleNow          a step was asked for that the present state does not allow
    │   ├── Busy                    more is being asked for at once than this process has room for
    │   └── StorageError            the disk or the database failed us
    └── RemoteError                 the peer's: what came over the wire, or did not come
        ├── MalformedMessage        bytes that are not a valid message: length, type, range, unknown field
        ├── MessageTooLarge         more bytes than the limit; refused before they are read
        ├── NotAuthentic            a signature, certificate, token or digest does not verify
        ├── NotEnrolled             the sender is not (or no longer) a member
        ├── Refused                 well-formed and authentic, but our rules forbid it
        ├── Conflict                contradicts what was said before (a second, different message)
        ├── NotFound                names something that does not exist here
        └── Unreachable             the peer did not answer, or answered with something that is no answer

Each error has a ``slug`` (stable, for machines), a message (what happened, where) and ``next`` (what to do).
``services.http.problems`` maps each class to an HTTP status; a test proves that none is missing.
"""

from __future__ import annotations

import errno
from typing import ClassVar, Final

DISK_FULL: Final = "disk-full"
"""No room, quota used up, or file size limit."""
DISK_FULL_RETRY_S: Final = 6.0
"""Somebody has to make room first; asking whether that has happened costs little, and a round waits for it."""

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class FanlightError(Exception):
    """Base of all errors raised on purpose.

    Args:
        message: what happened, and where, in one sentence a person can read.
        next: what the reader can do about it; may be empty.
        slug: stable machine-readable name; defaults to the class's own.
        round_number: the round it happened in, if any.
        device: hexadecimal device id it concerns, if any.
        retry_after_s: when trying again makes sense, in seconds from now on, if that is known.
    """

    default_slug: ClassVar[str] = "error"

    def __init__(
        self,
        message: str,
        *,
        next: str = "",
        slug: str | None = None,
        round_number: int | None = None,
        device: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.next = next
        self.slug = slug or self.default_slug
        self.round_number = round_number
        self.device = device
        self.retry_after_s = retry_after_s


class LocalError(FanlightError):
    default_slug = "local-error"


class SettingsError(LocalError):
    default_slug = "bad-settings"


class UsageError(LocalError):
    default_slug = "bad-usage"


class PictureError(LocalError):
    """A picture that cannot be used.

    Args:
        reason: what is wrong with it; kept, for those who name it themselves.
        picture: what it is called; the message begins with it. Empty if there is none.
        next, slug: as for all errors.
    """

    default_slug = "bad-picture"

    def __init__(self, reason: str, *, picture: str = "", next: str = "", slug: str | None = None) -> None:
        super().__init__(f"{picture}: {reason}" if picture else reason, next=next, slug=slug)
        self.reason = reason


class DataError(LocalError):
    default_slug = "bad-data"


class ModelError(LocalError):
    default_slug = "bad-model"


class NotPossibleNow(LocalError):
    default_slug = "not-possible-now"


class Busy(LocalError):
    default_slug = "busy"


class StorageError(LocalError):
    default_slug = "storage-failed"


class RemoteError(FanlightError):
    default_slug = "remote-error"


class MalformedMessage(RemoteError):
    default_slug = "malformed-message"


class MessageTooLarge(RemoteError):
    default_slug = "message-too-large"


class NotAuthentic(RemoteError):
    default_slug = "not-authentic"


class NotEnrolled(RemoteError):
    default_slug = "not-enrolled"


class Refused(RemoteError):
    default_slug = "refused"


class Conflict(RemoteError):
    default_slug = "conflict"


class NotFound(RemoteError):
    default_slug = "not-found"


class Unreachable(RemoteError):
    default_slug = "unreachable"


def from_os_error(error: OSError, place: str) -> StorageError:
    """The ``StorageError`` for what the operating system refused at ``place`` (a file or folder)."""
    if error.errno in _NO_ROOM:
        return disk_full(place)
    reason = error.strerror or str(error) or type(error).__name__
    return StorageError(
        f"{place}: {reason}.",
        next="Check that the folder exists and belongs to the user who runs this.",
    )


def disk_full(place: str, missing_bytes: int | None = None) -> StorageError:
    """No room at ``place``; ``missing_bytes`` says how much more would have been needed, where that is known."""
    missing = f" {missing_bytes:,} bytes more are needed." if missing_bytes else ""
    return StorageError(
        f"No room left on the disk that holds {place}.{missing}",
        next="Free some space on that disk, then try again; nothing was changed.",
        slug=DISK_FULL,
        retry_after_s=DISK_FULL_RETRY_S,
    )
