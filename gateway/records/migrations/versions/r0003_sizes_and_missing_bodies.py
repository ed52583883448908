"""Why a body is missing; and indexes that hold what a row takes, so that retention reads no rows to add it up."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("executions", sa.Column("body_missing", sa.Text))
    op.drop_index("ix_executions_accepted_s", "executions")
    op.create_index("ix_executions_accepted_s", "executions", ["accepted_s", "row_bytes"])
    op.drop_index("ix_tasks_ended_s", "tasks")
    op.create_index("ix_tasks_ended_s", "tasks", ["ended_s", "row_bytes"])
