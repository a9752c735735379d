"""The access log: what was asked of which shop, when on the wire, and with which faults it was answered."""

import time
from collections import deque
from datetime import datetime

from skatestock.replica.reply import Reply, Request
from skatestock.replica.schemas import RequestRecord

_KEPT = 200_000


class AccessLog:
    """The last requests to the shops, numbered from 1 in the order of their arrival."""

    def __init__(self) -> None:
        self._records: deque[RequestRecord] = deque(maxlen=_KEPT)
        self._last_number = 0

    def record(self, shop: str, request: Request, reply: Reply, at: datetime) -> None:
        """Record a request with the reply that it is about to get."""
        self._last_number += 1
        self._records.append(
            RequestRecord(
                number=self._last_number,
                at=at,
                monotonic_seconds=time.monotonic(),
                shop=shop,
                method=request.method,
                target=request.target,
                status=reply.status if reply.is_answered else 0,
                user_agent=request.headers.get("user-agent", ""),
                faults=reply.played,
            )
        )

    def requests(self, after: int = 0, shop: str | None = None) -> list[RequestRecord]:
        """List the requests after a number, of one shop or all."""
        return [record for record in self._records if record.number > after and shop in (None, record.shop)]
