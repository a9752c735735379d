"""Compiled Python kept between processes, also where the environment forbids writing it beside the sources.

Tests start hundreds of Python processes. Compiling every module anew takes most of the start of each: two
thirds of a second's work becomes two and a half.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from tests.folders import MEMORY

FOLDER = Path(__file__).parents[1] / ".pytest_cache" / "bytecode"


def keep_bytecode() -> None:
    """Have this process and those it starts keep bytecode in our own folder, unless they keep it anyway."""
    if not sys.dont_write_bytecode:
        return
    for passing in (Path(tempfile.gettempdir()), MEMORY):
        # Copies of the package that tests made for themselves do not come back.
        shutil.rmtree(FOLDER / passing.relative_to("/"), ignore_errors=True)
    sys.dont_write_bytecode = False
    sys.pycache_prefix = str(FOLDER)
    # An empty value counts as none.
    os.environ["PYTHONDONTWRITEBYTECODE"] = ""
    os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix
