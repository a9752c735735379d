"""A client of the stream of events that keeps what it hears, and comes back where it was."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import httpx

PATIENCE_SECONDS = 20.0


class Heard(NamedTuple):
    """One event of a stream."""

    name: str
    id: str
    data: dict[str, Any]


def parse_stream(lines: Iterator[str], on_id: Callable[[str], None]) -> Iterator[Heard]:
    """Read a stream as browsers do: an id counts as soon as its block ends, data or not."""
    name, data, last_id = "message", "", ""
    for line in lines:
        if line == "":
            on_id(last_id)
            if data:
                yield Heard(name, last_id, json.loads(data))
            name, data = "message", ""
        elif not line.startswith(":"):
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data += value
            elif field == "id":
                last_id = value


class Listener:
    """Listens in a thread of its own, and reconnects like a browser, after the last id it was given."""

    def __init__(self, url: str, *, retry_seconds: float = 0.1) -> None:
        self.url = url
        self.heard: list[Heard] = []
        self.last_id = ""
        self.connections = 0
        self._retry_seconds = retry_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def _listen(self) -> None:
        while not self._stop.is_set():
            headers = {"Last-Event-ID": self.last_id} if self.last_id else {}
            try:
                # a heartbeat comes every 15 s, but a stop is wanted sooner
                with httpx.stream(
                    "GET", self.url, headers=headers, timeout=httpx.Timeout(5, read=1)
                ) as answer:
                    if answer.status_code == 200:
                        self.connections += 1
                        for heard in parse_stream(answer.iter_lines(), self._note):
                            self.heard.append(heard)
            except httpx.TransportError:
                pass
            self._stop.wait(self._retry_seconds)

    def _note(self, event_id: str) -> None:
        self.last_id = event_id

    def start(self) -> None:
        self._thread.start()
        self.wait(lambda: self.last_id)

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(5)

    def wait(self, reached: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> None:
        give_up_at = time.monotonic() + seconds
        while not reached():
            assert time.monotonic() < give_up_at, f"not heard in time; so far {self.heard[-3:]}"
            time.sleep(0.02)

    def wait_until_connected(self, times: int) -> None:
        """Wait until it has been answered so many times."""
        self.wait(lambda: self.connections >= times, 60)


@contextmanager
def listening(url: str) -> Iterator[Listener]:
    """Listen for as long as the context, from when it begins."""
    listener = Listener(url)
    listener.start()
    try:
        yield listener
    finally:
        listener.stop()


def read_stream(url: str, **headers: str) -> list[Heard]:
    """Read a stream that ends by itself."""
    with httpx.stream("GET", url, headers=headers, timeout=PATIENCE_SECONDS) as answer:
        assert answer.status_code == 200, answer.read()
        return list(parse_stream(answer.iter_lines(), lambda _event_id: None))
