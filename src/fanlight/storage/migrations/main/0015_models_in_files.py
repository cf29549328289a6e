"""Files of models leave the database for the folder ``models``: SQLite writes a long row twice."""

from __future__ import annotations

from alembic import context, op
from sqlalchemy import text

from fanlight.storage.blobs import BlobFolder

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Write each file, then let the table go; a crash in between leaves both, and all is written once more."""
    connection, state = op.get_bind(), context.config.attributes["folder"]
    rows = list(connection.execute(text("SELECT rowid, sha256 FROM model_files")))
    if rows:
        folder = BlobFolder(state / "models")
        for rowid, sha256 in rows:  # one at a time: together they may be longer than the memory
            found = connection.execute(text("SELECT content FROM model_files WHERE rowid = :rowid"), {"rowid": rowid})
            content: bytes = found.scalar_one()
            folder.write_stream(f"{sha256.hex()}.safetensors", [content], len(content), len(content))
    op.drop_table("model_files")
