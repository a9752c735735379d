"""The endpoints of accounts: signing up and in, one's own account, its data and its end."""

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler

from skatestock.accounts.commands_audit import record_audit
from skatestock.accounts.commands_sessions import end_session
from skatestock.accounts.model import parse_email
from skatestock.accounts.queries import find_all_keys, find_all_sessions, find_audit, get_account
from skatestock.accounts.queries_wishes import find_searches, find_wishes
from skatestock.api import account_schemas as schemas
from skatestock.api.account_answers import (
    to_audit,
    to_exported_key,
    to_exported_session,
    to_exported_wish,
    to_me,
    to_search,
    to_tokens,
)
from skatestock.api.account_problems import naming_field
from skatestock.api.account_work import changing_own, reading_own
from skatestock.api.authentication import find_origin, get_accounts, get_caller
from skatestock.api.bodies import read_body
from skatestock.api.context import Context
from skatestock.api.errors import (
    AccountsBusyError,
    AccountsOffError,
    InvalidRefreshTokenError,
    InvalidTokenError,
    OutcomeUnknownError,
    TooManyAttemptsError,
    WrongCredentialsError,
    WrongPasswordError,
)
from skatestock.api.operations import READS_DATABASE, READS_QUERY, Operation, reads, writes
from skatestock.api.requests import AnyRequest

_CHANGES = (*READS_QUERY, OutcomeUnknownError)
_SIGNS_IN = (*_CHANGES, TooManyAttemptsError, AccountsBusyError, AccountsOffError, *READS_DATABASE)
_CONFIRMS = (*_CHANGES, WrongPasswordError, TooManyAttemptsError, AccountsBusyError)
# What three months of an audit log can hold of one person is far less.
_MOST_EXPORTED = 10_000


@writes(
    "POST",
    "/auth/signup",
    Operation(
        name="sign_up",
        summary="Make an account",
        description="Always answers the same, whether or not the e-mail address has an account; one that it "
        "has stays as it is. Then sign in with `POST /auth/token`.",
        tag="Accounts",
        body=schemas.SignUp,
        answer=schemas.SignUpAnswer,
        status=202,
        problems=_SIGNS_IN,
    ),
)
async def sign_up(request: AnyRequest) -> schemas.SignUpAnswer:
    """Answer that it was heard."""
    body = await read_body(request, schemas.SignUp)
    email = parse_email(body.email)
    with naming_field("password"):
        await get_accounts(request).sign_up(email, body.password, find_origin(request.scope))
    return schemas.SignUpAnswer(status="accepted", email=email, next="POST /auth/token")


@writes(
    "POST",
    "/auth/token",
    Operation(
        name="sign_in",
        summary="Sign in",
        description="Begins a session and answers with its tokens. Failures are counted per network address "
        "and per e-mail address at it; after some, each further attempt has to wait, up to 15 minutes.",
        tag="Accounts",
        body=schemas.SignIn,
        answer=schemas.Tokens,
        problems=(*_SIGNS_IN, WrongCredentialsError),
    ),
)
async def sign_in(request: AnyRequest) -> schemas.Tokens:
    """Answer with tokens."""
    body = await read_body(request, schemas.SignIn)
    email = parse_email(body.email)
    return to_tokens(await get_accounts(request).sign_in(email, body.password, find_origin(request.scope)))


@writes(
    "POST",
    "/auth/refresh",
    Operation(
        name="refresh_session",
        summary="Renew the tokens of a session",
        description="Takes the refresh token that was given last and answers with new tokens; it is good "
        "once. One that was used before ends its session at once, because it is in the wrong hands or its "
        "successor is.",
        tag="Accounts",
        body=schemas.Refresh,
        answer=schemas.Tokens,
        problems=(*_CHANGES, InvalidRefreshTokenError, AccountsOffError, *READS_DATABASE),
    ),
)
async def refresh_session(request: AnyRequest) -> schemas.Tokens:
    """Answer with new tokens."""
    body = await read_body(request, schemas.Refresh)
    return to_tokens(await get_accounts(request).refresh(body.refresh_token, find_origin(request.scope)))


@writes(
    "POST",
    "/auth/logout",
    Operation(
        name="sign_out",
        summary="Sign out",
        description="Ends the session that the access token is of, at once and on every process.",
        tag="Accounts",
        answer=None,
        status=204,
        auth="user",
        problems=_CHANGES,
    ),
)
async def sign_out(request: AnyRequest, context: NamedDependency[Context]) -> None:
    """Answer with nothing."""
    async with changing_own(request, context) as own:
        session_id = own.caller.session_id
        if session_id is None:
            raise InvalidTokenError("no session belongs to this credential")
        await end_session(own.connection, own.account_id, session_id, own.now, "signed_out", own.address)


@reads(
    "/auth/me",
    Operation(
        name="get_me",
        summary="Show who you are",
        description="Your account; for an API key, also what it is allowed to.",
        tag="Accounts",
        answer=schemas.Me,
        auth="user-or-key",
        scopes=("read",),
        problems=READS_QUERY,
    ),
)
async def get_me(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Me:
    """Answer with the caller's account."""
    async with reading_own(request, context) as own:
        return to_me(await get_account(own.connection, own.account_id), own.caller)


@writes(
    "PUT",
    "/auth/password",
    Operation(
        name="change_password",
        summary="Change your password",
        description="Ends all of your other sessions. API keys stay: revoke those that you do not trust.",
        tag="Accounts",
        body=schemas.PasswordChange,
        answer=None,
        status=204,
        auth="user",
        problems=_CONFIRMS,
    ),
)
async def change_password(request: AnyRequest) -> None:
    """Answer with nothing."""
    body = await read_body(request, schemas.PasswordChange)
    with naming_field("new_password"):
        await get_accounts(request).change_password(
            get_caller(request), body.current_password, body.new_password, find_origin(request.scope)
        )


@writes(
    "DELETE",
    "/auth/me",
    Operation(
        name="delete_me",
        summary="Delete your account",
        description="Deletes the account with its sessions, keys, wishlist, saved searches and log. It "
        "cannot be undone.",
        tag="Accounts",
        body=schemas.Confirmation,
        answer=None,
        status=204,
        auth="user",
        problems=_CONFIRMS,
    ),
)
async def delete_me(request: AnyRequest) -> None:
    """Answer with nothing."""
    body = await read_body(request, schemas.Confirmation)
    await get_accounts(request).delete(get_caller(request), body.password, find_origin(request.scope))


@reads(
    "/auth/me/export",
    Operation(
        name="export_me",
        summary="Show everything that we hold of you",
        description="One JSON document, but for the hashes of your password, tokens and keys, which are of "
        "no use to anybody.",
        tag="Accounts",
        answer=schemas.Export,
        auth="user",
        problems=_CHANGES,
    ),
)
async def export_me(request: AnyRequest, context: NamedDependency[Context]) -> schemas.Export:
    """Answer with all that hangs on the caller's account."""
    async with changing_own(request, context, "repeatable_read") as own:
        connection, account_id = own.connection, own.account_id
        await record_audit(connection, own.now, "data_exported", account_id=account_id, address=own.address)
        sessions = await find_all_sessions(connection, account_id)
        keys = await find_all_keys(connection, account_id)
        wishes = await find_wishes(connection, account_id)
        searches = await find_searches(connection, account_id)
        audit = await find_audit(connection, account_id=account_id, limit=_MOST_EXPORTED)
        return schemas.Export(
            exported_at=own.now,
            account=to_me(await get_account(connection, account_id), own.caller),
            sessions=tuple(to_exported_session(session, own.caller.session_id) for session in sessions),
            keys=tuple(to_exported_key(key) for key in keys),
            wishlist=tuple(to_exported_wish(wish) for wish in wishes),
            searches=tuple(to_search(search) for search in searches),
            audit=tuple(to_audit(entry) for entry in audit),
        )


ACCOUNT_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (
    sign_up,
    sign_in,
    refresh_session,
    sign_out,
    get_me,
    change_password,
    delete_me,
    export_me,
)
"""The endpoints of this file, in the order of the OpenAPI document."""
