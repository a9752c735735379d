from contextlib import suppress
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from skatestock.settings import Settings, SettingsError, load_settings


def test_without_anything_set_the_embedded_parts_run() -> None:
    settings = load_settings({})
    assert settings.database_url is None
    assert settings.redis_url is None
    assert settings.environment == "development"


def test_the_environment_wins_over_the_file_and_an_override_over_both(tmp_path: Path) -> None:
    file = tmp_path / "skatestock.toml"
    file.write_text('api_port = 1111\ningest_batch = 7\nlog_level = "debug"\n')
    settings = load_settings(
        {"SKATESTOCK_CONFIG": str(file), "SKATESTOCK_API_PORT": "2222", "SKATESTOCK_INGEST_BATCH": "8"},
        ingest_batch=9,
        data=None,
    )
    assert (settings.api_port, settings.ingest_batch, settings.log_level) == (2222, 9, "debug")
    assert settings.data == Settings().data


def test_production_refuses_to_start_without_its_secrets_and_names_each() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({"SKATESTOCK_ENVIRONMENT": "production", "SKATESTOCK_REDIS_URL": "redis://cache"})
    assert "SKATESTOCK_DATABASE_URL" in str(caught.value)
    assert "SKATESTOCK_CRAWL_CONTACT" in str(caught.value)
    assert "SKATESTOCK_REDIS_URL" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "text", "wanted"),
    [
        ("SKATESTOCK_API_PORT", "65536", "an integer <= 65535"),
        ("SKATESTOCK_API_PORT", "http", "an integer"),
        ("SKATESTOCK_METRICS_PORT", "some", "an integer"),
        ("SKATESTOCK_CRAWL_SPACING_SECONDS", "1.9", "a number >= 2.0"),
        ("SKATESTOCK_CRAWL_SPACING_SECONDS", "inf", "a number <= 3600.0"),
        ("SKATESTOCK_CRAWL_SPACING_SECONDS", "soon", "a number"),
        ("SKATESTOCK_INGEST_BATCH", "0", "an integer >= 1"),
        ("SKATESTOCK_INGEST_BATCH", "9" * 30, "an integer <= 1000000"),
        ("SKATESTOCK_EVENTS_STREAMS", "0", "an integer >= 1"),
        ("SKATESTOCK_EVENTS_STREAMS", "many", "an integer"),
        ("SKATESTOCK_EVENTS_STREAMS_PER_CLIENT", "-1", "an integer >= 1"),
        ("SKATESTOCK_EVENTS_STREAMS_PER_CLIENT", "100001", "an integer <= 100000"),
        ("SKATESTOCK_EVENTS_QUEUE", "999", "an integer >= 1000"),
        ("SKATESTOCK_EVENTS_QUEUE", "1000001", "an integer <= 1000000"),
        ("SKATESTOCK_EVENTS_HEARTBEAT_SECONDS", "0.5", "a number >= 1.0"),
        ("SKATESTOCK_EVENTS_HEARTBEAT_SECONDS", "inf", "a number <= 300.0"),
        ("SKATESTOCK_EVENTS_SEND_SECONDS", "0", "a number >= 1.0"),
        ("SKATESTOCK_EVENTS_SEND_SECONDS", "nan", "a number >= 1.0"),
        ("SKATESTOCK_LOG_JSON", "maybe", "true or false"),
        ("SKATESTOCK_LOG_LEVEL", "loud", "one of debug, info, warning, error"),
        ("SKATESTOCK_ENVIRONMENT", "staging", "one of development, production"),
    ],
)
def test_a_senseless_value_is_refused_naming_its_variable(name: str, text: str, wanted: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({name: text})
    assert str(caught.value) == f"{name}: expected {wanted}, got {text!r}"


@pytest.mark.parametrize(
    ("security", "missing"),
    [
        ("plaintext", ["SCHEMA_REGISTRY_URL"]),
        ("tls", ["SCHEMA_REGISTRY_URL"]),
        ("sasl_plaintext", ["SCHEMA_REGISTRY_URL", "KAFKA_USER", "KAFKA_PASSWORD"]),
        ("sasl_tls", ["SCHEMA_REGISTRY_URL", "KAFKA_USER", "KAFKA_PASSWORD"]),
    ],
)
def test_kafka_without_what_it_needs_is_refused_naming_each(security: str, missing: list[str]) -> None:
    kafka = {"SKATESTOCK_KAFKA_SERVERS": "one:9092", "SKATESTOCK_KAFKA_SECURITY": security}
    with pytest.raises(SettingsError) as caught:
        load_settings(kafka)
    assert str(caught.value).endswith(", ".join(f"SKATESTOCK_{name}" for name in missing))
    given = {f"SKATESTOCK_{name}": "http://x" for name in missing}
    assert load_settings(kafka | given).kafka_servers == "one:9092"


def test_a_senseless_value_of_the_file_is_refused_naming_its_key(tmp_path: Path) -> None:
    file = tmp_path / "skatestock.toml"
    file.write_text("data = 7\n")
    with pytest.raises(SettingsError) as caught:
        load_settings({"SKATESTOCK_CONFIG": str(file)})
    assert str(caught.value) == "data (in the environment SKATESTOCK_DATA): expected text, got 7"


def test_an_unknown_setting_is_an_error_because_it_is_mostly_a_slip() -> None:
    with pytest.raises(SettingsError, match="api_prot"):
        load_settings({"SKATESTOCK_API_PROT": "80"})


@pytest.mark.parametrize("content", [b"\xff\xfe", b"api_port = ", b"[[x]]\ny=1"])
def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(SettingsError):
        load_settings({"SKATESTOCK_CONFIG": str(file)})


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"none\.toml"):
        load_settings({"SKATESTOCK_CONFIG": str(tmp_path / "none.toml")})


@given(st.dictionaries(st.sampled_from(sorted(Settings.__struct_fields__)), st.text(max_size=20)))
def test_any_text_is_a_setting_or_a_settings_error(values: dict[str, str]) -> None:
    with suppress(SettingsError):
        load_settings({f"SKATESTOCK_{name.upper()}": text for name, text in values.items()})


def test_every_setting_is_documented_and_every_documented_one_exists() -> None:
    page = (Path(__file__).parents[2] / "docs" / "CONFIGURATION.md").read_text()
    documented = {
        line.split("`")[1].removeprefix("SKATESTOCK_").lower()
        for line in page.splitlines()
        if line.startswith("| `SKATESTOCK_")
        and "SKATESTOCK_CONFIG" not in line
        and "SKATESTOCK_TEST_" not in line
    }
    assert documented == set(Settings.__struct_fields__)


def test_the_documented_defaults_are_those_that_hold() -> None:
    page = (Path(__file__).parents[2] / "docs" / "CONFIGURATION.md").read_text()
    rows = [line.split("|") for line in page.splitlines() if line.startswith("| `SKATESTOCK_")]
    documented = {row[1].split("`")[1].removeprefix("SKATESTOCK_").lower(): row[2].strip() for row in rows}
    for name, default in msgspec.structs.asdict(Settings()).items():
        if default is None:
            assert "`" not in documented[name], name
        else:
            text = f"{default:g}" if isinstance(default, float) else str(default)
            assert documented[name] == f"`{text.lower() if isinstance(default, bool) else text}`", name
