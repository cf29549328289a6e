"""What the server's part of an algorithm remembers with a version, and by which algorithm a version was made.

A round goes to its end by the algorithm that it was proposed with. Where the version that it starts from has nothing of
this algorithm, that begins anew.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, bindparam, insert, select

from fanlight.learning.algorithms import memory_file
from fanlight.learning.algorithms.algorithm import NOTHING, Memory
from fanlight.services.main_server import notes
from fanlight.services.main_server.algorithm_choice import AlgorithmChoice
from fanlight.storage.statements import Statement
from fanlight.storage.tables.main import algorithm_memories

_FIND: Final = Statement(
    select(algorithm_memories.c.content).where(
        algorithm_memories.c.version == bindparam("wanted"), algorithm_memories.c.algorithm == bindparam("name")
    )
)
_MADE_BY: Final = Statement(
    select(algorithm_memories.c.choice).where(algorithm_memories.c.version == bindparam("wanted"))
)
_KEEP: Final = Statement(insert(algorithm_memories))


def propose(tx: Connection, choice: AlgorithmChoice) -> None:
    """The round that is proposed now goes by this algorithm to its end."""
    notes.keep_text(tx, notes.ALGORITHM, choice.model_dump_json())


def proposed(tx: Connection, now: AlgorithmChoice) -> AlgorithmChoice:
    """The algorithm of the round proposed last; ``now`` if it was proposed before there was a choice."""
    said = notes.read_text(tx, notes.ALGORITHM)
    return now if said is None else AlgorithmChoice.model_validate_json(said)


def remembered(tx: Connection, version: int, choice: AlgorithmChoice) -> Memory:
    """What this algorithm remembers with a version; nothing if the version was made by another one."""
    content: bytes | None = _FIND.scalar(tx, wanted=version, name=choice.name)
    return memory_file.decode(content) if content else NOTHING


def remember(tx: Connection, version: int, choice: AlgorithmChoice, memory: Memory) -> None:
    """Keep by which algorithm a new version was made, and what that remembers with it."""
    content = memory_file.encode(memory) if memory else b""
    _KEEP.run(tx, version=version, algorithm=choice.name, choice=choice.model_dump_json(), content=content)


def made_by(tx: Connection, version: int) -> AlgorithmChoice | None:
    """By which algorithm a version was made; None of the first, and of those from before there was a choice."""
    said: str | None = _MADE_BY.scalar(tx, wanted=version)
    return None if said is None else AlgorithmChoice.model_validate_json(said)
