"""The form that pictures come in: bounded before a byte is read, and read before the login asks for its token."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, BinaryIO, Final

from fastapi import Depends
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from fanlight.errors import DataError, MalformedMessage, MessageTooLarge
from fanlight.services.device.library import Added, Library
from fanlight.services.device.library.adding import MAX_FILES, MAX_TOTAL_BYTES, too_many_files
from fanlight.services.http.limits import declared_length
from fanlight.services.http.owner import Owner, require_owner

BY_FOLDER: Final = "/"
"""Says "by their folders' names" where a class could stand; no class can have this name."""
_MAX_FIELDS: Final = 100


@dataclass(frozen=True)
class Upload:
    """What a form holds.

    Attributes:
        form: to be closed by whoever is done with it.
        files: paths as the browser gives them, and contents.
        label: the class of all of them, ``BY_FOLDER``, or empty.
        name: of the upload that this request belongs to (``library.uploads``), or empty.
    """

    form: FormData
    files: tuple[tuple[str, BinaryIO], ...]
    label: str
    name: str

    def take_in(self, library: Library) -> Added:
        """Put the pictures into the library; errors as in ``Library.take_in``.

        Raises:
            DataError: none was chosen.
        """
        if not self.files:
            raise DataError(
                "No picture was chosen.", slug="no-picture", next="Choose some in the form for them, then put them in."
            )
        by_folder = self.label == BY_FOLDER
        label = None if by_folder else self.label or None
        before = library.uploads.get(self.name)
        onto = before.operation if before else None
        return library.take_in(self.files, label, by_folder=by_folder, onto=onto)


async def uploaded(request: Request, _owner: Annotated[Owner, Depends(require_owner)]) -> Upload:
    """A dependency that reads an upload; to stand before ``require_owner_post``, which reads forms with lower limits.

    Raises:
        MessageTooLarge: it is too long.
        MalformedMessage: it does not say how long it is, or is no form.
        DataError: it holds too many files.
    """
    length = declared_length(request.headers)
    if length is None:
        raise MalformedMessage("The request does not say how long it is.", next="Send Content-Length.")
    if length > MAX_TOTAL_BYTES:
        raise MessageTooLarge(
            f"These files are more than {MAX_TOTAL_BYTES // 2**30} GiB at once.",
            next="Choose fewer. With JavaScript, the page divides them by itself.",
        )
    try:
        form = await request.form(max_files=MAX_FILES, max_fields=_MAX_FIELDS)
    except HTTPException as error:
        raise (too_many_files() if "Too many files" in error.detail else _unreadable(error)) from error
    files = [value for _name, value in form.multi_items() if isinstance(value, UploadFile) and value.filename]
    named = tuple((file.filename or "", file.file) for file in files)
    return Upload(form, named, _text(form, "label"), _text(form, "upload"))


def _unreadable(error: HTTPException) -> MalformedMessage:
    return MalformedMessage(
        f"The upload cannot be read: {error.detail}",
        next="Does a file have a name of thousands of characters? Rename it, or put it into a ZIP file.",
    )


def _text(form: FormData, name: str) -> str:
    value = form.get(name)
    return value if isinstance(value, str) else ""
