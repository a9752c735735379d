"""The options that several commands share, and the settings that follow from them."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from skatestock.settings import Settings, load_settings


def flag(words: str, *, name: str | None = None) -> Parameter:
    """Describe an option that is either given or not, and has no opposite."""
    return Parameter(name=name, negative=(), show_default=False, help=words)


Data = Annotated[
    Path | None,
    Parameter(name="--data", help="Folder of the embedded servers and logs (setting SKATESTOCK_DATA)."),
]
Json = Annotated[bool, flag("Print JSON for scripts instead of words for people.", name="--json")]
Port = Annotated[
    int | None,
    Parameter(
        name="--port",
        help="Port of the API, 0 for any free one (setting SKATESTOCK_API_PORT).",
        validator=Number(gte=0, lte=65535),
    ),
]


def settings_from(data: Path | None = None, **overrides: object) -> Settings:
    """Load the settings, with a command's own options on top."""
    return load_settings(None, data=None if data is None else str(data), **overrides)
