"""Pictures that the owner works with."""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Float, Integer, LargeBinary, String

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "pictures",
        Column("sha256", String(64), primary_key=True),
        Column("path", String, nullable=False),
        Column("state", String, nullable=False),
        Column("label", String),
        Column("part", String, nullable=False),
        Column("width", Integer, nullable=False),
        Column("height", Integer, nullable=False),
        Column("sharpness", Float, nullable=False),
        Column("perceptual_hash", LargeBinary(8), nullable=False),
        Column("added_at", Integer, nullable=False),
        Column("suggestion", String),
        Column("confidence", Float),
        Column("suggested_by", LargeBinary(32)),
    )
    op.create_table(
        "picture_files",
        Column("path", String, primary_key=True),
        Column("size", Integer, nullable=False),
        Column("modified_ns", Integer, nullable=False),
        Column("sha256", String(64)),
        Column("problem", String),
    )
    op.create_table(
        "picture_moves",
        Column("number", Integer, primary_key=True),
        Column("kind", String, nullable=False),
        Column("moves", LargeBinary, nullable=False),
        Column("moved_at", Integer, nullable=False),
    )
    op.create_index("ix_pictures_state", "pictures", ["state"])
    op.create_index("ix_picture_files_sha256", "picture_files", ["sha256"])
