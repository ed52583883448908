"""Answers, and requests as their clients wrote them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("executions", sa.Column("native", sa.LargeBinary))
    op.add_column("executions", sa.Column("answer", sa.LargeBinary))
