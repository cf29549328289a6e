"""Files of models stand apart: to publish a version is to change a short row, not to write its file once more."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, LargeBinary

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table, and move the files."""
    op.create_table(
        "model_files",
        Column("sha256", LargeBinary(32), primary_key=True),
        Column("content", LargeBinary, nullable=False),
    )
    op.execute("INSERT INTO model_files (sha256, content) SELECT sha256, content FROM models")
    op.add_column("models", Column("size", Integer, nullable=False, server_default="0"))
    op.execute("UPDATE models SET size = length(content)")
    with op.batch_alter_table("models") as models:
        models.drop_column("content")
