"""What the revision files share: running the .sql file beside them, and refusing to go back."""

from pathlib import Path
from typing import Any

from alembic import op

from skatestock.database.errors import DowngradeRefusedError


def run_sql_beside(revision_file: str) -> None:
    """Run the whole .sql file of the same name, inside the transaction of the migration."""
    sql = Path(revision_file).with_suffix(".sql").read_text(encoding="utf-8")

    async def execute(connection: Any) -> None:
        # a prepared statement takes one command only; the simple protocol takes a file of them
        await connection.execute(sql)

    adapter: Any = op.get_bind().connection.dbapi_connection
    adapter.run_async(execute)


def refuse_downgrade() -> None:
    """Raise DowngradeRefusedError."""
    raise DowngradeRefusedError(
        "downgrades are not supported: mend forward with a new migration (`make migration NAME=…`), "
        "or restore the backup from before the upgrade"
    )
