"""`skatestock evidence`: look at the pages behind observations."""

import sys

from cyclopts import App

from skatestock.cli.options import Data, settings_from
from skatestock.cli.terminal import OutputClosedError
from skatestock.evidence.address import open_store

app = App(
    name="evidence",
    help="Look at the pages behind observations.",
    help_format="markdown",
)


@app.command
async def show(key: str, /, *, data: Data = None) -> int:
    """Write a page as the shop sent it to stdout, for as long as it is kept.

    Parameters
    ----------
    key
        The key of the evidence, such as the API's price history shows it.
    """
    settings = settings_from(data)
    body = await open_store(settings.evidence_url, settings.evidence_folder).get(key)
    try:
        sys.stdout.buffer.write(body)
        sys.stdout.flush()
    except BrokenPipeError:
        raise OutputClosedError from None
    return 0
