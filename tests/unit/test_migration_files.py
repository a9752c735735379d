"""New migrations are numbered pairs of files that follow the last."""

from __future__ import annotations

import importlib.util
from datetime import date
from pathlib import Path

import pytest

from skatestock.database.errors import MigrationError
from skatestock.database.migrations.new import create_migration
from skatestock.database.partitions import months_around


def test_the_first_migration_follows_nothing_and_the_next_the_first(tmp_path: Path) -> None:
    _, first = create_migration("begin", tmp_path)
    sql_file, second = create_migration('Say "hello", \\ go on.', tmp_path)
    assert [path.name for path in (first, second)] == ["0001_begin.py", "0002_say_hello_go_on.py"]
    modules = []
    for path in (first, second):
        spec = importlib.util.spec_from_file_location(path.stem, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        modules.append(module)
    assert [(module.revision, module.down_revision) for module in modules] == [
        ("0001", None),
        ("0002", "0001"),
    ]
    assert sql_file.read_text() == "-- Say 'hello', / go on.\n"


@pytest.mark.parametrize("title", ["", " … ", "--"])
def test_a_migration_without_a_name_is_refused(tmp_path: Path, title: str) -> None:
    with pytest.raises(MigrationError):
        create_migration(title, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_months_around_a_day_cross_the_years() -> None:
    assert months_around(date(2026, 12, 31), back=1, ahead=2) == [
        date(2026, 11, 1),
        date(2026, 12, 1),
        date(2027, 1, 1),
        date(2027, 2, 1),
    ]
    assert months_around(date(2026, 1, 1), back=1, ahead=0) == [date(2025, 12, 1), date(2026, 1, 1)]
