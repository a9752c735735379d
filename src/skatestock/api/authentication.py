"""Who makes a request: checked before an endpoint that needs to know it runs."""

from collections.abc import Awaitable, Callable
from typing import Any, Literal

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from litestar.types import Scope

from skatestock.accounts.accounts import Accounts
from skatestock.accounts.model import Caller, Client, Origin
from skatestock.accounts.tokens import find_credential
from skatestock.api.errors import (
    AccountsOffError,
    KeyNotAllowedError,
    NotSignedInError,
    ScopeMissingError,
)
from skatestock.api.requests import AnyRequest

Auth = Literal["user", "user-or-key"]
"""Who may call an endpoint: a person who signed in, or also a program with an API key."""

AnyConnection = ASGIConnection[Any, Any, Any, Any]
Guard = Callable[[AnyConnection, BaseRouteHandler], Awaitable[None]]

ACCOUNTS = "accounts"
"""The name of the Accounts in the application's state; None where the server has no signing keys."""

_CALLER = "skatestock_caller"
_MAX_PROGRAM_LENGTH = 200


def require_caller(auth: Auth, scopes: tuple[str, ...]) -> Guard:
    """Make the guard of an endpoint that only people, or also keys with these scopes, may call.

    It raises NotSignedInError, KeyNotAllowedError, ScopeMissingError, AccountsOffError, and TokenRefusedError
    for a credential that does not hold now.
    """

    async def check(connection: AnyConnection, _handler: BaseRouteHandler) -> None:
        scope = connection.scope
        credential = find_credential(scope["headers"])
        if credential is None:
            raise NotSignedInError("send an access token as `Authorization: Bearer TOKEN`")
        client = scope["state"].get("client")
        caller = await _get_accounts(scope).authenticate(
            credential,
            find_origin(scope).address,
            claims=client.claims if isinstance(client, Client) else None,
        )
        if credential.is_key and auth == "user":
            raise KeyNotAllowedError("sign in with e-mail address and password for this")
        if not caller.has_scopes(scopes):
            raise ScopeMissingError(f"the API key needs the scope {' '.join(scopes)}")
        scope["state"][_CALLER] = caller

    return check


def get_caller(request: AnyRequest) -> Caller:
    """Return who makes the request, which the endpoint's guard has checked."""
    caller: Caller = request.scope["state"][_CALLER]
    return caller


def get_accounts(request: AnyRequest) -> Accounts:
    """Return the process's accounts; raises AccountsOffError."""
    return _get_accounts(request.scope)


def find_origin(scope: Scope) -> Origin:
    """Tell where a request comes from: as the edge told it, or else who is connected."""
    told = scope["state"].get("address")
    peer = scope.get("client")
    address = told if isinstance(told, str) else (peer[0] if peer else "unknown")
    program = next((value for name, value in scope["headers"] if name == b"user-agent"), b"")
    printable = "".join(sign for sign in program.decode("latin-1") if " " <= sign <= "~")
    return Origin(address[:100], printable[:_MAX_PROGRAM_LENGTH])


def _get_accounts(scope: Scope) -> Accounts:
    accounts = scope["litestar_app"].state.get(ACCOUNTS)
    if not isinstance(accounts, Accounts):
        raise AccountsOffError("set SKATESTOCK_AUTH_KEYS")
    return accounts
