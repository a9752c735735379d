"""The one place that knows jgo, which brings files of Maven repositories without Maven."""

from __future__ import annotations

import configparser
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from skatestock.embedded.errors import EmbeddedError, FetchError, MissingExtraError

_TIMEOUT_SECONDS = 30

Download = Callable[[str, Callable[[int], None]], Path]


class FetchStoppedError(EmbeddedError):
    """The fetch was stopped."""


def open_maven(folder: Path) -> Download:
    """Give what downloads a coordinate's file below a folder, told of every piece that came.

    It asks Maven Central, or the repositories that jgo's own configuration file names. Raises
    MissingExtraError without jgo; the download raises FetchError.
    """
    try:
        from jgo.config import GlobalSettings
        from jgo.constants import MAVEN_CENTRAL_URL
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise MissingExtraError("jgo") from error
    try:
        repositories = {"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories}
    except configparser.Error as error:
        raise EmbeddedError(f"jgo's configuration file cannot be read: {error}") from error

    def download(coordinate: str, tell: Callable[[int], None]) -> Path:
        # A resolver and a folder for each file: jgo would take a half file of an earlier attempt for a whole.
        own = folder / coordinate.replace(":", "_")
        shutil.rmtree(own, ignore_errors=True)
        resolver = PythonResolver(progress_callback=_report_to(tell))
        context = MavenContext(
            resolver=resolver, repo_cache=own, remote_repos=repositories, timeout=_TIMEOUT_SECONDS
        )
        return _resolve(context, coordinate)

    return download


def _resolve(context: Any, coordinate: str) -> Path:
    group, artifact, version, *rest = coordinate.split(":")
    packaging, classifier = rest or ("jar", "")
    component = context.project(group, artifact).at_version(version)
    try:
        return Path(component.artifact(classifier, packaging).resolve())
    except OSError as error:
        # The errors of its HTTP client are OSErrors too.
        raise FetchError(coordinate, _shorten(error)) from error
    except RuntimeError as error:
        raise FetchError(coordinate, "no repository has it, or none that answered") from error


def _report_to(tell: Callable[[int], None]) -> Callable[[str, int], Any]:
    @contextmanager
    def report(name: str, size: int) -> Iterator[Callable[[int], None]]:
        yield tell

    return report


def _shorten(error: Exception) -> str:
    """Keep the last cause of a chain of wrapped errors: the rest is machinery."""
    cause: BaseException = error
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    reason = getattr(cause, "reason", None)
    return f"{reason or cause}"[:200]
