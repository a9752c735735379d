"""What the accounts refuse, in the API's own words."""

from collections.abc import Generator
from contextlib import contextmanager

import asyncpg
from litestar import Response
from litestar.types import ExceptionHandlersMap

from skatestock.accounts import errors as refusals
from skatestock.api import errors as problems
from skatestock.api.errors import InvalidBodyError, RequestError
from skatestock.api.problems import answer_request_error, answer_unexpected_error
from skatestock.api.requests import AnyRequest
from skatestock.api.schemas import InvalidParameter
from skatestock.database.errors import CommitUnknownError

_PROBLEMS: dict[type[refusals.AccountsError], type[RequestError]] = {
    refusals.InvalidEmailError: problems.InvalidBodyError,
    refusals.PasswordRefusedError: problems.InvalidBodyError,
    refusals.PasswordsBusyError: problems.AccountsBusyError,
    refusals.CredentialsRefusedError: problems.WrongCredentialsError,
    refusals.WrongPasswordError: problems.WrongPasswordError,
    refusals.AttemptsExhaustedError: problems.TooManyAttemptsError,
    refusals.TokenRefusedError: problems.InvalidTokenError,
    refusals.RefreshRefusedError: problems.InvalidRefreshTokenError,
    # deleted between the check of who asks and the work
    refusals.AccountNotFoundError: problems.InvalidTokenError,
    refusals.SessionNotFoundError: problems.SessionNotFoundError,
    refusals.KeyNotFoundError: problems.KeyNotFoundError,
    refusals.WishNotFoundError: problems.WishNotFoundError,
    refusals.UnknownProductError: problems.ProductNotFoundError,
    refusals.SearchNotFoundError: problems.SearchNotFoundError,
    refusals.NameTakenError: problems.NameTakenError,
    refusals.LimitReachedError: problems.LimitReachedError,
}


def answer_refusal(request: AnyRequest, error: refusals.AccountsError) -> Response[bytes]:
    """Answer with what the accounts refused; what they should never say here is our own mistake."""
    kind = _PROBLEMS.get(type(error))
    if kind is None:
        return answer_unexpected_error(request, error)
    retry = error.retry_after_seconds if isinstance(error, refusals.AttemptsExhaustedError) else None
    return answer_request_error(request, kind(str(error), retry_after_seconds=retry))


@contextmanager
def naming_field(name: str) -> Generator[None]:
    """Say in which field of the body a value was that the accounts refuse; raises InvalidBodyError."""
    try:
        yield
    except (refusals.PasswordRefusedError, refusals.InvalidEmailError) as error:
        fault = InvalidParameter(parameter=name, message=str(error))
        raise InvalidBodyError(f"{name} {error}", errors=[fault]) from error


def answer_orphan(request: AnyRequest, _error: asyncpg.ForeignKeyViolationError) -> Response[bytes]:
    """Answer where something was written for an account that was deleted while it was."""
    return answer_request_error(request, problems.InvalidTokenError("the account is gone"))


def answer_unknown_outcome(request: AnyRequest, error: CommitUnknownError) -> Response[bytes]:
    """Answer where nobody can tell whether a change was made: neither that it was, nor that it was not."""
    problem = problems.OutcomeUnknownError(f"{error}: look whether it was made before you repeat it")
    problem.__cause__ = error.__cause__
    return answer_request_error(request, problem)


ACCOUNT_HANDLERS: ExceptionHandlersMap = {
    refusals.AccountsError: answer_refusal,
    CommitUnknownError: answer_unknown_outcome,
    asyncpg.ForeignKeyViolationError: answer_orphan,
}
