"""What went wrong, in words that say what to do, and the exit code that goes with it."""

from typing import NamedTuple

import asyncpg

from skatestock.database.errors import DatabaseError, DatabaseUnavailableError
from skatestock.embedded.errors import EmbeddedError
from skatestock.eventlog.errors import (
    EventLogError,
    LogRefusedError,
    LogUnavailableError,
    RegistryRefusedError,
    RegistryUnavailableError,
    SchemaNotRegisteredError,
    UnknownTopicError,
)
from skatestock.evidence.errors import EvidenceError, EvidenceUnavailableError
from skatestock.jobs.errors import JobsError
from skatestock.telemetry.errors import TelemetryError
from skatestock.vocabulary.errors import SkateStockError

FAILED = 1
"""What was asked could not be done; the message says why."""
USAGE = 2
"""The command line itself is wrong."""
UNAVAILABLE = 3
"""A server that is needed does not answer or is not prepared, or nothing runs in the data folder."""
INCOMPLETE = 4
"""The work ended in good order, but not all of it could be done."""
INTERRUPTED = 130
"""Stopped by Ctrl-C before the work was done; the same command goes on with it."""


class UsageError(SkateStockError):
    """The command line lacks something, or says two things at once."""


class AddressTakenError(SkateStockError):
    """A process cannot listen where it is told to."""


class NothingRunsError(SkateStockError):
    """A command needs a running platform, and there is none."""


class CacheRefusedError(SkateStockError):
    """Redis cannot be used as the settings name it."""


class Failure(NamedTuple):
    """What a person reads, and the exit code that a script reads."""

    message: str
    code: int


# What PostgreSQL refuses although it answers; the first class that fits gives the advice.
_REFUSALS: tuple[tuple[tuple[type[BaseException], ...], str], ...] = (
    (
        (asyncpg.InvalidPasswordError, asyncpg.InvalidAuthorizationSpecificationError),
        "check user and password in SKATESTOCK_DATABASE_URL",
    ),
    (
        (asyncpg.InvalidCatalogNameError,),
        "create it (`createdb NAME`), or name another one in SKATESTOCK_DATABASE_URL",
    ),
    (
        (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError),
        "the database has not been prepared for this version: run `skatestock migrate`",
    ),
    (
        (asyncpg.InsufficientPrivilegeError,),
        "give the user of SKATESTOCK_DATABASE_URL this right, or name another user",
    ),
    (
        (asyncpg.ReadOnlySQLTransactionError,),
        "SKATESTOCK_DATABASE_URL names a replica that cannot be written; name the primary server",
    ),
)

# What is ours to say, but a server's to mend.
_AWAY = (
    CacheRefusedError,
    DatabaseUnavailableError,
    EvidenceUnavailableError,
    LogRefusedError,
    LogUnavailableError,
    NothingRunsError,
    RegistryRefusedError,
    RegistryUnavailableError,
    SchemaNotRegisteredError,
    UnknownTopicError,
)
_OURS = (
    *(SkateStockError, EmbeddedError, DatabaseError, EventLogError, EvidenceError),
    *(JobsError, TelemetryError),
)


def find_failure(error: BaseException) -> Failure | None:
    """Tell an error that a person can do something about; None for one that is a defect of ours."""
    if isinstance(error, UsageError):
        return Failure(str(error), USAGE)
    if isinstance(error, _OURS):
        return Failure(str(error), UNAVAILABLE if isinstance(error, _AWAY) else FAILED)
    if isinstance(error, asyncpg.PostgresError | asyncpg.InterfaceError):
        return _explain_database(error)
    if isinstance(error, ConnectionError | TimeoutError):
        return Failure(f"a server does not answer: {error or type(error).__name__}", UNAVAILABLE)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return Failure(f"{where}{error.strerror or error}", FAILED)
    return None


def _explain_database(error: asyncpg.PostgresError | asyncpg.InterfaceError) -> Failure | None:
    if isinstance(error, asyncpg.ClientConfigurationError):
        # Its hint stands on a line of its own.
        why = " ".join(str(error).split())
        return Failure(
            f"SKATESTOCK_DATABASE_URL cannot be used: {why}; "
            "it looks like postgresql://user:password@host/name",
            FAILED,
        )
    for kinds, advice in _REFUSALS:
        if isinstance(error, kinds):
            return Failure(f"PostgreSQL says: {error}; {advice}", UNAVAILABLE)
    gone = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InterfaceError)
    if isinstance(error, gone):
        return Failure(f"PostgreSQL went away: {error}; run the command again once it is back", UNAVAILABLE)
    return None
