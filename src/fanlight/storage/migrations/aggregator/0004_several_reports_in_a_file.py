"""Where in its file a report's vector begins: small reports that come at once share a file."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column; every vector so far has a file of its own."""
    op.add_column("reports", Column("start", Integer, nullable=False, server_default="0"))
