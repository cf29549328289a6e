"""Rounds keep their record last: what stands behind a long value is slow to read. Rounds and models find each other."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Copy the table, and make the indexes."""
    order = ("released_at", "record")
    with op.batch_alter_table("rounds", recreate="always", partial_reordering=[order]) as rounds:
        rounds.create_index("ix_rounds_model", ["model"])
    op.create_index("ix_models_round", "models", ["round"])
