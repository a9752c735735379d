"""Make the next pair of migration files: `python -m skatestock.database.migrations.new "what it does"`."""

import re
import sys
from pathlib import Path

from skatestock.database.errors import MigrationError

VERSIONS = Path(__file__).parent / "versions"

_REVISION_FILE = re.compile(r"(\d{4})_[a-z0-9_]+\.py\Z")

_TEMPLATE = '''"""{title}."""

from skatestock.database.migrations.sql import refuse_downgrade as downgrade
from skatestock.database.migrations.sql import run_sql_beside

__all__ = ["downgrade", "upgrade"]

revision = "{revision}"
down_revision: str | None = {before}


def upgrade() -> None:
    """Run the .sql file of the same name."""
    run_sql_beside(__file__)
'''


def create_migration(title: str, folder: Path = VERSIONS) -> tuple[Path, Path]:
    """Write the next numbered pair, and return the .sql file, to be filled in, and the .py file.

    Raises MigrationError when the title has no letters or digits to make a file name of.
    """
    words = re.sub(r"[^a-z0-9]+", "_", title.casefold()).strip("_")
    if not words:
        raise MigrationError(f"{title!r} is no name for a migration: say in a few words what it does")
    last = _find_last_number(folder)
    revision = f"{last + 1:04}"
    before = f'"{last:04}"' if last else "None"
    sql_file = folder / f"{revision}_{words}.sql"
    py_file = sql_file.with_suffix(".py")
    sentence = title.strip().rstrip(".").replace('"', "'").replace("\\", "/")
    sql_file.write_text(f"-- {sentence}.\n", encoding="utf-8")
    py_file.write_text(
        _TEMPLATE.format(title=sentence[:1].upper() + sentence[1:], revision=revision, before=before),
        encoding="utf-8",
    )
    return sql_file, py_file


def _find_last_number(folder: Path) -> int:
    numbers = [int(found[1]) for path in folder.iterdir() if (found := _REVISION_FILE.match(path.name))]
    return max(numbers, default=0)


def main() -> int:
    """Create the pair that the command line names."""
    title = " ".join(sys.argv[1:])
    try:
        files = create_migration(title)
    except MigrationError as error:
        sys.stderr.write(f'{error}\nusage: make migration NAME="add shop logos"\n')
        return 2
    sys.stdout.writelines(f"{path}\n" for path in files)
    return 0


if __name__ == "__main__":
    sys.exit(main())
