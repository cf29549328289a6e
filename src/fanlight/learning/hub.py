"""Weights that lie on the Hugging Face hub, or in the folder where its own programs keep what they have fetched.

Only ``model.safetensors`` is taken, which holds numbers alone. Needs the package ``huggingface_hub``. What its folder
has already, ``models--OWNER--NAME/snapshots/COMMIT/model.safetensors`` with the commit that ``refs/REVISION`` names, is
taken from there when the hub cannot be asked. ``HF_HUB_CACHE`` says where that folder is, ``HF_HUB_OFFLINE=1`` that
nothing be asked.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from fanlight.errors import ModelError

PREFIX: Final = "hf:"
_FILE: Final = "model.safetensors"
_REFERENCE: Final = re.compile(r"hf:(?P<repository>[\w.-]{1,96}/[\w.-]{1,96})(?:@(?P<revision>[\w./-]{1,128}))?")


def weights_on_hub(reference: str) -> Path:
    """The file of a repository's weights, fetched if it is not there yet.

    Args:
        reference: ``hf:OWNER/NAME``, or ``hf:OWNER/NAME@REVISION`` for a branch, tag or commit; ``main`` by default.

    Raises:
        ModelError: it is no such reference, the package is missing, or the hub does not give the file.
    """
    found = _REFERENCE.fullmatch(reference)
    if found is None:
        raise ModelError(
            f"{reference!r} names nothing on the hub", next="Write hf:OWNER/NAME or hf:OWNER/NAME@REVISION."
        )
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError
    except ImportError as error:
        raise ModelError(
            "weights on the Hugging Face hub need the package huggingface_hub",
            next="pip install 'fanlight[hub]', or download model.safetensors and name the file.",
        ) from error
    try:
        return Path(hf_hub_download(found["repository"], _FILE, revision=found["revision"] or "main"))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        why = str(error).strip().splitlines()[0][:300]
        raise ModelError(
            f"the hub does not give {_FILE} of {found['repository']}: {why}",
            next="Check name and revision; or download the file and name it.",
        ) from error
