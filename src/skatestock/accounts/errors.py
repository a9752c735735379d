"""What can go wrong with accounts; no message repeats a password, a token or a key."""

from datetime import datetime

from skatestock.vocabulary.errors import SkateStockError


class AccountsError(SkateStockError):
    """The root of this room's errors."""


class SigningKeysError(AccountsError):
    """The keys that sign access tokens are missing or malformed."""


class InvalidEmailError(AccountsError):
    """The text is no e-mail address that we take."""


class PasswordRefusedError(AccountsError):
    """The password is too easy to guess; the message says why."""


class PasswordsBusyError(AccountsError):
    """More passwords wait to be checked than this process takes on."""


class CredentialsRefusedError(AccountsError):
    """E-mail address and password do not fit together, or the account may not sign in: never said which."""


class WrongPasswordError(AccountsError):
    """The password that confirms a step is wrong."""


class AttemptsExhaustedError(AccountsError):
    """Too many attempts have failed; the next one is heard after `retry_after_seconds`."""

    def __init__(self, open_at: datetime, now: datetime) -> None:
        self.retry_after_seconds = max(1, int((open_at - now).total_seconds()))
        super().__init__(f"too many attempts have failed; try again in {self.retry_after_seconds} s")


class TokenRefusedError(AccountsError):
    """An access token or API key is malformed, forged, expired or revoked."""


class RefreshRefusedError(AccountsError):
    """A refresh token is unknown, expired, used before, or of a session that has ended."""


class AccountNotFoundError(AccountsError):
    """There is no such account."""


class EmailTakenError(AccountsError):
    """Another account has this e-mail address."""


class SessionNotFoundError(AccountsError):
    """The account has no such session that is still open."""


class KeyNotFoundError(AccountsError):
    """The account has no such API key."""


class WishNotFoundError(AccountsError):
    """The product is not on the account's wishlist."""


class UnknownProductError(AccountsError):
    """There is no product with this id."""


class SearchNotFoundError(AccountsError):
    """The account has no such saved search."""


class NameTakenError(AccountsError):
    """Another saved search of the account has this name."""


class LimitReachedError(AccountsError):
    """The account has as many as it may have of something; the message says how many of what."""
