"""The schemas' ids and versions as a registry knows them, over Confluent's REST API.

Each record type of a topic has a subject of its own, `<topic>-<full name>`, and the rule BACKWARD. What was
learned once is kept for ever: a registry never gives an id to another schema. So whoever has started goes on
without the registry, except where a record names a schema that was not met before.
"""

import asyncio
import json
import time
from collections.abc import Callable, Collection
from ipaddress import ip_address
from typing import Any, NamedTuple, TypeVar
from urllib.parse import unquote, urlsplit, urlunsplit

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.common._httpx_compat import httpx
from confluent_kafka.schema_registry.error import SchemaRegistryError

from skatestock.eventlog.errors import (
    EventLogError,
    IncompatibleSchemaError,
    RegistryRefusedError,
    RegistryUnavailableError,
    SchemaNotRegisteredError,
)
from skatestock.events.versions import EVENTS, AvroSchema, full_name, load_schema
from skatestock.events.writers import UnreadableSchemaError, plan_reading

COMPATIBILITY = "BACKWARD"
"""What a registry demands of a subject's next version: that it reads what the last one wrote."""

_MISSING_FOR_SECONDS = 30.0
_MAX_MISSING = 10_000
_MAX_ID = 2**31 - 1
_NOT_FOUND = (40401, 40402, 40403, 40408)
_AWAY = (408, 429, 500, 502, 503, 504)
_Answer = TypeVar("_Answer")


class Registration(NamedTuple):
    """One version of one subject."""

    subject: str
    version: int
    schema_id: int
    schema: AvroSchema


class SchemaRegistry:
    """The schemas of one topic's events in a registry; its calls run in threads and end after the timeout.

    Every call raises RegistryUnavailableError when the registry does not answer now, and
    RegistryRefusedError when it does not let us in or is none.
    """

    def __init__(
        self,
        url: str,
        topic: str,
        *,
        user: str | None = None,
        password: str | None = None,
        timeout_seconds: float = 5.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.url, login = _split_login(url)
        """The address without user and password, to be shown."""
        self._topic = topic
        self._user = user or login[0]
        self._client = self._connect(password or login[1], timeout_seconds)
        self._monotonic = monotonic
        self._ids: dict[str, int] = {}
        self._schemas: dict[int, AvroSchema] = {}
        self._missing_until: dict[int, float] = {}
        # Whether a registry has ever answered here.
        self._is_proven = False

    def subject_of(self, event: str) -> str:
        """Return the subject that an event's schemas are kept under."""
        return f"{self._topic}-{full_name(event)}"

    def id_of(self, event: str) -> int:
        """Return the id under which new events of this name are written; `load_ids` must have run."""
        try:
            return self._ids[event]
        except KeyError:
            raise self._not_registered(event) from None

    def find_schema(self, schema_id: int) -> AvroSchema | None:
        """Return the schema of this id as far as it was learned."""
        return self._schemas.get(schema_id)

    async def learn(self, schema_ids: Collection[int]) -> None:
        """Ask for the schemas that are not known; an id that the registry does not know is tried later."""
        for schema_id in schema_ids:
            if schema_id not in self._schemas and not self._is_missing(schema_id):
                schema = await self._fetch_schema(schema_id) if schema_id <= _MAX_ID else None
                if schema is None:
                    self._note_missing(schema_id)
                else:
                    self._schemas[schema_id] = schema

    async def load_ids(self) -> None:
        """Look up the ids of our own schemas; raises SchemaNotRegisteredError where one has none."""
        for event in EVENTS:
            if event not in self._ids and await self.find_registration(event) is None:
                raise self._not_registered(event)

    async def register(self, event: str) -> Registration:
        """Register an event's schema with its rule, and return where it stands; idempotent.

        Raises IncompatibleSchemaError when the registry refuses it.
        """
        subject, schema = self.subject_of(event), _to_registry(load_schema(event))
        await self._set_rule(event)
        if await self.find_registration(event) is None:
            await self._ask(lambda: self._client.register_schema(subject, schema))
        registration = await self.find_registration(event)
        if registration is None:
            raise RegistryRefusedError(f"the schema registry at {self.url} has not kept {subject}")
        return registration

    async def find_registration(self, event: str) -> Registration | None:
        """Return where an event's schema, as it stands here, is registered; None where it is not."""
        subject, schema = self.subject_of(event), _to_registry(load_schema(event))
        found = await self._ask_for(lambda: self._client.lookup_schema(subject, schema))
        if found is None:
            return None
        version, schema_id = self._number(found.version), self._number(found.schema_id)
        await self.learn([schema_id])
        registered = self._schemas.get(schema_id)
        if registered is None or not _writes_like(event, registered):
            # Registries have their own notion of which schemas are the same; the bytes must be.
            raise RegistryRefusedError(
                f"the schema registry at {self.url} takes {subject} version {version} for our schema of "
                f"{event}, although records are written differently with it"
            )
        self._ids[event] = schema_id
        return Registration(subject, version, schema_id, registered)

    async def fetch_versions(self, event: str) -> list[Registration]:
        """List all versions of an event's schema that the registry holds, the oldest first."""
        subject = self.subject_of(event)
        numbers = await self._ask_for(lambda: self._client.get_versions(subject)) or []
        return [await self._fetch_version(subject, number) for number in sorted(numbers)]

    async def fetch_compatibility(self, event: str) -> str | None:
        """Tell which rule the registry holds an event's next schema to; None where it has none of its own."""
        subject = self.subject_of(event)
        level = await self._ask_for(lambda: self._client.get_compatibility(subject))
        return None if level is None else str(level)

    async def accepts(self, event: str, schema: AvroSchema) -> bool:
        """Ask the registry whether a schema may become an event's next version; registers nothing."""
        subject, text = self.subject_of(event), _to_registry(schema)
        try:
            answer = await self._ask_for(lambda: self._client.test_compatibility(subject, text))
        except _InvalidSchemaError:
            return False
        # A subject without versions takes any schema, but not every registry says so.
        return True if answer is None else bool(answer)

    async def close(self) -> None:
        """Close the connection; what was learned stays."""
        await asyncio.to_thread(self._client.close)

    async def _fetch_version(self, subject: str, number: int) -> Registration:
        found = await self._ask(lambda: self._client.get_version(subject, number))
        version, schema_id = self._number(found.version), self._number(found.schema_id)
        return Registration(subject, version, schema_id, self._to_schema(found.schema))

    async def _fetch_schema(self, schema_id: int) -> AvroSchema | None:
        found = await self._ask_for(lambda: self._client.get_schema(schema_id))
        return None if found is None else self._to_schema(found)

    async def _ask_for(self, call: Callable[[], _Answer]) -> _Answer | None:
        """Make a call whose answer may be that there is none."""
        try:
            return await self._ask(call)
        except _NothingFoundError:
            return None

    async def _ask(self, call: Callable[[], _Answer]) -> _Answer:
        try:
            return await asyncio.to_thread(call)
        except SchemaRegistryError as error:
            raise self._explain(error) from error
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise RegistryUnavailableError(
                f"the schema registry at {self.url} does not answer: {reason}"
            ) from error
        except (httpx.HTTPError, ValueError, TypeError, LookupError, AttributeError) as error:
            # An answer that is no JSON, or not the JSON of a registry.
            raise self._not_a_registry("its answers are not a registry's") from error

    async def _set_rule(self, event: str) -> None:
        if await self.fetch_compatibility(event) == COMPATIBILITY:
            return
        subject = self.subject_of(event)
        try:
            await self._ask(lambda: self._client.set_compatibility(subject, COMPATIBILITY))
        except IncompatibleSchemaError:
            # A conflict: somebody else sets it at the same moment.
            if await self.fetch_compatibility(event) != COMPATIBILITY:
                raise

    def _explain(self, error: SchemaRegistryError) -> EventLogError:
        status, code = error.http_status_code, error.error_code
        text = " ".join(str(error.error_message).split())[:300]
        if status in (401, 403):
            who = f"the user {self._user}" if self._user else "us without a login"
            return RegistryRefusedError(
                f"the schema registry at {self.url} refuses {who} ({status}); check "
                "SKATESTOCK_SCHEMA_REGISTRY_USER and SKATESTOCK_SCHEMA_REGISTRY_PASSWORD"
            )
        if status == 404:
            if code not in _NOT_FOUND:
                return self._not_a_registry("it answers 404")
            self._is_proven = True
            return _NothingFoundError(text)
        if status == 409:
            return IncompatibleSchemaError(f"the schema registry at {self.url} refuses the schema: {text}")
        if status in _AWAY:
            return RegistryUnavailableError(f"the schema registry at {self.url} answers {status}: {text}")
        if code == SchemaRegistryError.UNKNOWN:
            return self._not_a_registry(f"it answers {status}")
        kind = _InvalidSchemaError if status == 422 else RegistryRefusedError
        return kind(f"the schema registry at {self.url} answers {status}: {text}")

    def _not_a_registry(self, why: str) -> EventLogError:
        if self._is_proven:
            # What stands before a registry answers for it while it is away.
            return RegistryUnavailableError(f"the schema registry at {self.url} is away: {why}")
        return RegistryRefusedError(
            f"{self.url} is no schema registry that speaks Confluent's REST API: {why}; check "
            "SKATESTOCK_SCHEMA_REGISTRY_URL (Apicurio's ends in /apis/ccompat/v7)"
        )

    def _not_registered(self, event: str) -> SchemaNotRegisteredError:
        return SchemaNotRegisteredError(
            f"the schema of {event} is not registered at {self.url} under {self.subject_of(event)}: "
            "run `skatestock schemas register`"
        )

    def _to_schema(self, schema: Schema) -> AvroSchema:
        """Read a registered schema; what is no Avro becomes one that the codec refuses with its reason."""
        if schema.schema_str is None:
            raise self._not_a_registry("its answers lack a schema")
        if schema.schema_type not in (None, "AVRO"):
            return {"type": str(schema.schema_type)}
        try:
            parsed = json.loads(schema.schema_str)
        except (ValueError, RecursionError):
            return {"type": "no JSON"}
        self._is_proven = True
        return parsed if isinstance(parsed, dict) else {"type": parsed}

    def _number(self, number: object) -> int:
        if isinstance(number, int):
            return number
        raise self._not_a_registry("its answers lack a version or an id")

    def _is_missing(self, schema_id: int) -> bool:
        return self._missing_until.get(schema_id, 0.0) > self._monotonic()

    def _note_missing(self, schema_id: int) -> None:
        if len(self._missing_until) >= _MAX_MISSING:
            self._missing_until.clear()
        self._missing_until[schema_id] = self._monotonic() + _MISSING_FOR_SECONDS

    def _connect(self, password: str | None, timeout_seconds: float) -> SchemaRegistryClient:
        settings: dict[str, Any] = {"url": self.url, "timeout": timeout_seconds, "max.retries": 0}
        if self._user:
            settings["basic.auth.user.info"] = f"{self._user}:{password or ''}"
        if not all(url.startswith(("http://", "https://")) for url in self.url.split(",")):
            raise RegistryRefusedError(
                f"SKATESTOCK_SCHEMA_REGISTRY_URL cannot be used: {self.url} does not begin with http:// or "
                "https://"
            )
        client = SchemaRegistryClient(settings)
        if _is_on_this_machine(self.url):
            # The client would ask the proxy that the environment names, which does not know this machine.
            login = (self._user, password or "") if self._user else None
            client.close()
            client._rest_client.session = httpx.Client(auth=login, timeout=timeout_seconds, trust_env=False)
        return client


class _InvalidSchemaError(RegistryRefusedError):
    """The registry does not take the schema for one, or cannot compare it."""


class _NothingFoundError(EventLogError):
    """The registry has no such subject, version, schema or rule; never leaves this module."""


def _to_registry(schema: AvroSchema) -> Schema:
    return Schema(json.dumps(schema, ensure_ascii=False, separators=(",", ":")), "AVRO")


def _writes_like(event: str, schema: AvroSchema) -> bool:
    try:
        reading = plan_reading(schema)
    except UnreadableSchemaError:
        return False
    return reading.event == event and reading.reader is None


def _is_on_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _split_login(url: str) -> tuple[str, tuple[str | None, str | None]]:
    """Take user and password out of an address, or out of several with commas between them."""
    shown, logins = [], []
    for parts in (urlsplit(part.strip()) for part in url.split(",")):
        shown.append(urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2])))
        if parts.username is not None:
            password = None if parts.password is None else unquote(parts.password)
            logins.append((unquote(parts.username), password))
    return ",".join(shown), logins[0] if logins else (None, None)
