"""Health checks: whether a part that we depend on answers, and how fast."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter

import msgspec

from skatestock.telemetry.logs import get_logger

Probe = Callable[[], Awaitable[str]]
"""Asks a part for a sign of life: returns what it says for a person, raises when it is not well."""

_log = get_logger(__name__)


class HealthCheck(msgspec.Struct, frozen=True, kw_only=True):
    """What one part answered."""

    name: str
    ok: bool
    latency_ms: float
    detail: str = ""


async def check_health(name: str, probe: Probe, *, timeout_seconds: float = 2.0) -> HealthCheck:
    """Ask one part; whatever it raises, and silence, become an answer that is not ok."""
    started = perf_counter()
    try:
        async with asyncio.timeout(timeout_seconds):
            detail, ok = await probe(), True
    except TimeoutError:
        detail, ok = f"no answer within {timeout_seconds:g} s", False
    except Exception as error:
        # A probe may fail in every way its part can fail; each of them is what this check is asked to report.
        detail, ok = f"{type(error).__name__}: {error}", False
    if not ok:
        _log.warning("health_check_failed", check=name, detail=detail)
    return HealthCheck(
        name=name, ok=ok, latency_ms=round((perf_counter() - started) * 1000, 3), detail=detail
    )


async def check_all(probes: Mapping[str, Probe], *, timeout_seconds: float = 2.0) -> list[HealthCheck]:
    """Ask all parts at once and return the answers in the order of the probes."""
    checks = (check_health(name, probe, timeout_seconds=timeout_seconds) for name, probe in probes.items())
    return list(await asyncio.gather(*checks))
