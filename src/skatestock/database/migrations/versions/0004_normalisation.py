"""What the rules make of listings and offers, beside the raw words it was made of."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "0004"
down_revision: str | None = "0003"


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
