"""What can go wrong with the catalogue, and whose fault it is when it cannot be written."""

import asyncpg

from skatestock.database.transactions import is_transient
from skatestock.vocabulary.errors import SkateStockError

__all__ = ["FAULTS_OF_DATA", "IndexNotBuiltError", "is_transient"]

# Statements that failed because of the values in them: the same values will fail again. asyncpg encodes the
# rows of a COPY itself and lets Python's own errors through; of PostgreSQL's, these classes speak about
# values: data exceptions, constraints, the same row named twice, limits such as the longest key of an index.
FAULTS_OF_DATA = (
    asyncpg.DataError,
    asyncpg.CardinalityViolationError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    asyncpg.RaiseError,
    OverflowError,
    UnicodeError,
)


class IndexNotBuiltError(SkateStockError):
    """There is no product index yet: the process `skatestock index` builds it, where it runs."""
