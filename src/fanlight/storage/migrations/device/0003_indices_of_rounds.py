"""A device that has taken part in thousands of rounds finds the few that matter without reading all of them."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indices."""
    for table, column in (
        ("reports", "delivery"),
        ("reports", "committed_at"),
        ("rounds", "number"),
        ("rounds", "result"),
    ):
        op.create_index(f"ix_{table}_{column}", table, [column])
