"""What can go wrong in a crawl."""

from skatestock.crawl.reasons import CrawlReason
from skatestock.vocabulary.errors import SkateStockError


class CrawlError(SkateStockError):
    """The root of the errors of this room."""


class ShopsFileError(CrawlError):
    """The file of shops cannot be used; the message names the file, the shop and the key."""


class FeedError(CrawlError):
    """A recorded feed cannot be read as a whole."""


class ReactorError(CrawlError):
    """Crawls were asked for outside the one event loop of the process that can run them."""


class PageError(CrawlError):
    """A body that is no page of listings; what it would have shown is unknown."""

    def __init__(self, reason: CrawlReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class CrawlStoppedError(CrawlError):
    """The crawl must end here; `retry_after_seconds` is how long to leave the shop alone, where known.

    `gone` is true for a page that the shop says is no more: a crawl that expects such pages goes on.
    """

    def __init__(
        self,
        reason: CrawlReason,
        detail: str,
        retry_after_seconds: float | None = None,
        *,
        gone: bool = False,
    ) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail
        self.retry_after_seconds = retry_after_seconds
        self.gone = gone
