"""The endpoints of what lets somebody in: API keys and sessions, and the log of who came in."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from litestar.di import NamedDependency
from litestar.handlers import HTTPRouteHandler
from litestar.params import FromPath
from msgspec import UNSET, Meta, Struct, UnsetType

from skatestock.accounts.commands_keys import make_key, revoke_key
from skatestock.accounts.commands_sessions import end_session
from skatestock.accounts.model import AuditKind
from skatestock.accounts.queries import find_audit, find_keys, find_sessions
from skatestock.accounts.tokens import make_api_key
from skatestock.api import account_schemas as schemas
from skatestock.api.account_answers import to_audit, to_key, to_session
from skatestock.api.account_work import changing_own, reading_own
from skatestock.api.authentication import get_caller
from skatestock.api.bodies import read_body
from skatestock.api.context import Context
from skatestock.api.errors import (
    KeyNotFoundError,
    LimitReachedError,
    OutcomeUnknownError,
    RoleMissingError,
    SessionNotFoundError,
)
from skatestock.api.operations import READS_QUERY, Operation, reads, writes
from skatestock.api.questions import parse_question
from skatestock.api.requests import AnyRequest


class AuditQuestion(Struct, frozen=True, kw_only=True):
    """Which part of the audit log."""

    everyone: Annotated[
        bool,
        Meta(description="Of all accounts and of none, not only of yours: for admins.", examples=[False]),
    ] = False
    kind: Annotated[
        AuditKind | UnsetType, Meta(description="Only what is of this kind.", examples=["signed_in"])
    ] = UNSET
    before: Annotated[
        schemas.AuditId | UnsetType,
        Meta(description="Only what stands before this place: the `next_before` of a page.", examples=[700]),
    ] = UNSET
    limit: Annotated[int, Meta(description="How many a page holds.", examples=[50], ge=1, le=500)] = 50


@writes(
    "POST",
    "/auth/keys",
    Operation(
        name="make_key",
        summary="Make an API key",
        description="The key is shown in this answer and never again. It may do what its scopes say, and "
        "never what is about accounts, sessions or keys.",
        tag="Accounts",
        body=schemas.KeyRequest,
        answer=schemas.NewKey,
        status=201,
        auth="user",
        problems=(*READS_QUERY, LimitReachedError, OutcomeUnknownError),
    ),
)
async def post_key(request: AnyRequest, context: NamedDependency[Context]) -> schemas.NewKey:
    """Answer with a new key."""
    body = await read_body(request, schemas.KeyRequest)
    key, days = make_api_key(), body.expires_in_days
    async with changing_own(request, context) as own:
        expires_at = None if days is None else own.now + timedelta(days=days)
        name, scopes = body.name.strip(), body.scopes
        made = await make_key(own.connection, own.caller, key, name, scopes, expires_at, own.now, own.address)
    return schemas.NewKey(key=key.text, made=to_key(made))


@reads(
    "/auth/keys",
    Operation(
        name="list_keys",
        summary="List your API keys",
        description="What they are called and allowed to, and when each was last used.",
        tag="Accounts",
        answer=schemas.KeyList,
        auth="user",
        problems=READS_QUERY,
    ),
)
async def list_keys(request: AnyRequest, context: NamedDependency[Context]) -> schemas.KeyList:
    """Answer with the caller's keys."""
    async with reading_own(request, context) as own:
        found = await find_keys(own.connection, own.account_id)
    return schemas.KeyList(items=tuple(to_key(key) for key in found))


@writes(
    "DELETE",
    "/auth/keys/{key_id:str}",
    Operation(
        name="revoke_key",
        summary="Revoke an API key",
        description="It is refused from the next request on, on every process.",
        tag="Accounts",
        answer=None,
        status=204,
        auth="user",
        problems=(*READS_QUERY, KeyNotFoundError, OutcomeUnknownError),
    ),
)
async def delete_key(request: AnyRequest, context: NamedDependency[Context], key_id: FromPath[str]) -> None:
    """Answer with nothing."""
    async with changing_own(request, context) as own:
        if "\0" in key_id:
            raise KeyNotFoundError("the account has no such API key")
        await revoke_key(own.connection, own.account_id, key_id, own.now, own.address)


@reads(
    "/auth/sessions",
    Operation(
        name="list_sessions",
        summary="List your sessions",
        description="Where you are signed in.",
        tag="Accounts",
        answer=schemas.SessionList,
        auth="user",
        problems=READS_QUERY,
    ),
)
async def list_sessions(request: AnyRequest, context: NamedDependency[Context]) -> schemas.SessionList:
    """Answer with the caller's sessions."""
    async with reading_own(request, context) as own:
        found = await find_sessions(own.connection, own.account_id, own.now)
    current = own.caller.session_id
    return schemas.SessionList(items=tuple(to_session(session, current) for session in found))


@writes(
    "DELETE",
    "/auth/sessions/{session_id:str}",
    Operation(
        name="end_session",
        summary="End one of your sessions",
        description="Whoever uses it has to sign in again, from the next request on.",
        tag="Accounts",
        answer=None,
        status=204,
        auth="user",
        problems=(*READS_QUERY, SessionNotFoundError, OutcomeUnknownError),
    ),
)
async def delete_session(
    request: AnyRequest, context: NamedDependency[Context], session_id: FromPath[str]
) -> None:
    """Answer with nothing."""
    async with changing_own(request, context) as own:
        try:
            session = UUID(session_id)
        except ValueError:
            raise SessionNotFoundError("the account has no such session that is still open") from None
        await end_session(own.connection, own.account_id, session, own.now, "revoked", own.address)


@reads(
    "/auth/audit",
    Operation(
        name="list_audit",
        summary="Show what happened to your account",
        description="Sign-ins, good and bad, refresh tokens that were used twice, uses of keys, and every "
        "change of what lets somebody in; kept for 90 days. Admins may ask for everyone's.",
        tag="Accounts",
        question=AuditQuestion,
        answer=schemas.AuditList,
        auth="user",
        problems=(*READS_QUERY, RoleMissingError),
    ),
)
async def list_audit(request: AnyRequest, context: NamedDependency[Context]) -> schemas.AuditList:
    """Answer with one page of the log."""
    question = parse_question(AuditQuestion, request.scope["query_string"])
    caller = get_caller(request)
    if question.everyone and caller.role != "admin":
        raise RoleMissingError("only an admin may see everyone's log")
    async with context.database.connect() as connection:
        found = await find_audit(
            connection,
            account_id=None if question.everyone else caller.account_id,
            kind=None if isinstance(question.kind, UnsetType) else question.kind,
            before_id=None if isinstance(question.before, UnsetType) else question.before,
            limit=question.limit + 1,
        )
    page = found[: question.limit]
    return schemas.AuditList(
        items=tuple(to_audit(entry) for entry in page),
        next_before=page[-1].id if len(found) > len(page) else None,
    )


KEY_ENDPOINTS: tuple[HTTPRouteHandler, ...] = (
    post_key,
    list_keys,
    delete_key,
    list_sessions,
    delete_session,
    list_audit,
)
"""The endpoints of this file, in the order of the OpenAPI document."""
