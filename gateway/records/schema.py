"""The tables, as this version of the code wants them. `migrations/` brings a database there.

Times are Unix times in seconds (`_s`), durations too. JSON columns take text that is JSON already and give
back values (see `database`). A table's name and a column's are part of the interface: people query them.
"""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
    }
)


class Json(TypeDecorator[Any]):
    """JSON, and JSONB in PostgreSQL: whose dialect, 25 ms, is imported only where it is used."""

    impl = sa.JSON(none_as_null=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(sa.JSON(none_as_null=True))
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB(none_as_null=True))


Seconds = sa.Double

tasks = sa.Table(
    "tasks",
    metadata,
    sa.Column("task_id", sa.Text, primary_key=True),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("operator", sa.Boolean, nullable=False),
    # What it takes to submit it again: gone when it has ended.
    sa.Column("body", sa.LargeBinary),
    sa.Column("headers", sa.LargeBinary),
    sa.Column("idempotency_key", sa.Text),
    sa.Column("body_digest", sa.Text, nullable=False),
    sa.Column("accepted_s", Seconds, nullable=False),
    # queued, running, or one of the three for ever
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("ended_s", Seconds),
    sa.Column("view", sa.LargeBinary),
    sa.Column("row_bytes", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("caller", "idempotency_key"),
    # With its size, so that adding sizes up reads the index alone.
    sa.Index("ix_tasks_ended_s", "ended_s", "row_bytes"),
)

executions = sa.Table(
    "executions",
    metadata,
    sa.Column("execution_id", sa.Text, primary_key=True),
    # The client may have chosen it, so it may come twice.
    sa.Column("request_id", sa.Text, nullable=False, index=True),
    sa.Column("accepted_s", Seconds, nullable=False),
    sa.Column("caller", sa.Text, nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("intent", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("served_by", sa.Text),
    sa.Column("policy_version", sa.Text, nullable=False),
    sa.Column("status", sa.Integer, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("error_code", sa.Text),
    sa.Column("queue_s", Seconds, nullable=False),
    sa.Column("ttft_s", Seconds),
    sa.Column("tpot_s", Seconds),
    sa.Column("e2e_s", Seconds, nullable=False),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("cost_usd", Seconds),
    sa.Column("facts", Json, nullable=False),
    sa.Column("decision", Json, nullable=False),
    sa.Column("routing_snapshot", Json),
    sa.Column("actual_cost", Json),
    sa.Column("body", sa.LargeBinary),
    sa.Column("row_bytes", sa.BigInteger, nullable=False),
    # What was asked as its client wrote it, by engine, where that is not OpenAI's language.
    sa.Column("native", sa.LargeBinary),
    sa.Column("answer", sa.LargeBinary),
    # Why there is no body, where bodies are recorded.
    sa.Column("body_missing", sa.Text),
    sa.Index("ix_executions_accepted_s", "accepted_s", "row_bytes"),
)

attempts = sa.Table(
    "attempts",
    metadata,
    sa.Column(
        "execution_id",
        sa.Text,
        sa.ForeignKey("executions.execution_id", ondelete="CASCADE"),
        primary_key=True,
    ),
    sa.Column("ordinal", sa.Integer, primary_key=True),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("pool", sa.Text, nullable=False),
    sa.Column("upstream", sa.Text, nullable=False),
    sa.Column("replica", sa.Text, nullable=False),
    sa.Column("engine", sa.Text, nullable=False),
    sa.Column("engine_version", sa.Text),
    sa.Column("model_digest", sa.Text),
    sa.Column("dispatched_s", Seconds),
    sa.Column("first_token_s", Seconds),
    sa.Column("ended_s", Seconds),
    sa.Column("prompt_tokens", sa.Integer),
    sa.Column("completion_tokens", sa.Integer),
    sa.Column("status", sa.Integer),
    sa.Column("fault", sa.Text),
)
