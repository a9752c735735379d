"""Shops added by command, shops put to rest, and the last robots.txt of each host."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0007"
down_revision: str | None = "0006"


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
