"""The event log, the catalogue and its price history, consumer offsets, dead letters and leases."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0001"
down_revision: str | None = None


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
