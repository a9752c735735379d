"""What happened to discounts, read once out of the price points."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0012"
down_revision: str | None = "0011"


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
