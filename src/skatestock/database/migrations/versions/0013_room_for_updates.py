"""Room on the pages of listings and offers for the rows that take their place."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0013"
down_revision: str | None = "0012"


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
