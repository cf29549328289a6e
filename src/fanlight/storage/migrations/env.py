"""Alembic's entry point: it runs the steps on the connection that ``fanlight.storage.migrating`` hands over."""

from alembic import context

# SQLite does roll back CREATE TABLE; Alembic assumes otherwise, since Python's driver used to commit before DDL.
context.configure(connection=context.config.attributes["connection"], transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
