"""Tasks, executions, attempts."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None

_JSON = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")


def upgrade() -> None:
    op.create_table(
        "tasks",
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("operator", sa.Boolean, nullable=False),
        sa.Column("body", sa.LargeBinary),
        sa.Column("headers", sa.LargeBinary),
        sa.Column("idempotency_key", sa.Text),
        sa.Column("body_digest", sa.Text, nullable=False),
        sa.Column("accepted_s", sa.Double, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("ended_s", sa.Double),
        sa.Column("view", sa.LargeBinary),
        sa.Column("row_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("task_id", name="pk_tasks"),
        sa.UniqueConstraint("caller", "idempotency_key", name="uq_tasks_caller"),
    )
    op.create_index("ix_tasks_ended_s", "tasks", ["ended_s"])
    op.create_table(
        "executions",
        sa.Column("execution_id", sa.Text, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("accepted_s", sa.Double, nullable=False),
        sa.Column("caller", sa.Text, nullable=False),
        sa.Column("operation", sa.Text, nullable=False),
        sa.Column("intent", sa.Text, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("served_by", sa.Text),
        sa.Column("policy_version", sa.Text, nullable=False),
        sa.Column("status", sa.Integer, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("error_code", sa.Text),
        sa.Column("queue_s", sa.Double, nullable=False),
        sa.Column("ttft_s", sa.Double),
        sa.Column("tpot_s", sa.Double),
        sa.Column("e2e_s", sa.Double, nullable=False),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("cost_usd", sa.Double),
        sa.Column("facts", _JSON, nullable=False),
        sa.Column("decision", _JSON, nullable=False),
        sa.Column("routing_snapshot", _JSON),
        sa.Column("actual_cost", _JSON),
        sa.Column("body", sa.LargeBinary),
        sa.Column("row_bytes", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("execution_id", name="pk_executions"),
    )
    op.create_index("ix_executions_request_id", "executions", ["request_id"])
    op.create_index("ix_executions_accepted_s", "executions", ["accepted_s"])
    op.create_table(
        "attempts",
        sa.Column("execution_id", sa.Text, nullable=False),
        sa.Column("ordinal", sa.Integer, nullable=False),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("pool", sa.Text, nullable=False),
        sa.Column("upstream", sa.Text, nullable=False),
        sa.Column("replica", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("engine_version", sa.Text),
        sa.Column("model_digest", sa.Text),
        sa.Column("dispatched_s", sa.Double),
        sa.Column("first_token_s", sa.Double),
        sa.Column("ended_s", sa.Double),
        sa.Column("prompt_tokens", sa.Integer),
        sa.Column("completion_tokens", sa.Integer),
        sa.Column("status", sa.Integer),
        sa.Column("fault", sa.Text),
        sa.PrimaryKeyConstraint("execution_id", "ordinal", name="pk_attempts"),
        sa.ForeignKeyConstraint(
            ["execution_id"],
            ["executions.execution_id"],
            ondelete="CASCADE",
            name="fk_attempts_execution_id",
        ),
    )
