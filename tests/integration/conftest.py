"""Scenes that several files of integration tests begin with."""

from __future__ import annotations

import asyncpg
import pytest
from tests.ingest_shop import add_shop


@pytest.fixture
async def shop(pool: asyncpg.Pool) -> asyncpg.Pool:
    """A database in whose catalogue stands the invented shop of `tests.ingest_shop`, without a listing."""
    await add_shop(pool)
    return pool
