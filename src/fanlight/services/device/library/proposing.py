"""Ask the operator for a class that the task does not have."""

from __future__ import annotations

from fanlight.protocol.exchange import PREFIX, ClassProposal
from fanlight.services.http.remote import Remote


def propose_class(main: Remote, name: str) -> None:
    """``POST /protocol/v1/class-proposals``, signed by this device.

    Raises:
        MalformedMessage: the name is too long. RemoteError: main does not take it, or does not answer.
    """
    main.send("POST", f"{PREFIX}/class-proposals", content=ClassProposal(name=name).encode())
