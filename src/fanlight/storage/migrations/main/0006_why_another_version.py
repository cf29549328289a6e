"""Why another version became current: by hand so far, by rules of the policy from now on."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, String

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the column."""
    op.add_column("current_changes", Column("reason", String, nullable=False, server_default="by-hand"))
