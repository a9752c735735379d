"""Reads the rule files, and refuses what cannot be meant."""

import tomllib
from collections.abc import Mapping
from functools import cache
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol, TypeVar

import msgspec

from skatestock.vocabulary.errors import RulesFileError
from skatestock.vocabulary.rules.model import BrandsFile, CategoriesFile, Rules, SizesFile, TitlesFile

RULE_FILES: Mapping[str, type[Any]] = {
    "brands": BrandsFile,
    "categories": CategoriesFile,
    "sizes": SizesFile,
    "titles": TitlesFile,
}
"""Every rule file by its name without `.toml`, in the order of the version."""


class _Checked(Protocol):
    def check(self) -> Any:
        """List what is wrong."""


_File = TypeVar("_File", bound=_Checked)


@cache
def current_rules() -> Rules:
    """Return the rules that come with SkateStock, read once."""
    return load_rules()


def load_rules(folder: Path | None = None) -> Rules:
    """Read all rule files of a folder, or those that come with SkateStock.

    Raises RulesFileError naming the file, the rule and what is wrong.
    """
    return parse_rules({name: _read(name, folder) for name in RULE_FILES})


def parse_rules(texts: Mapping[str, str]) -> Rules:
    """Read the rules from the texts of their files, by name without `.toml`; raises RulesFileError."""
    return Rules(
        **{name: _parse_file(f"{name}.toml", texts[name], kind) for name, kind in RULE_FILES.items()}
    )


def digest_rules(folder: Path | None = None) -> str:
    """Return what tells one state of the rule files from another, twelve hexadecimal digits."""
    return sha256("\0".join(_read(name, folder) for name in RULE_FILES).encode()).hexdigest()[:12]


def _read(name: str, folder: Path | None) -> str:
    place = files("skatestock.vocabulary.rules") if folder is None else folder
    try:
        return place.joinpath(f"{name}.toml").read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RulesFileError(f"{name}.toml: the rule file cannot be read: {error}") from error


def _parse_file(file: str, text: str, kind: type[_File]) -> _File:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RulesFileError(f"{file}: this is no TOML: {error}") from error
    try:
        parsed = msgspec.convert(document, kind)
    except msgspec.ValidationError as error:
        raise RulesFileError(f"{file}: {_explain(error)}") from error
    for fault in parsed.check():
        raise RulesFileError(f"{file}: {fault}")
    return parsed


def _explain(error: msgspec.ValidationError) -> str:
    # msgspec ends its messages with the place: "Expected `int`, got `str` - at `$.version`".
    message, _, place = str(error).partition(" - at `")
    return f"{place.rstrip('`').removeprefix('key in ').removeprefix('$.')}: {message}" if place else message
