"""Finds the recorded real data beside the checkout; it is read where it lies, never copied."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NoReturn

import pytest


def find_shared_data() -> Path | None:
    """Find the folder of recorded data: SKATESTOCK_SHARED_DATA, else `../shared/data` beside the checkout."""
    configured = os.environ.get("SKATESTOCK_SHARED_DATA")
    folder = Path(configured) if configured else Path(__file__).parents[2] / "shared" / "data"
    return folder if (folder / "README.md").is_file() else None


def get_shared_data() -> Path:
    """Get the folder of recorded data, or skip the test (or fail it, when `shared` is required)."""
    folder = find_shared_data()
    if folder is None:
        missing("shared", "the recorded data (../shared/data, or SKATESTOCK_SHARED_DATA) is not there")
    return folder


def missing(what: str, why: str) -> NoReturn:
    """Skip the test for want of something; fail it when SKATESTOCK_TEST_REQUIRE names that."""
    if what in os.environ.get("SKATESTOCK_TEST_REQUIRE", "").replace(",", " ").split():
        pytest.fail(f"required by SKATESTOCK_TEST_REQUIRE: {why}", pytrace=False)
    pytest.skip(why)
