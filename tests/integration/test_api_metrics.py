"""The metrics of the API's workers: each has its own, and requests count under their endpoint."""

from __future__ import annotations

import re

import httpx
from tests.integration.api_process import served, wait_for
from tests.ports import choose_quiet_port


def test_every_worker_counts_its_requests_by_endpoint(database_dsn: str) -> None:
    first = choose_quiet_port(following=1)
    with served(database_dsn, workers=2, metrics_port=first) as (_, api):
        assert wait_for(f"{api}/health/ready").is_success
        for number in range(1, 4):
            # each another address: what is kept is answered without asking the API
            assert httpx.get(f"{api}/products?page={number}").status_code == 200
        assert httpx.get(f"{api}/products/no-such-product").status_code == 404
        assert httpx.get(f"{api}/no-such-page").status_code == 404
        told = [wait_for(f"http://127.0.0.1:{first + place}/metrics").text for place in range(2)]
    products = {"endpoint": "/products", "method": "GET", "status": "200"}
    assert sum(requests(page, **products) for page in told) == 3
    assert sum(requests(page, endpoint="other", method="GET", status="404") for page in told) == 1
    assert not any("no-such" in page for page in told), "a label is a template, never what a client sent"
    for page in told:
        assert "skatestock_event_loop_lag_seconds " in page


def requests(page: str, **labels: str) -> float:
    """Read how many requests of these labels a worker has counted."""
    inner = ",".join(f'{name}="{value}"' for name, value in labels.items())
    found = re.search(rf"^skatestock_api_requests_total\{{{re.escape(inner)}\}} (\S+)$", page, re.MULTILINE)
    return 0.0 if found is None else float(found[1])
