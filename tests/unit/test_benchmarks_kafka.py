"""What the benchmark of Kafka makes of its samples, and where it finds Kafka."""

from argparse import Namespace
from pathlib import Path

import pytest
from benchmarks.kafka import main
from benchmarks.kafka_append import CRAWLS, PAGE, make_page
from benchmarks.kafka_ingest import Sample, make_figures
from benchmarks.kafka_latency import make_figures as make_latency_figures
from benchmarks.kafka_servers import find_cache
from benchmarks.latency import Sample as LatencySample

from skatestock.events.codec import decode


def test_an_unknown_part_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["nonsense"])
    assert ended.value.code == 2
    assert "nonsense" in capsys.readouterr().err


def test_programs_come_from_the_folder_that_is_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SKATESTOCK_CACHE", str(tmp_path))
    assert find_cache() == tmp_path
    monkeypatch.delenv("SKATESTOCK_CACHE")
    assert find_cache().parts[-2:] == (".skatestock", "cache")


def test_ingest_stands_beside_both_limits_of_its_own_round() -> None:
    shares = {"decode": 0.25, "load": 0.05, "apply": 0.05, "write": 0.65}
    seconds = ((4.0, 1.0, 2.0), (40.0, 4.0, 8.0), (4.0, 2.0, 1.0))
    samples = [Sample(*three, alone=0.1, shares=shares) for three in seconds]
    bare, copy = make_figures("new", samples, Namespace(listings=2000, offers=5))
    assert (bare.limit_name, copy.limit_name) == ("bare consumer, decoding", "binary COPY")
    assert bare.value == copy.value == pytest.approx(2000.0)
    assert bare.ratio == copy.ratio == pytest.approx(4.0)
    assert bare.limit == copy.limit == pytest.approx(1000.0)
    assert "500 messages/s, 5,500 rows/s; consumer alone 20,000" in bare.note


def test_latency_begins_with_the_append() -> None:
    samples = [LatencySample(read=5.0, append=0.002, ingest=0.006, limit=0.004)] * 100
    p50, p99 = make_latency_figures(samples)
    assert p50.value == p99.value == pytest.approx(8.0)
    assert p50.ratio == pytest.approx(2.0)


def test_pages_are_whole_and_of_different_shops() -> None:
    pages = [make_page(number) for number in range(CRAWLS)]
    assert {len(page) for page in pages} == {PAGE}
    assert len({message.key for page in pages for message in page}) == CRAWLS
    for page in pages:
        assert {message.key for message in page} == {decode(message.value).shop for message in page}
