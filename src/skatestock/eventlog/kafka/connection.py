"""How Kafka is reached, whether it can be, and what its errors mean in our words."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, TypeVar

import msgspec
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

from skatestock.eventlog.errors import (
    EventLogError,
    LogRefusedError,
    LogUnavailableError,
    MessageTooLargeError,
    UnknownTopicError,
)
from skatestock.eventlog.kafka.blocking import BlockingCalls
from skatestock.eventlog.kafka.certificates import find_fault
from skatestock.telemetry.logs import get_logger

_Client = TypeVar("_Client")

_PROTOCOLS = {
    "plaintext": "PLAINTEXT",
    "tls": "SSL",
    "sasl_plaintext": "SASL_PLAINTEXT",
    "sasl_tls": "SASL_SSL",
}
_LOOK_SECONDS = 0.05
_AFTERTHOUGHT_SECONDS = 0.3
# The same complaint of a broker that stays away is told once in this time.
_REPEAT_SECONDS = 30.0

_NO_TOPIC = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.UNKNOWN_TOPIC_ID,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)
_TOO_LARGE = frozenset({KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG_SIZE})
_BAD_LOGIN = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_NO_RIGHT = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
_AWAY = frozenset(
    {
        KafkaError._TRANSPORT,
        KafkaError._RESOLVE,
        KafkaError._ALL_BROKERS_DOWN,
        KafkaError._TIMED_OUT,
        KafkaError._TIMED_OUT_QUEUE,
        KafkaError._MSG_TIMED_OUT,
        KafkaError._WAIT_COORD,
        KafkaError._PURGE_QUEUE,
        KafkaError._PURGE_INFLIGHT,
        KafkaError._DESTROY,
        KafkaError._FATAL,
        KafkaError.REQUEST_TIMED_OUT,
        # leaders and coordinators are moving, or their brokers start
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.REPLICA_NOT_AVAILABLE,
        KafkaError.PREFERRED_LEADER_NOT_AVAILABLE,
        KafkaError.FENCED_LEADER_EPOCH,
        KafkaError.UNKNOWN_LEADER_EPOCH,
        KafkaError.OFFSET_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.NOT_CONTROLLER,
        KafkaError.KAFKA_STORAGE_ERROR,
        KafkaError.STALE_BROKER_EPOCH,
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.BROKER_NOT_AVAILABLE,
        KafkaError.NETWORK_EXCEPTION,
        KafkaError.NOT_ENOUGH_REPLICAS,
        KafkaError.NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        KafkaError.THROTTLING_QUOTA_EXCEEDED,
    }
)
# librdkafka's own guesses when a broker hangs up at the first word, or answers in another protocol.
_WRONG_PROTOCOL_WORDS = ("security.protocol", "PLAINTEXT broker listener")
_BAD_CERTIFICATE_WORDS = "certificate verify failed"
# Where librdkafka stands when a broker that was reached hangs up, because it expected something else.
_FIRST_WORDS = ("state UP", "state APIVERSION_QUERY")

_log = get_logger(__name__)


class KafkaServers(msgspec.Struct, frozen=True, kw_only=True):
    """Where Kafka is, and who we are to it."""

    servers: str
    """Brokers to ask first, such as `one:9092,two:9092`."""
    security: Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = "plaintext"
    sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    user: str | None = None
    password: str | None = None
    ca_file: str | None = None
    client_id: str = "skatestock"

    def config(self) -> dict[str, Any]:
        """Return librdkafka's configuration of a client, each time a new one to add to."""
        config: dict[str, Any] = {
            "bootstrap.servers": self.servers,
            "client.id": self.client_id,
            "security.protocol": _PROTOCOLS[self.security],
            # a broker that was restarted is found again within two seconds, not ten
            "reconnect.backoff.max.ms": 2000,
            "socket.connection.setup.timeout.ms": 10_000,
            "allow.auto.create.topics": False,
            # figures about this process are nobody else's business
            "enable.metrics.push": False,
            "log.connection.close": False,
            "logger": _ClientLog(),
            "error_cb": _ErrorReporter(self),
        }
        if self.security.startswith("sasl"):
            config |= {
                "sasl.mechanism": self.sasl,
                "sasl.username": self.user,
                "sasl.password": self.password,
            }
        if self.ca_file is not None and self.security.endswith("tls"):
            config["ssl.ca.location"] = self.ca_file
        return {name: value for name, value in config.items() if value is not None}


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Which Kafka answered."""

    id: str
    brokers: tuple[str, ...]
    """Addresses that the cluster gives its clients."""


class _ClientLog:
    """Takes librdkafka's own log lines, which would go to stderr otherwise."""

    def __init__(self) -> None:
        self.hung_up = False
        """Whether a broker closed a connection that it had accepted; no error tells of that."""

    def log(self, level: int, _template: str, *arguments: str) -> None:
        # whatever a person must know also comes as an error: these lines are for who looks for a cause
        facility, client, text = (*arguments, "", "", "")[:3]
        self.hung_up = self.hung_up or (
            "closed by peer" in text and any(words in text for words in _FIRST_WORDS)
        )
        _log.debug("kafka_client", severity=level, facility=facility, client=client, text=text)


class _ErrorReporter:
    """Logs a client's complaints about its connections, each one once in a while."""

    def __init__(self, servers: KafkaServers) -> None:
        self._servers = servers
        self._told_at: dict[int, float] = {}

    def __call__(self, error: KafkaError) -> None:
        now = time.monotonic()
        if now - self._told_at.get(error.code(), -_REPEAT_SECONDS) >= _REPEAT_SECONDS:
            self._told_at[error.code()] = now
            _log.warning("kafka_connection", kind=error.name(), error=str(explain(error, self._servers)))


def explain(error: KafkaError, servers: KafkaServers, *, topic: str | None = None) -> EventLogError:
    """Turn an error of Kafka's into one of ours, whose message says what to do."""
    code, text = error.code(), error.str()
    who = f"Kafka at {servers.servers}"
    if code in _NO_TOPIC:
        name = f"the topic {topic!r}" if topic else "a topic"
        return UnknownTopicError(f"{name} is not set up on {who}: run `skatestock topics ensure` to do so")
    if code in _TOO_LARGE:
        return MessageTooLargeError(
            f"{who} refuses a message as too large ({text}): `skatestock topics ensure` sets the limit"
        )
    if code in _BAD_LOGIN:
        return LogRefusedError(
            f"{who} refuses the login ({text}); check SKATESTOCK_KAFKA_USER, SKATESTOCK_KAFKA_PASSWORD and "
            "SKATESTOCK_KAFKA_SASL"
        )
    if code in _NO_RIGHT:
        return LogRefusedError(f"{who} does not allow this ({text}); give {_user(servers)} the right to it")
    if _is_bad_certificate(error):
        return _refuse_certificate(servers, "the client does not say why")
    if _is_wrong_protocol(error):
        return LogRefusedError(
            f"{who} does not speak {servers.security} ({text}); check SKATESTOCK_KAFKA_SECURITY and "
            "SKATESTOCK_KAFKA_CA_FILE"
        )
    return _explain_rest(error, servers)


def _is_wrong_protocol(error: KafkaError) -> bool:
    if error.code() == KafkaError._TRANSPORT:
        return any(words in error.str() for words in _WRONG_PROTOCOL_WORDS)
    return error.code() == KafkaError._SSL


def _is_bad_certificate(error: KafkaError) -> bool:
    return error.code() == KafkaError._SSL and _BAD_CERTIFICATE_WORDS in error.str()


def _refuse_certificate(servers: KafkaServers, fault: str) -> LogRefusedError:
    return LogRefusedError(
        f"the certificate of Kafka at {servers.servers} is not trusted ({fault}); check that "
        "SKATESTOCK_KAFKA_CA_FILE holds who vouches for it (without it the system's authorities do), and "
        "that SKATESTOCK_KAFKA_SERVERS names the brokers as their certificates do"
    )


def _explain_rest(error: KafkaError, servers: KafkaServers) -> EventLogError:
    code, text = error.code(), error.str()
    if code == KafkaError._RESOLVE:
        return LogUnavailableError(
            f"there is no host for Kafka at {servers.servers} ({text}); check SKATESTOCK_KAFKA_SERVERS"
        )
    if code == KafkaError.INVALID_REPLICATION_FACTOR:
        return LogRefusedError(
            f"Kafka at {servers.servers} has too few brokers ({text}); set SKATESTOCK_KAFKA_REPLICATION"
        )
    if code in _AWAY or error.retriable():
        return LogUnavailableError(
            f"Kafka at {servers.servers} does not answer ({text}); check that it runs and that "
            "SKATESTOCK_KAFKA_SERVERS is right"
        )
    return LogRefusedError(
        f"Kafka at {servers.servers} refuses what was asked of it ({error.name()}: {text})"
    )


def explain_exception(
    exception: KafkaException, servers: KafkaServers, *, topic: str | None = None
) -> EventLogError:
    """Turn an exception of the client's into an error of ours."""
    return explain(exception.args[0], servers, topic=topic)


def open_client(
    kind: Callable[[dict[str, Any]], _Client], servers: KafkaServers, more: Mapping[str, Any] | None = None
) -> _Client:
    """Make a client; nothing is connected yet. Raises LogRefusedError when the settings cannot be used."""
    try:
        return kind({**servers.config(), **(more or {})})
    except KafkaException as exception:
        raise LogRefusedError(
            f"the settings for Kafka cannot be used: {exception.args[0].str()}; check "
            "SKATESTOCK_KAFKA_SERVERS, SKATESTOCK_KAFKA_SECURITY and SKATESTOCK_KAFKA_CA_FILE"
        ) from exception


async def check_servers(servers: KafkaServers, *, timeout_seconds: float = 5.0) -> Cluster:
    """Find out whether Kafka is there and lets us in.

    librdkafka tries a wrong host or a refused login for ever: here its first complaint that settles the
    matter counts. Raises LogUnavailableError (worth another try) or LogRefusedError.
    """
    calls = BlockingCalls("kafka-check")
    try:
        return await calls.run(lambda: _look(servers, timeout_seconds))
    finally:
        calls.close()


def _look(servers: KafkaServers, timeout_seconds: float) -> Cluster:
    complaints: list[KafkaError] = []
    lines = _ClientLog()
    more = {"error_cb": complaints.append, "logger": lines, "log.connection.close": True}
    admin = open_client(AdminClient, servers, more)
    answer = admin.describe_cluster(request_timeout=timeout_seconds)
    give_up_at = time.monotonic() + timeout_seconds
    while not answer.done() and time.monotonic() < give_up_at:
        admin.poll(_LOOK_SECONDS)
        if _is_settled(complaints):
            # the reason may follow its consequence
            give_up_at = min(give_up_at, time.monotonic() + _AFTERTHOUGHT_SECONDS)
    if not answer.done() or answer.exception() is not None:
        if complaints:
            raise _explain_worst(complaints, servers, hung_up=lines.hung_up)
        raise _explain_silence(answer.exception() if answer.done() else None, servers)
    found = answer.result()
    brokers = tuple(f"{node.host}:{node.port}" for node in found.nodes)
    return Cluster(id=found.cluster_id, brokers=brokers)


def _is_settled(complaints: Sequence[KafkaError]) -> bool:
    """Tell whether waiting is in vain; one of several brokers that is away settles nothing."""
    final = (*_BAD_LOGIN, KafkaError._SSL, KafkaError._ALL_BROKERS_DOWN)
    return any(error.code() in final for error in complaints)


def _most_telling(complaints: Sequence[KafkaError]) -> KafkaError:
    def rank(error: KafkaError) -> int:
        if error.code() in _BAD_LOGIN:
            return 0
        if _is_wrong_protocol(error):
            return 1
        return {KafkaError._RESOLVE: 2, KafkaError._ALL_BROKERS_DOWN: 4}.get(error.code(), 3)

    return min(complaints, key=rank)


def _explain_worst(
    complaints: Sequence[KafkaError], servers: KafkaServers, *, hung_up: bool
) -> EventLogError:
    worst = _most_telling(complaints)
    if worst.code() == KafkaError._ALL_BROKERS_DOWN and hung_up:
        return LogUnavailableError(
            f"Kafka at {servers.servers} hangs up as soon as it is asked something: it may want TLS or a "
            "login (SKATESTOCK_KAFKA_SECURITY, SKATESTOCK_KAFKA_USER), or be about to stop"
        )
    if _is_bad_certificate(worst) and (fault := find_fault(servers.servers, servers.ca_file)) is not None:
        return _refuse_certificate(servers, fault)
    return explain(worst, servers)


def _explain_silence(exception: BaseException | None, servers: KafkaServers) -> EventLogError:
    if isinstance(exception, KafkaException):
        return explain_exception(exception, servers)
    return explain(KafkaError(KafkaError._TIMED_OUT), servers)


def _user(servers: KafkaServers) -> str:
    return f"the user {servers.user!r}" if servers.user else "this client (SKATESTOCK_KAFKA_USER is not set)"
