"""One caller's work on what is theirs: a connection, who they are, and when; a change is one transaction."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import NamedTuple

from skatestock.accounts.model import Caller
from skatestock.api.authentication import find_origin, get_caller
from skatestock.api.bodies import refuse_query
from skatestock.api.context import Context
from skatestock.api.requests import AnyRequest
from skatestock.database.commits import Isolation, committed
from skatestock.database.pool import Connection


class Work(NamedTuple):
    """What an endpoint works with on behalf of who makes the request."""

    connection: Connection
    caller: Caller
    now: datetime
    address: str

    @property
    def account_id(self) -> int:
        """Return whose data they are; every statement names it."""
        return self.caller.account_id


@asynccontextmanager
async def reading_own(request: AnyRequest, context: Context) -> AsyncGenerator[Work]:
    """Lend a connection to read what is the caller's; raises UnknownParameterError for any query."""
    refuse_query(request)
    address = find_origin(request.scope).address
    async with context.database.connect() as connection:
        yield Work(connection, get_caller(request), context.clock(), address)


@asynccontextmanager
async def changing_own(
    request: AnyRequest, context: Context, isolation: Isolation = "read_committed"
) -> AsyncGenerator[Work]:
    """Change what is the caller's, all of it or nothing.

    Raises UnknownParameterError for any query, and CommitUnknownError where nobody can tell which it was.
    """
    async with reading_own(request, context) as work, committed(work.connection, isolation):
        yield work
