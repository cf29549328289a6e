"""The version that a training started from goes: what a device remembers is found by rounds, see ``lineage``."""

from __future__ import annotations

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drop the column; the rows stay."""
    with op.batch_alter_table("memories") as memories:
        memories.drop_column("model_version")
