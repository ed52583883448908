"""What Alembic runs around a migration: on the connection, and in the transaction, that `migrate` gives it."""

from alembic import context

from gateway.records.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by making its table anew
)
context.run_migrations()
