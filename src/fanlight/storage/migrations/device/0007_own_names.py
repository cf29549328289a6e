"""Names that only this home knows, and the head that knows them; neither ever leaves."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Boolean, Column, Integer, LargeBinary, String, false

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "own_names",
        Column("number", Integer, primary_key=True),
        Column("name", String, nullable=False, unique=True),
        Column("kind", String),
        Column("counts", Boolean, nullable=False, server_default=false()),
    )
    op.create_table(
        "home_models",
        Column("number", Integer, primary_key=True),
        Column("made_of", LargeBinary(32), nullable=False),
        Column("head", LargeBinary, nullable=False),
        Column("familiar", LargeBinary),
        Column("findings", LargeBinary, nullable=False),
        Column("made_at", Integer, nullable=False),
    )
