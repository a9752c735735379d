"""What Alembic runs: it uses the connection that `migrate` hands over, in one transaction."""

from alembic import context
from sqlalchemy import text

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through `skatestock migrate`, not through Alembic's own command")

context.configure(connection=connection, transaction_per_migration=False)
with context.begin_transaction():
    connection.execute(
        text("SELECT set_config('lock_timeout', :milliseconds, true)"),
        {"milliseconds": context.config.attributes["lock_timeout"]},
    )
    context.run_migrations()
