"""Holds docs/EVENTS.md and docs/METRICS.md to the schemas, the fingerprint and the metrics they describe."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import prometheus_client
import pytest

from skatestock.events import sense
from skatestock.events.codec import FIXED
from skatestock.events.fingerprint import FINGERPRINT_FIELDS, FINGERPRINT_OFFER_FIELDS
from skatestock.events.model import CrawlCompleted, ListingObserved, OfferObserved, RejectedObservation
from skatestock.events.versions import load_schema
from skatestock.telemetry import metrics

DOCS = Path(__file__).parents[2] / "docs"
MODELS = {
    model.__name__: model for model in (ListingObserved, OfferObserved, CrawlCompleted, RejectedObservation)
}


def records(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a record's schema and those of the records inside it."""
    yield schema
    for field in schema["fields"]:
        inner = (
            field["type"]["items"] if isinstance(field["type"], dict) and "items" in field["type"] else None
        )
        if isinstance(inner, dict):
            yield from records(inner)


RECORDS = {
    record["name"]: record
    for event in ("ListingObserved", "CrawlCompleted")
    for record in records(load_schema(event))
}


def type_word(avro: Any) -> str:
    """Write an Avro type as the page does: `string or null`, `array of OfferObserved`."""
    if isinstance(avro, str):
        return avro
    if isinstance(avro, list):
        return " or ".join(sorted((type_word(part) for part in avro), key=lambda word: word == "null"))
    if "items" in avro:
        return f"array of {type_word(avro['items'])}"
    if avro["type"] == "map":
        return f"map of {avro['values']}"
    if avro["type"] == "enum":
        return " / ".join(avro["symbols"])
    return str(avro.get("logicalType") or (f"fixed({avro['size']})" if "size" in avro else avro["name"]))


def section(page: str, heading: str) -> str:
    """Return what stands under a heading, up to the next one."""
    text = (DOCS / page).read_text("utf-8")
    match = re.search(rf"^#+ {re.escape(heading)}\n(.*?)(?=^#|\Z)", text, re.MULTILINE | re.DOTALL)
    assert match is not None, f"{page} has no heading {heading!r}"
    return match[1]


def rows(text: str) -> list[list[str]]:
    """Return the cells of every table row but the headings."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return [row for row in cells if row[0].startswith("`")]


def expected_rows(record: dict[str, Any]) -> list[list[str]]:
    return [[f"`{field['name']}`", type_word(field["type"]), field["doc"]] for field in record["fields"]]


@pytest.mark.parametrize("name", MODELS)
def test_every_field_of_the_schemas_stands_on_the_page(name: str) -> None:
    text = section("EVENTS.md", name)
    assert rows(text) == expected_rows(RECORDS[name])
    assert RECORDS[name]["doc"] in text


@pytest.mark.parametrize("name", MODELS)
def test_schemas_and_structs_have_the_same_fields(name: str) -> None:
    fields = [field["name"] for field in RECORDS[name]["fields"]]
    assert fields == list(MODELS[name].__struct_fields__)
    optional = {field.name for field in msgspec.structs.fields(MODELS[name]) if not field.required}
    assert {field["name"] for field in RECORDS[name]["fields"] if "default" in field} == optional


@pytest.mark.parametrize("name", MODELS)
def test_every_field_has_a_doc(name: str) -> None:
    assert all(field.get("doc", "").endswith(".") for field in RECORDS[name]["fields"])


def test_the_page_says_what_enters_the_fingerprint() -> None:
    table = rows(section("EVENTS.md", "The fingerprint"))
    listing_rows = table[: len(ListingObserved.__struct_fields__)]
    offer_rows = table[len(listing_rows) :]
    assert {row[0].strip("`") for row in listing_rows} == set(ListingObserved.__struct_fields__)
    assert {row[0].strip("`") for row in offer_rows} == set(OfferObserved.__struct_fields__)
    assert tuple(row[0].strip("`") for row in listing_rows if row[1] == "yes") == FINGERPRINT_FIELDS
    assert tuple(row[0].strip("`") for row in offer_rows if row[1] == "yes") == FINGERPRINT_OFFER_FIELDS


def test_the_page_says_the_ids_and_limits_that_hold() -> None:
    frame, refused = section("EVENTS.md", "The frame"), section("EVENTS.md", "What is refused")
    for event in ("ListingObserved", "CrawlCompleted"):
        assert f"`{event}` is {FIXED.id_of(event)}" in frame
    limits = (sense.MAX_TITLE_LENGTH, sense.MAX_URL_LENGTH, sense.MAX_LABEL_LENGTH, sense.MAX_OFFERS)
    for limit in (*limits, sense.MAX_DETAIL_LENGTH, sense.MAX_EXCERPT_LENGTH):
        assert f"{limit:,}" in refused
    kinds = {row[0].strip("`") for row in rows(refused)}
    assert kinds == {"bad_magic_byte", "unknown_schema_id", "truncated", "senseless"}


def metric_rows() -> list[list[str]]:
    found = []
    for metric in vars(metrics).values():
        if isinstance(metric, prometheus_client.metrics.MetricWrapperBase):
            description = next(iter(metric.describe()))
            name = description.name + ("_total" if description.type == "counter" else "")
            labels = ", ".join(f"`{label}`" for label in metric._labelnames)
            found.append([f"`{name}`", description.type, labels, description.documentation])
    return found


def test_every_metric_stands_on_the_page() -> None:
    table = rows((DOCS / "METRICS.md").read_text("utf-8"))
    assert table == metric_rows()
    assert all(row[0].startswith("`skatestock_") for row in table)
