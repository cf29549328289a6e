"""The first tables of the device."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Integer, LargeBinary, String

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "settings",
        Column("key", String, primary_key=True),
        Column("value", LargeBinary, nullable=False),
    )
    op.create_table(
        "answered",
        Column("answer_key", LargeBinary(32), primary_key=True),
        Column("mh", LargeBinary(32), nullable=False, unique=True),
    )
    op.create_table(
        "reports",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("delivery", String, nullable=False),
        Column("record", LargeBinary, nullable=False),
        Column("committed_at", Integer, nullable=False),
    )
    op.create_table(
        "rounds",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("number", Integer, nullable=False),
        Column("kind", String, nullable=False),
        Column("learned", LargeBinary, nullable=False),
        Column("result", String),
        Column("reason", String),
        Column("included", Boolean),
        Column("asked_again", Boolean, nullable=False),
    )
    op.create_table(
        "contradictions",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("number", Integer, nullable=False),
        Column("first", LargeBinary, nullable=False),
        Column("second", LargeBinary, nullable=False),
        Column("found_at", Integer, nullable=False),
        Column("acknowledged_at", Integer),
    )
    op.create_table(
        "refusals",
        Column("mh", LargeBinary(32), primary_key=True),
        Column("slug", String, primary_key=True),
        Column("message", String, nullable=False),
        Column("next", String, nullable=False),
        Column("refused_at", Integer, nullable=False),
    )
