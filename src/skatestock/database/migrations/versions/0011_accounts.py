"""Accounts, sessions, API keys, wishlists, saved searches and the audit log."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0011"
down_revision: str | None = "0010"


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
