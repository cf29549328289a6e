"""What trainings have the device remember; it counts once the round that it went into is released with its report."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Integer, LargeBinary, String, false

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "memories",
        Column("number", Integer, primary_key=True),
        Column("head", LargeBinary(32), nullable=False),
        Column("model_version", Integer, nullable=False),
        Column("mh", LargeBinary(32), unique=True),
        Column("counted", Boolean, nullable=False, server_default=false()),
        Column("algorithm", String, nullable=False),
        Column("content", LargeBinary, nullable=False),
    )
