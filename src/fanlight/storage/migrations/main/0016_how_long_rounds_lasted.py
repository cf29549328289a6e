"""How long a round lasted is stored, for the clock on the wall may have been set while it was under way."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Made anew, since the long record is to stay the last column; of earlier rounds it is not known."""
    with op.batch_alter_table("rounds", recreate="always") as rounds:
        rounds.add_column(Column("lasted_s", Float), insert_before="record")
