"""Alembic runs this for each upgrade: on the connection, and in the transaction, that `Database` hands over."""

from alembic import context

from pipeline.adapters.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
