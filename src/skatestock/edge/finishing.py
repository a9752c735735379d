"""What the edge adds to an answer that is for one request alone, while it passes."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from skatestock.edge.headers import add_missing
from skatestock.edge.policies import HeaderLine
from skatestock.edge.requests import NO_BODY, Request
from skatestock.edge.sharing import SURROGATE_KEY

_PRIVATE: HeaderLine = (b"cache-control", b"private, no-store")


class Finishing:
    """Gives one request's answer what the edge adds to it; one to HEAD loses its body."""

    def __init__(
        self,
        request: Request,
        missing: Sequence[HeaderLine],
        added: Sequence[HeaderLine],
        on_start: Callable[[], object] | None = None,
    ) -> None:
        """Take what is added where it is `missing`, what is always, and what to call when it begins."""
        self._request = request
        self._missing = missing
        self._added = added
        self._on_start = on_start

    async def send(self, message: Any) -> None:
        """Send a message on; the headers are finished first."""
        kind = message["type"]
        if kind == "http.response.start":
            if self._on_start is not None:
                self._on_start()
            await self._request.start(message["status"], self._finish(message.get("headers", ())))
            if self._request.is_head:
                await self._request.send(NO_BODY)
        elif not self._request.is_head:
            await self._request.send(message)

    def _finish(self, headers: Iterable[HeaderLine]) -> list[HeaderLine]:
        added = self._request.lines
        ours = {name for name, _value in added} | {SURROGATE_KEY}
        lines = [line for line in headers if line[0] not in ours]
        if self._request.is_private:
            lines = [line for line in lines if not _is_public(line)]
            lines = add_missing(lines, (_PRIVATE,))
        return [*add_missing(lines, self._missing), *added, *self._added]


def _is_public(line: HeaderLine) -> bool:
    name, value = line
    return name == b"cache-control" and b"private" not in value and b"no-store" not in value
