"""How a request's JSON body is read: strictly, and with errors that name every field at fault."""

import re
from functools import cache
from typing import Any, TypeVar

import msgspec

from skatestock.api.errors import InvalidBodyError, UnsupportedMediaTypeError
from skatestock.api.questions import NoQuestion, parse_question
from skatestock.api.requests import AnyRequest
from skatestock.api.schemas import InvalidParameter

JSON = "application/json"

_Body = TypeVar("_Body", bound=msgspec.Struct)

# What msgspec raises for what is no JSON: words, bytes that are no UTF-8, brackets without end.
_UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_WHERE = re.compile(r" - at `\$(.*)`\Z")


def refuse_query(request: AnyRequest) -> None:
    """Refuse every parameter, where a request has none; raises UnknownParameterError, InvalidRequestError."""
    parse_question(NoQuestion, request.scope["query_string"])


async def read_body(request: AnyRequest, kind: type[_Body]) -> _Body:
    """Read the body of a request that has a body and no query.

    Raises UnsupportedMediaTypeError, InvalidBodyError, BodyTooLargeError, and what `refuse_query` raises.
    """
    refuse_query(request)
    media_type, _, parameters = request.headers.get("content-type", "").partition(";")
    charset = parameters.replace(" ", "").replace('"', "").casefold()
    if media_type.strip().casefold() != JSON or charset not in ("", "charset=utf-8"):
        raise UnsupportedMediaTypeError(f"send the body as {JSON}")
    return parse_body(kind, await request.body())


def parse_body(kind: type[_Body], body: bytes) -> _Body:
    """Read a struct from JSON; raises InvalidBodyError that names every field at fault.

    No message repeats what was sent: it may be a password.
    """
    try:
        given: dict[str, msgspec.Raw] = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except _UNREADABLE as error:
        raise InvalidBodyError("the body must be a JSON object") from error
    fields = _fields(kind)
    errors = [_fault(name[:60], f"unknown; use {', '.join(fields)}") for name in given if name not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in given:
            if field.required:
                errors.append(_fault(name, "is missing"))
            continue
        try:
            values[field.name] = _decode(given[name], field.type)
        except _UNREADABLE as error:
            errors.append(_explain(name, error))
    if errors:
        raise InvalidBodyError(
            "; ".join(f"{ascii(error.parameter)[1:-1]} {error.message}" for error in errors[:20]),
            errors=errors[:20],
        )
    return kind(**values)


def _decode(raw: msgspec.Raw, kind: Any) -> Any:
    try:
        return msgspec.json.decode(raw, type=kind)
    except msgspec.ValidationError:
        # JSON knows one kind of number: 90.0 is the integer 90
        return msgspec.convert(_make_whole(msgspec.json.decode(raw)), kind)


def _make_whole(value: Any) -> Any:
    """Write numbers without a fraction as integers, wherever they stand."""
    match value:
        case float() if value.is_integer():
            return int(value)
        case list():
            return [_make_whole(part) for part in value]
        case dict():
            return {name: _make_whole(part) for name, part in value.items()}
    return value


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, msgspec.structs.FieldInfo]:
    return {field.encode_name: field for field in msgspec.structs.fields(kind)}


def _explain(name: str, error: Exception) -> InvalidParameter:
    """Say what is wrong with a field in the decoder's words, which tell of the value only its kind."""
    if not isinstance(error, msgspec.ValidationError):
        return _fault(name, "is not JSON")
    text = str(error)
    inside = _WHERE.search(text)
    where = name + (inside[1] if inside else "")
    return _fault(where[:120], _WHERE.sub("", text).replace("Expected", "expected"))


def _fault(name: str, message: str) -> InvalidParameter:
    return InvalidParameter(parameter=name, message=message)
