"""No statement has a value written into it: what is put into SQL's text is a constant or a quoted name."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "skatestock"
SQL = re.compile(r"\b(SELECT|INSERT INTO|UPDATE|DELETE FROM|CREATE|DROP|ALTER|TRUNCATE|UNION ALL|WHERE)\b")
CONSTANT = re.compile(r"_?[A-Z][A-Z0-9_]*\Z")

# Functions that put statements together, and of what. Their values go into `$1`, `$2`, … all the same.
COMPOSERS = {
    "catalog/facet_queries.py": "conditions of product_filter.py, names of our own columns and tables",
    "catalog/index_queries.py": "conditions of product_filter.py, orders of our own",
    "catalog/label_queries.py": "names of our own tables and columns",
    "catalog/product_filter.py": "names of our own columns, and numbers of parameters",
    "catalog/queries.py": "another statement of ours",
    "catalog/trend_queries.py": "names of our own columns, another statement of ours",
    "database/partitions.py": "quoted names of partitions, moments that we reckoned",
    "embedded/postgres.py": "the quoted name of our own database",
    "eventlog/retention.py": "quoted names of partitions",
}


class Written(NamedTuple):
    """A text of SQL with something put into it."""

    file: str
    line: int
    parts: tuple[str, ...]
    in_function: bool


def find_written(file: str, code: str) -> Iterator[Written]:
    """Yield every piece of SQL that is put together: by an f-string, `%`, `+` or `format`."""
    tree = ast.parse(code)
    inner = {
        id(node)
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for node in ast.walk(function)
    }
    texts = _find_texts(tree)
    told = {id(part) for node in ast.walk(tree) if isinstance(node, ast.Raise) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.expr) and id(node) not in told:
            text, parts = _take_apart(node, texts)
            if parts and SQL.search(text):
                yield Written(file, node.lineno, tuple(map(ast.unparse, parts)), id(node) in inner)


def _find_texts(tree: ast.Module) -> dict[str, str]:
    """Return the texts that the module's names stand for."""
    return {
        name.id: str(ast.unparse(node.value))
        for node in tree.body
        if isinstance(node, ast.Assign)
        for name in node.targets
        if isinstance(name, ast.Name)
    }


def _take_apart(node: ast.expr, texts: dict[str, str]) -> tuple[str, list[ast.expr]]:
    """Return the fixed text of an expression and what is put into it; nothing for any other expression."""
    match node:
        case ast.JoinedStr(values=values):
            fixed = [part.value for part in values if isinstance(part, ast.Constant)]
            return " ".join(map(str, fixed)), [p.value for p in values if isinstance(p, ast.FormattedValue)]
        case ast.BinOp(left=ast.Constant(value=str(text)), op=ast.Mod() | ast.Add(), right=right):
            return text, [right]
        case ast.BinOp(left=ast.Name(id=name), op=ast.Mod(), right=right):
            return texts.get(name, ""), [right]
        case ast.Call(func=ast.Attribute(value=ast.Constant(value=str(text)), attr="format")):
            return text, [*node.args, *(word.value for word in node.keywords)]
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="format")):
            return texts.get(name, ""), [*node.args, *(word.value for word in node.keywords)]
    return "", []


def is_fine(written: Written) -> bool:
    """Tell whether only constants are put in, or a function does it that is known to put in nothing else."""
    if written.file == "database/migrations/new.py":
        return True  # writes a file for a developer, and speaks to no database
    names_only = all(CONSTANT.match(part) for part in written.parts)
    return names_only or (written.in_function and written.file in COMPOSERS)


def list_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


@pytest.mark.parametrize("file", list_files(), ids=lambda file: str(file.relative_to(SOURCE)))
def test_nothing_but_constants_is_written_into_sql(file: Path) -> None:
    name = file.relative_to(SOURCE).as_posix()
    assert [found for found in find_written(name, file.read_text("utf-8")) if not is_fine(found)] == []


def test_whoever_puts_statements_together_still_does() -> None:
    composing = {
        name
        for name in COMPOSERS
        if any(found.in_function for found in find_written(name, (SOURCE / name).read_text("utf-8")))
    }
    assert composing == set(COMPOSERS)


@pytest.mark.parametrize(
    "code",
    [
        "def f(name): return f\"SELECT * FROM products WHERE name = '{name}'\"",
        "def f(name): return \"SELECT * FROM products WHERE name = '%s'\" % name",
        'def f(name): return "SELECT * FROM products WHERE name = " + name',
        'def f(name): return "DELETE FROM products WHERE name = {}".format(name)',
        "_FIND = 'SELECT %s'\ndef f(name): return _FIND % name",
        "_FIND = 'SELECT {}'\ndef f(name): return _FIND.format(name)",
        'name = input()\nX = f"SELECT {name}"',
    ],
)
def test_a_value_in_a_statement_would_be_found(code: str) -> None:
    assert [found for found in find_written("api/x.py", code) if not is_fine(found)]


def test_a_statement_of_constants_is_fine() -> None:
    code = '_COLUMNS = "a, b"\n_FIND = f"SELECT {_COLUMNS} FROM products WHERE id = $1"'
    (found,) = find_written("api/x.py", code)
    assert is_fine(found)
