"""The schema's history, as Alembic reads it. A revision that was released never changes."""
