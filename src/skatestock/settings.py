"""Typed settings from the environment and one optional TOML file; docs/CONFIGURATION.md lists them."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from skatestock.vocabulary.errors import SkateStockError

PREFIX = "SKATESTOCK_"
# Read elsewhere (the tests' own switches, the file itself), so no setting of ours.
_NOT_SETTINGS = ("SKATESTOCK_TEST_", "SKATESTOCK_CONFIG")

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
Rate = Annotated[int, msgspec.Meta(ge=0, le=60_000_000)]

# What msgspec says of one value: "Expected `int`, got `str` - at `$.api_port`".
_COMPLAINT = re.compile(r"(?:Expected )?(?P<wanted>.*?)(?:, got .*)? - at `\$\.(?P<name>\w+)`", re.DOTALL)
_PLAIN_WORDS = {"`int`": "an integer", "`float`": "a number", "`bool`": "true or false", "`str`": "text"}


class SettingsError(SkateStockError):
    """A setting is unknown, malformed or missing: the process does not start with a guess."""


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything that can be set; a setting `x_y` is `SKATESTOCK_X_Y` in the environment."""

    environment: Literal["development", "production"] = "development"
    data: str = ".skatestock/live"
    """The folder of embedded servers, logs and secrets, created with access for its owner only."""
    database_url: str | None = None
    """An external PostgreSQL 15 or newer; without it the embedded one runs."""
    redis_url: str | None = None
    """An external Redis 7 or Valkey; without it the embedded one runs."""
    kafka_servers: str | None = None
    """Brokers of an external Apache Kafka, such as `one:9092,two:9092`; without it the event log is tables in
    PostgreSQL."""
    kafka_security: Literal["plaintext", "tls", "sasl_plaintext", "sasl_tls"] = "plaintext"
    kafka_sasl: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    kafka_user: str | None = None
    kafka_password: str | None = None
    kafka_ca_file: str | None = None
    """A file of the authorities that may vouch for the brokers, instead of the system's."""
    kafka_replication: Positive | None = None
    """On how many brokers `topics ensure` keeps a topic; without it, as the brokers are set."""
    kafka_session_seconds: Annotated[int, msgspec.Meta(ge=6, le=300)] = 15
    """After how long without a sign of life Kafka gives a consumer's partitions to another."""
    schema_registry_url: str | None = None
    """A schema registry that speaks Confluent's REST API; Kafka needs one."""
    schema_registry_user: str | None = None
    schema_registry_password: str | None = None
    cache: str | None = None
    """The folder of programs that are fetched once, such as Kafka; without it `cache` in the data folder."""
    postgres_bin: str | None = None
    """A folder with the programs of PostgreSQL 15 or newer, instead of the wheel's."""
    api_host: str = "127.0.0.1"
    api_port: Port = 8000
    trusted_proxies: str | None = None
    """Networks of proxies that tell the truth about whom they speak for, separated by commas."""
    cors_origins: str | None = None
    """Origins whose pages may read the answers, separated by commas; `*`: any, without credentials."""
    rate_limit_address: Rate = 600
    """Requests a minute of one address; 0: no limit. The same for signed-in users and for API keys."""
    rate_limit_address_burst: Positive = 200
    """How many of them at once."""
    rate_limit_user: Rate = 1200
    rate_limit_user_burst: Positive = 300
    rate_limit_key: Rate = 3000
    rate_limit_key_burst: Positive = 600
    edge_cache_mb: Annotated[int, msgspec.Meta(ge=0, le=65_536)] = 64
    """Memory for answers, in each process that serves the API; 0 keeps none, in Redis neither."""
    request_timeout_seconds: Annotated[float, msgspec.Meta(ge=0.1, le=600)] = 15.0
    """After how long an answer must have begun."""
    events_streams: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 500
    """Streams of events that each process serving the API keeps open."""
    events_streams_per_client: Annotated[int, msgspec.Meta(ge=1, le=100_000)] = 10
    """How many of them one address, user or key may have."""
    events_queue: Annotated[int, msgspec.Meta(ge=1000, le=1_000_000)] = 5000
    """How many events a stream may fall behind before it is ended."""
    events_heartbeat_seconds: Annotated[float, msgspec.Meta(ge=1, le=300)] = 15.0
    """After how long without an event a stream shows that it lives; below what proxies bear."""
    events_send_seconds: Annotated[float, msgspec.Meta(ge=1, le=600)] = 30.0
    """For how long a stream's client may read nothing."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port | None = None
    """Where this process serves its metrics to Prometheus; 0 takes any free port, None serves none."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_json: bool = False
    crawl_contact: str | None = None
    """A URL or address that shop owners can write to; part of the User-Agent."""
    crawl_concurrency: Positive = 5
    """Shops that one crawl process visits at once."""
    crawl_spacing_seconds: Annotated[float, msgspec.Meta(ge=2, le=3600)] = 2.0
    """Between two requests to one shop, across all processes."""
    crawl_longest_seconds: Annotated[int, msgspec.Meta(ge=3600, le=7 * 86400)] = 86400
    """After how long a crawl ends, however many pages the shop's sitemap names."""
    lease_seconds: Positive = 60
    """How long a crawl may go without a heartbeat before another process may take it over."""
    ingest_batch: Positive = 4000
    """Records that ingest stores in one transaction, at most."""
    ingest_processes: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Ingest processes that `up` runs; they share the partitions of the event log."""
    log_retention_days: Positive = 14
    evidence_url: str | None = None
    """Where the pages behind observations are kept: `file:///…`, `s3://…` or `s3+https://…`; without it, the
    folder `evidence` in the data folder."""
    evidence_days: Annotated[int, msgspec.Meta(ge=0, le=3650)] = 7
    """For how many days; 0 keeps none."""
    auth_keys: str | None = None
    """What signs access tokens, `ID:SECRET,ID:SECRET` in base64url: the first signs, all verify. Without it,
    in development, a file in the data folder."""
    access_token_minutes: Annotated[int, msgspec.Meta(ge=1, le=60)] = 10
    refresh_token_days: Annotated[int, msgspec.Meta(ge=1, le=90)] = 14
    """For how long a session may rest."""
    audit_days: Annotated[int, msgspec.Meta(ge=1, le=3650)] = 90
    """For how many days the audit log keeps its lines."""
    shops_file: str | None = None
    """A TOML file of shops instead of the five that come with SkateStock."""

    @property
    def data_folder(self) -> Path:
        """Return the data folder as an absolute path."""
        return Path(self.data).expanduser().absolute()

    @property
    def evidence_folder(self) -> Path:
        """Return the folder that evidence is kept in where no address is set, as an absolute path."""
        return self.data_folder / "evidence"

    @property
    def cache_folder(self) -> Path:
        """Return the folder of fetched programs as an absolute path."""
        return self.data_folder / "cache" if self.cache is None else Path(self.cache).expanduser().absolute()


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read settings from the TOML file that SKATESTOCK_CONFIG names, then the environment, then overrides.

    Overrides that are None count as not given. Raises SettingsError naming the setting at fault, and in
    production for each one that must be set there.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = _read_file(environ.get("SKATESTOCK_CONFIG"))
    values |= {
        name.removeprefix(PREFIX).lower(): text
        for name, text in environ.items()
        if name.startswith(PREFIX) and not name.startswith(_NOT_SETTINGS) and text != ""
    }
    values |= {name: value for name, value in overrides.items() if value is not None}
    unknown = sorted(values.keys() - set(Settings.__struct_fields__))
    if unknown:
        raise SettingsError(
            f"there is no setting {', '.join(unknown)} (in the environment with the prefix {PREFIX}); "
            "see docs/CONFIGURATION.md"
        )
    try:
        settings = msgspec.convert(values, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise SettingsError(_explain(error, values, environ)) from error
    _check_kafka(settings)
    return _check_production(settings)


def _explain(error: msgspec.ValidationError, values: Mapping[str, object], environ: Mapping[str, str]) -> str:
    """Say which setting is malformed, where it was set, what it may be and what it is."""
    found = _COMPLAINT.fullmatch(str(error))
    if found is None:
        return f"a setting is malformed: {error}"
    name = found["name"]
    kind = get_type_hints(Settings)[name]
    if get_origin(kind) is Literal:
        wanted = f"one of {', '.join(get_args(kind))}"
    else:
        wanted = found["wanted"].replace(" | null", "")
        for word, plain in _PLAIN_WORDS.items():
            wanted = wanted.replace(word, plain)
    variable = PREFIX + name.upper()
    where = variable if environ.get(variable) else f"{name} (in the environment {variable})"
    return f"{where}: expected {wanted}, got {values[name]!r}"


def _read_file(path: str | None) -> dict[str, Any]:
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError(f"the settings file {path} cannot be read: {error}") from error


def _check_kafka(settings: Settings) -> None:
    if settings.kafka_servers is None:
        return
    needed = ["schema_registry_url"]
    if settings.kafka_security.startswith("sasl"):
        needed += ["kafka_user", "kafka_password"]
    missing = [PREFIX + name.upper() for name in needed if not getattr(settings, name)]
    if missing:
        why = f"{PREFIX}KAFKA_SERVERS is set, with {PREFIX}KAFKA_SECURITY={settings.kafka_security}"
        raise SettingsError(f"{why}: that needs {', '.join(missing)}")


def _check_production(settings: Settings) -> Settings:
    if settings.environment != "production":
        return settings
    missing = [
        PREFIX + name.upper()
        for name in ("database_url", "redis_url", "crawl_contact")
        if not getattr(settings, name)
    ]
    if missing:
        raise SettingsError(f"production needs {', '.join(missing)}: nothing secret has a default")
    return settings
