"""The options that several commands share, and the settings that follow from them."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from skatestock.settings import Settings, load_settings

Data = Annotated[
    Path | None,
    Parameter(name="--data", help="Folder of the embedded servers and logs (setting SKATESTOCK_DATA)."),
]
Json = Annotated[
    bool, Parameter(name="--json", negative=(), help="Print JSON for scripts instead of a table.")
]
Port = Annotated[
    int | None,
    Parameter(name="--port", help="Port of the API, 0 for any free one (setting SKATESTOCK_API_PORT)."),
]


def settings_from(data: Path | None = None, **overrides: object) -> Settings:
    """Load the settings, with a command's own options on top."""
    return load_settings(None, data=None if data is None else str(data), **overrides)
