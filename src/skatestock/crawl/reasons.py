"""Why a crawl was not complete, and why one thing in a shop's answer was rejected: the codes, in one place.

`docs/DATA_SOURCES.md` explains each of them; a test holds the two together.
"""

from enum import StrEnum


class CrawlReason(StrEnum):
    """How a crawl ended: `CrawlCompleted.reason`."""

    COMPLETE = "complete"

    ROBOTS_DISALLOWED = "robots_disallowed"
    ROBOTS_UNREACHABLE = "robots_unreachable"
    RATE_LIMITED = "rate_limited"
    RETRY_LATER = "retry_later"
    BLOCKED = "blocked"
    SERVER_ERROR = "server_error"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    PRIVATE_ADDRESS = "private_address"
    TIMED_OUT = "timed_out"
    REDIRECTED_AWAY = "redirected_away"
    PASSWORD_PAGE = "password_page"  # noqa: S105 - the name of a page, no secret
    TOO_LARGE = "too_large"
    TRUNCATED = "truncated"
    UNKNOWN_ENCODING = "unknown_encoding"
    WRONG_CHARSET = "wrong_charset"
    NOT_JSON = "not_json"
    NOT_PRODUCTS = "not_products"

    DRIFTED = "drifted"
    UNIDENTIFIED = "unidentified"
    TOO_MANY_PAGES = "too_many_pages"
    EMPTY = "empty"
    IMPLAUSIBLE = "implausible"
    INTERRUPTED = "interrupted"

    SALE_FEED = "sale_feed"


class RejectReason(StrEnum):
    """Why one product or row became no observation: `RejectedObservation.reason`."""

    NOT_AN_OBJECT = "not_an_object"
    NO_ID = "no_id"
    NO_HANDLE = "no_handle"
    NO_OFFERS = "no_offers"
    NO_OFFER_ID = "no_offer_id"
    UNREADABLE_PRICE = "unreadable_price"
    UNREADABLE_COMPARE_AT_PRICE = "unreadable_compare_at_price"
    CONFLICTING_OFFERS = "conflicting_offers"
    REPEATED_LISTING = "repeated_listing"
    SENSELESS = "senseless"

    NOT_A_PRODUCT = "not_a_product"
    NO_PRICE = "no_price"
    OTHER_CURRENCY = "other_currency"
    ROBOTS_DISALLOWED = "robots_disallowed"
