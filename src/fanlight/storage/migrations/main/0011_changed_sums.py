"""Sums are known by the round that began to collect them, since rounds of changes change them; totals of versions."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, and make the table."""
    op.add_column("collected_sums", Column("collection", Integer, nullable=False, server_default="0"))
    op.execute("UPDATE collected_sums SET collection = round")
    op.add_column("solutions", Column("collection", Integer))
    op.add_column("solutions", Column("changed", Integer))
    op.create_table(
        "taught_by",
        Column("version", Integer, primary_key=True, autoincrement=False),
        Column("devices", Integer, nullable=False),
        Column("pictures", Integer, nullable=False),
        Column("per_class", LargeBinary),
    )
