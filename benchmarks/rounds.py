"""Fair comparisons on a noisy machine: the things compared take turns, and medians are compared."""

import gc
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from statistics import median

from benchmarks.figures import Figure

Samples = dict[str, list[float]]
"""Seconds by name, one sample a round."""

_MILLISECONDS = 1000.0


def measure_in_turns(works: Mapping[str, Callable[[], object]], rounds: int) -> Samples:
    """Time each work once a round, in turns (A B A B …), after a round that does not count."""
    samples: Samples = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            gc.collect()
            began = time.perf_counter()
            work()
            seconds = time.perf_counter() - began
            if number:
                samples[name].append(seconds)
    return samples


async def measure_in_turns_async(
    works: Mapping[str, Callable[[], Awaitable[object]]], rounds: int
) -> Samples:
    """Time coroutines the same way."""
    samples: Samples = {name: [] for name in works}
    for number in range(rounds + 1):
        for name, work in works.items():
            gc.collect()
            began = time.perf_counter()
            await work()
            seconds = time.perf_counter() - began
            if number:
                samples[name].append(seconds)
    return samples


async def time_in_turns(works: Mapping[str, Callable[[], Awaitable[object]]], samples: int) -> Samples:
    """Time short coroutines in turns, thousands of times: the collector of cycles keeps still meanwhile."""
    taken: Samples = {name: [] for name in works}
    gc.collect()
    gc.disable()
    try:
        for number in range(samples + samples // 10):
            for name, work in works.items():
                began = time.perf_counter()
                await work()
                seconds = time.perf_counter() - began
                if number >= samples // 10:
                    taken[name].append(seconds)
    finally:
        gc.enable()
    return taken


def compare(
    name: str, ours: Sequence[float], limit_name: str, limit: Sequence[float], note: str = ""
) -> Figure:
    """Make the figure of two series that were measured in turns, in milliseconds.

    The ratio is the median of the rounds' own ratios: what slows the machine slows both sides of a round.
    """
    return Figure(
        name=name,
        unit="ms",
        value=median(ours) * _MILLISECONDS,
        limit_name=limit_name,
        limit=median(limit) * _MILLISECONDS,
        ratio=median(mine / theirs for mine, theirs in zip(ours, limit, strict=True)),
        samples=len(ours),
        note=note,
    )


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least so many percent of the values do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * percent / 100) - 1)]
