"""A small Maven repository on loopback, which can fail in the ways that a network does."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from skatestock.embedded.jars import Bundle, PinnedFile

_PIECE = 16 * 1024


class Repository:
    """What the repository holds and how it answers; `url` is its address.

    `cut_off` names files that end halfway, so many times; `slow` ones come in pieces until `hurry` is set.
    """

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: Counter[str] = Counter()
        self.cut_off: Counter[str] = Counter()
        self.slow: set[str] = set()
        self.hurry = threading.Event()
        self.url = ""

    def add(self, coordinate: str, content: bytes) -> PinnedFile:
        """Publish a file and give what is to be pinned of it."""
        group, artifact, version, *_ = coordinate.split(":")
        pinned = PinnedFile(coordinate, len(content), hashlib.sha256(content).hexdigest())
        self.files[f"/{group.replace('.', '/')}/{artifact}/{version}/{pinned.name}"] = content
        return pinned

    def replace(self, pinned: PinnedFile, content: bytes) -> None:
        """Serve something else under the same name."""
        path = next(path for path in self.files if path.endswith("/" + pinned.name))
        self.files[path] = content


@contextmanager
def serve_repository() -> Iterator[Repository]:
    """Serve an empty repository."""
    repository = Repository()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            _answer(repository, self)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    repository.url = f"http://127.0.0.1:{server.server_address[1]}"
    serving = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    serving.start()
    try:
        yield repository
    finally:
        repository.hurry.set()
        server.shutdown()
        server.server_close()
        serving.join()


def make_jars(repository: Repository, *names: str, size: int = 100_000) -> Bundle:
    """Publish some files and give the bundle that consists of them."""
    files = [repository.add(f"org.example:{name}:1.0", _content(name, size)) for name in names]
    return Bundle("example", "1.0", tuple(files))


def make_archive(repository: Repository, members: dict[str, bytes], tree: str) -> Bundle:
    """Publish an archive and give the bundle that it is."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    pinned = repository.add("org.example:app:1.0:tar.gz:all", stream.getvalue())
    return Bundle("example-app", "1.0", (pinned,), tree)


def tree_of(members: dict[str, bytes]) -> str:
    """Compute the digest of a folder with these files, from its definition."""
    lines = [f"{name}\0{hashlib.sha256(content).hexdigest()}\n" for name, content in sorted(members.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(name: str, size: int) -> bytes:
    return (name.encode() * (size // len(name) + 1))[:size]


def _answer(repository: Repository, handler: BaseHTTPRequestHandler) -> None:
    name = handler.path.rpartition("/")[2]
    repository.asked[name] += 1
    content = repository.files.get(handler.path)
    if content is None:
        handler.send_error(404)
        return
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    if repository.cut_off[name] > 0:
        repository.cut_off[name] -= 1
        content = content[: len(content) // 2]
    for at in range(0, len(content), _PIECE):
        handler.wfile.write(content[at : at + _PIECE])
        if name in repository.slow and at > 0 and not repository.hurry.is_set():
            time.sleep(0.1)
