"""Offsets and dead letters of several logs side by side: the tables, and topics of Kafka."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0003"
down_revision: str | None = "0002"


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
