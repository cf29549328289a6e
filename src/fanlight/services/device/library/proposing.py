"""Ask the operator for a class that the task does not have."""

from __future__ import annotations

from fanlight.protocol.exchange import PREFIX
from fanlight.protocol.message import Message
from fanlight.protocol.plan import ClassName
from fanlight.services.http.remote import Remote


class ClassProposal(Message):
    """The name of a class that a device's owner would like."""

    name: ClassName


def propose_class(main: Remote, name: str) -> None:
    """``POST /protocol/v1/class-proposals``, signed by this device.

    Raises:
        MalformedMessage: the name is too long. RemoteError: main does not take it, or does not answer.
    """
    main.send("POST", f"{PREFIX}/class-proposals", content=ClassProposal(name=name).encode())
