"""What can go wrong with a request: each error is one problem code, which `docs/API.md` lists."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import ClassVar

from skatestock.api.schemas import InvalidParameter
from skatestock.vocabulary.errors import SkateStockError


class RequestError(SkateStockError):
    """The root of what the API answers with problem details; its message is the problem's `detail`."""

    code: ClassVar[str]
    status: ClassVar[HTTPStatus]
    title: ClassVar[str]
    challenge: ClassVar[str | None] = None
    """What `WWW-Authenticate` says, for a 401."""
    retry_after_seconds: int | None = None

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[InvalidParameter] = (),
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.errors = tuple(errors)
        if retry_after_seconds is not None:
            self.retry_after_seconds = retry_after_seconds


class InvalidRequestError(RequestError):
    """The request is not one that HTTP or this API knows how to read."""

    code = "invalid_request"
    status = HTTPStatus.BAD_REQUEST
    title = "The request cannot be read"


class InvalidParameterError(RequestError):
    """A query parameter has a value that makes no sense; `errors` names each."""

    code = "invalid_parameter"
    status = HTTPStatus.BAD_REQUEST
    title = "A parameter has a value that makes no sense"


class UnknownParameterError(RequestError):
    """A query parameter that this endpoint does not have; `errors` names each."""

    code = "unknown_parameter"
    status = HTTPStatus.BAD_REQUEST
    title = "There is no such parameter"


class InvalidBodyError(RequestError):
    """The body is not the JSON that this endpoint reads; `errors` names each field at fault."""

    code = "invalid_body"
    status = HTTPStatus.BAD_REQUEST
    title = "The body makes no sense"


class NotSignedInError(RequestError):
    """The request carries no access token and no API key, and needs one."""

    code = "not_signed_in"
    status = HTTPStatus.UNAUTHORIZED
    title = "Sign in first"
    challenge = 'Bearer realm="skatestock"'


class InvalidTokenError(RequestError):
    """The access token or API key is malformed, expired, revoked, or of an account that may not sign in."""

    code = "invalid_token"
    status = HTTPStatus.UNAUTHORIZED
    title = "The token or key is not valid"
    challenge = 'Bearer realm="skatestock", error="invalid_token"'


class WrongCredentialsError(RequestError):
    """No account that may sign in has this e-mail address with this password."""

    code = "wrong_credentials"
    status = HTTPStatus.UNAUTHORIZED
    title = "The e-mail address or the password is wrong"
    challenge = 'Bearer realm="skatestock"'


class InvalidRefreshTokenError(RequestError):
    """The refresh token is unknown, expired, used before, or of a session that has ended: sign in again."""

    code = "invalid_refresh_token"
    status = HTTPStatus.UNAUTHORIZED
    title = "The refresh token is not valid"
    challenge = 'Bearer realm="skatestock", error="invalid_token"'


class WrongPasswordError(RequestError):
    """The password that confirms this step is wrong."""

    code = "wrong_password"
    status = HTTPStatus.FORBIDDEN
    title = "The password is wrong"


class KeyNotAllowedError(RequestError):
    """An API key may never do this; sign in with e-mail address and password."""

    code = "key_not_allowed"
    status = HTTPStatus.FORBIDDEN
    title = "No API key may do this"


class ScopeMissingError(RequestError):
    """The API key lacks a scope that this endpoint asks for."""

    code = "scope_missing"
    status = HTTPStatus.FORBIDDEN
    title = "The API key may not do this"
    challenge = 'Bearer realm="skatestock", error="insufficient_scope"'


class RoleMissingError(RequestError):
    """Only an account with another role may do this."""

    code = "role_missing"
    status = HTTPStatus.FORBIDDEN
    title = "Your role may not do this"


class ProductNotFoundError(RequestError):
    """No product has this id."""

    code = "product_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such product"


class WishNotFoundError(RequestError):
    """The product is not on the wishlist."""

    code = "wish_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "The product is not on the wishlist"


class SearchNotFoundError(RequestError):
    """The account has no saved search with this id."""

    code = "search_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such saved search"


class KeyNotFoundError(RequestError):
    """The account has no API key with this id."""

    code = "key_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such API key"


class SessionNotFoundError(RequestError):
    """The account has no session with this id that is still open."""

    code = "session_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such session"


class PageNotFoundError(RequestError):
    """No listing that we know has its page at this address."""

    code = "page_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "No product is known by this address"


class ShopNotFoundError(RequestError):
    """No shop has this slug."""

    code = "shop_not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is no such shop"


class IndexBuildingError(RequestError):
    """The product index is being built for the first time; `skatestock index` does that, where it runs."""

    code = "index_building"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The list of products is not ready yet"
    retry_after_seconds = 10


class NotFoundError(RequestError):
    """Nothing is served at this path."""

    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    title = "There is nothing at this path"


class MethodNotAllowedError(RequestError):
    """The path exists, but not for this method; the `Allow` header says for which."""

    code = "method_not_allowed"
    status = HTTPStatus.METHOD_NOT_ALLOWED
    title = "The path does not know this method"


class NameTakenError(RequestError):
    """Another saved search of the account has this name."""

    code = "name_taken"
    status = HTTPStatus.CONFLICT
    title = "The name is taken"


class LimitReachedError(RequestError):
    """The account has as many of these as it may have: delete one first."""

    code = "limit_reached"
    status = HTTPStatus.CONFLICT
    title = "There are too many of these"


class BodyTooLargeError(RequestError):
    """The request carries a body beyond what this API reads."""

    code = "body_too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    title = "The request's body is too large"


class AddressTooLongError(RequestError):
    """The request's path and query are longer than 8 KiB."""

    code = "address_too_long"
    status = HTTPStatus.REQUEST_URI_TOO_LONG
    title = "The request's address is too long"


class UnsupportedMediaTypeError(RequestError):
    """The body is not sent as `application/json`."""

    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    title = "The body must be JSON"


class TooManyAttemptsError(RequestError):
    """Too many attempts to sign in have failed; `Retry-After` says when the next one is heard."""

    code = "too_many_attempts"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many failed attempts"


class InternalError(RequestError):
    """Our own mistake; the log has it under the request's id."""

    code = "internal_error"
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    title = "Something went wrong on our side"


class DatabaseAwayError(RequestError):
    """The database does not answer; the same request works once it is back."""

    code = "database_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database does not answer"
    retry_after_seconds = 2


class DatabaseSlowError(RequestError):
    """The database did not finish in time; fewer or narrower filters may."""

    code = "database_timeout"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database did not answer in time"
    retry_after_seconds = 10


class OutcomeUnknownError(RequestError):
    """The connection to the database was lost as a change was being stored: all of it was, or nothing."""

    code = "outcome_unknown"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "It is not known whether the change was made"


class SchemaOutdatedError(RequestError):
    """The database's tables are older than this program: run `skatestock migrate`."""

    code = "schema_outdated"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The database is not migrated"
    retry_after_seconds = 10


class AccountsBusyError(RequestError):
    """More people sign in than passwords can be checked at once; try again in a moment."""

    code = "accounts_busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "Too many people sign in at once"
    retry_after_seconds = 2


class AccountsOffError(RequestError):
    """The server has no keys to sign tokens with, and so no accounts."""

    code = "accounts_off"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "This server has no accounts"
    retry_after_seconds = 60


class TooManyStreamsError(RequestError):
    """The client has as many streams of events open as one may; end one first."""

    code = "too_many_streams"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many streams are open"
    retry_after_seconds = 10


class StreamsExhaustedError(RequestError):
    """The process serves as many streams of events as it can."""

    code = "streams_exhausted"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "No more streams can be served"
    retry_after_seconds = 10


class RateLimitedError(RequestError):
    """More requests than a client may make; `Retry-After` says when the next one may come."""

    code = "rate_limited"
    status = HTTPStatus.TOO_MANY_REQUESTS
    title = "Too many requests"


class HeadersTooLargeError(RequestError):
    """The request has more than 100 headers, or more than 16 KiB of them."""

    code = "headers_too_large"
    status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    title = "The request's headers are too large"


class RequestTimeoutError(RequestError):
    """The answer was not ready in time. Reading may work later; of a change, look whether it was made."""

    code = "request_timeout"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    title = "The request took too long"


PROBLEMS: tuple[type[RequestError], ...] = (
    InvalidRequestError,
    InvalidParameterError,
    UnknownParameterError,
    InvalidBodyError,
    NotSignedInError,
    InvalidTokenError,
    WrongCredentialsError,
    InvalidRefreshTokenError,
    WrongPasswordError,
    KeyNotAllowedError,
    ScopeMissingError,
    RoleMissingError,
    ProductNotFoundError,
    PageNotFoundError,
    ShopNotFoundError,
    WishNotFoundError,
    SearchNotFoundError,
    KeyNotFoundError,
    SessionNotFoundError,
    NotFoundError,
    MethodNotAllowedError,
    NameTakenError,
    LimitReachedError,
    BodyTooLargeError,
    AddressTooLongError,
    UnsupportedMediaTypeError,
    TooManyAttemptsError,
    TooManyStreamsError,
    RateLimitedError,
    HeadersTooLargeError,
    InternalError,
    DatabaseAwayError,
    DatabaseSlowError,
    OutcomeUnknownError,
    SchemaOutdatedError,
    IndexBuildingError,
    AccountsBusyError,
    AccountsOffError,
    StreamsExhaustedError,
    RequestTimeoutError,
)
"""Every problem there is."""
