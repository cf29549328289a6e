"""The sums that a head is solved from are kept, and how each version that was solved was."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, Integer, LargeBinary

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "collected_sums",
        Column("round", Integer, primary_key=True, autoincrement=False),
        Column("devices", Integer, nullable=False),
        Column("examples", LargeBinary, nullable=False),
        Column("supporters", LargeBinary, nullable=False),
        Column("class_sums", LargeBinary, nullable=False),
        Column("gram", LargeBinary, nullable=False),
    )
    op.create_table(
        "solutions",
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("devices", Integer, nullable=False),
        Column("pictures", Integer, nullable=False),
        Column("strength", Float),
        Column("held_out_error", Float),
    )
