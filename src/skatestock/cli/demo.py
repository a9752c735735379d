"""`skatestock demo`: the whole platform on replica shops, with a past."""

import asyncio
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from cyclopts.validators import Number
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from skatestock.cli.crawling import CrawlWorker, moments_between
from skatestock.cli.mixed_world import derive_mixed_shops
from skatestock.cli.options import Data, Port, flag, settings_from
from skatestock.cli.platform import open_platform
from skatestock.cli.processes import stop_on_signals
from skatestock.cli.running import (
    WithKafka,
    announce_api,
    answers,
    command_of,
    plan_children,
    resolve_port,
    supervise,
)
from skatestock.cli.servers import check_servers, describe_use
from skatestock.cli.terminal import Terminal
from skatestock.crawl.session import crawling_reactor
from skatestock.crawl.shops import Shop, load_shops
from skatestock.database.transactions import retry_transient
from skatestock.embedded.children import Child
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.ports import is_free
from skatestock.replica.client import ReplicaControl
from skatestock.replica.model import MIXED_SHOP_SLUGS, SHOP_SLUGS
from skatestock.replica.server import serve
from skatestock.replica.world import World
from skatestock.settings import PREFIX, Settings
from skatestock.telemetry.logs import configure_logging
from skatestock.vocabulary.errors import SkateStockError
from skatestock.vocabulary.time import format_moment, parse_moment, utc_now

DEMO_FOLDER = ".skatestock/demo"
CRAWL_EVERY_SECONDS = 60
_LOOK_EVERY_SECONDS = 0.25
# One for the control API, and one for each shop that a world can have.
_PORTS_NEEDED = 1 + len(MIXED_SHOP_SLUGS)
_FIRST_PORT = 8600
_LAST_PORT = 9600
_PROGRESS_FILE = "history.json"
_WORLD_FILE = "world.json"


class WorldPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Which world a demo folder belongs to; written once, so that a restart goes on with the same one."""

    seed: int
    start_at: str
    listings_per_shop: int
    base_port: int
    mixed: bool = False
    """Whether there are ten shops over all platforms in place of the five."""

    @property
    def shops(self) -> tuple[str, ...]:
        """Name the shops in the order of their ports."""
        return MIXED_SHOP_SLUGS if self.mixed else SHOP_SLUGS

    @property
    def control_url(self) -> str:
        """Return the address of the replica's control API."""
        return f"http://127.0.0.1:{self.base_port}"


class HistoryProgress(msgspec.Struct, frozen=True):
    """How many of the past's rounds have been crawled."""

    done: int
    total: int


async def demo(
    *,
    kafka: WithKafka = False,
    data: Data = None,
    port: Port = None,
    days: Annotated[int, Parameter(help="Days of history.", validator=Number(gte=0, lte=3660))] = 7,
    step_hours: Annotated[
        float, Parameter(help="Hours between two crawls of the past.", validator=Number(gte=0.01, lte=8760))
    ] = 2.0,
    listings: Annotated[
        int, Parameter(help="Listings of each shop.", validator=Number(gte=1, lte=100_000))
    ] = 400,
    seed: Annotated[int, Parameter(help="Another seed is another world.")] = 1,
    mixed: Annotated[bool, flag("Ten shops over all platforms: the five, and five invented ones.")] = False,
) -> int:
    """Run the whole platform on five replica shops on this machine, with a week of history.

    The shops are simulated, but crawled for real over HTTP: first the past, then the present, once a minute.
    Nothing leaves this machine, and everything is labelled as demo. Started again, a demo goes on where
    it was.
    """
    settings = _demo_settings(data, port)
    configure_logging("demo", json=settings.log_json, level="warning")
    async with hold_folder(settings.data_folder) as held:
        settings = resolve_port(settings)
        await check_servers(settings)
        plan = _plan_world(held.folder / _WORLD_FILE, days, listings, seed, mixed=mixed)
        shops_file = _write_shops(held.folder, plan)
        extra = _plan_extra(held.folder, plan, step_hours)
        # The shops are on this machine, where no proxy of the environment would find them.
        environ = {f"{PREFIX}SHOPS_FILE": str(shops_file), "no_proxy": "*"}
        children = await plan_children(settings, held, kafka=kafka, extra=extra, environ=environ, demo=True)
        number = "ten" if plan.mixed else "five"
        announce = announce_api(settings, f"{number} replica shops: demo data, crawled for real")
        progress_file = held.folder / _PROGRESS_FILE
        progress_file.unlink(missing_ok=True)
        watch = partial(_show_history, progress_file)
        using = describe_use(settings, kafka=kafka)
        return await supervise(held, children, announce, using=using, watch=watch)


async def replica(
    *,
    folder: Path,
    base_port: int,
    seed: int,
    start_at: str,
    listings: int,
    follow: Annotated[float | None, Parameter(help="Follow real time at this rate.")] = None,
    mixed: Annotated[bool, flag("Ten shops over all platforms.")] = False,
) -> int:
    """Serve the simulated shops: the process behind `skatestock demo`.

    Parameters
    ----------
    folder
        Where the truth and the clock are kept; it exists.
    base_port
        Port of the control API; the shops' ports follow it.
    seed
        Which world.
    start_at
        When it begins, in ISO 8601.
    listings
        Listings of each shop.
    """
    configure_logging("replica", json=False)
    serving = asyncio.ensure_future(
        serve(
            World(seed, parse_moment(start_at), listings, shops=MIXED_SHOP_SLUGS if mixed else SHOP_SLUGS),
            base_port=base_port,
            truth_file=folder / "truth.jsonl",
            clock_file=folder / "clock.json",
            follow_rate=follow,
        )
    )
    stopping = asyncio.ensure_future(stop_on_signals().wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if serving.done():
        serving.result()
    serving.cancel()
    await asyncio.gather(serving, return_exceptions=True)
    return 0


async def history(
    *,
    control: str,
    progress: Path,
    step_hours: float = 2.0,
    data: Data = None,
) -> int:
    """Crawl the simulated past round by round, then let the world's time go on with the real one.

    Parameters
    ----------
    control
        Address of the replica's control API.
    progress
        File that tells how far it is.
    step_hours
        Hours between two rounds.
    """
    settings = settings_from(data)
    world = ReplicaControl(control)
    state = await world.state()
    if state.rate is not None:
        _write_progress(progress, HistoryProgress(1, 1))
        return 0
    moments = moments_between(state.now, utc_now(), round(step_hours * 3600))
    async with open_platform(settings, "history") as platform, crawling_reactor():
        clock = RoundClock()
        worker = CrawlWorker(platform, load_shops(settings.shops_file), clock)
        await retry_transient(lambda: worker.prepare(only=True))
        for number, moment in enumerate(moments):
            _write_progress(progress, HistoryProgress(number, len(moments)))
            clock.now = (await world.set_clock(moment)).now
            await asyncio.gather(*(_crawl_patiently(worker, slug) for slug in worker.shops))
    await world.follow(1.0)
    _write_progress(progress, HistoryProgress(len(moments), len(moments)))
    return 0


class RoundClock:
    """A clock that stands still during a round of crawls."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        """Tell the round's moment."""
        return self.now


async def _crawl_patiently(worker: CrawlWorker, slug: str) -> None:
    """Crawl a shop now; a lease that a killed process left behind is waited for."""
    tries = worker.platform.settings.lease_seconds + 30
    for _ in range(tries):
        outcome = await worker.crawl_now(slug)
        if outcome is not None:
            return
        await asyncio.sleep(1)
    raise SkateStockError(f"{slug} could not be crawled within {tries} tries; see the log above")


def _demo_settings(data: Path | None, port: int | None) -> Settings:
    settings = settings_from(data, api_port=port)
    if data is None and settings.data == Settings().data:
        return msgspec.structs.replace(settings, data=DEMO_FOLDER)
    return settings


def _plan_world(file: Path, days: int, listings: int, seed: int, *, mixed: bool) -> WorldPlan:
    """Read the folder's plan or make one; ports that were taken meanwhile are chosen anew."""
    if file.exists():
        plan = _read_plan(file)
        if not _are_free(plan.base_port):
            plan = msgspec.structs.replace(plan, base_port=_choose_ports())
    else:
        start_at = format_moment(utc_now() - timedelta(days=days))
        plan = WorldPlan(
            seed=seed,
            start_at=start_at,
            listings_per_shop=listings,
            base_port=_choose_ports(),
            mixed=mixed,
        )
    file.write_bytes(msgspec.json.encode(plan))
    return plan


def _read_plan(file: Path) -> WorldPlan:
    try:
        plan = msgspec.json.decode(file.read_bytes(), type=WorldPlan)
    except msgspec.DecodeError as error:
        raise SkateStockError(
            f"{file} cannot be read: {error}; start afresh in another --data folder"
        ) from error
    Terminal().say(
        f"Going on with the world of {escape(str(file.parent))}: {plan.listings_per_shop} listings a shop, "
        f"{len(plan.shops)} shops, seed {plan.seed}, since {plan.start_at}. "
        "Another world needs another folder (--data)."
    )
    return plan


def _choose_ports() -> int:
    for base in range(_FIRST_PORT, _LAST_PORT, 20):
        if _are_free(base):
            return base
    raise SkateStockError(f"no {_PORTS_NEEDED} free ports in a row between {_FIRST_PORT} and {_LAST_PORT}")


def _are_free(base: int) -> bool:
    return all(is_free(base + offset) for offset in range(_PORTS_NEEDED))


def _write_shops(folder: Path, plan: WorldPlan) -> Path:
    """Write the file of the replica shops: with their habits, at other addresses."""
    urls = {
        slug: f"http://127.0.0.1:{plan.base_port + place}" for place, slug in enumerate(plan.shops, start=1)
    }
    replicas = derive_mixed_shops(urls)
    file = folder / "shops.toml"
    file.write_text(format_shops(replicas), encoding="utf-8")
    return file


def format_shops(shops: Sequence[Shop]) -> str:
    """Write demo shops as a file of shops, crawled as often as a demo is."""
    return "".join(_format_shop(shop) for shop in shops)


def _format_shop(shop: Shop) -> str:
    values = msgspec.to_builtins(msgspec.structs.replace(shop, crawl_every_seconds=CRAWL_EVERY_SECONDS))
    # Some keys are only allowed on some platforms, so none is written that says nothing new.
    usual = {
        field.name: msgspec.to_builtins(field.default)
        for field in msgspec.structs.fields(Shop)
        if field.default is not msgspec.NODEFAULT
    }
    lines = [
        f"{name} = {_format_value(value)}"
        for name, value in values.items()
        if name not in usual or value != usual[name]
    ]
    return "\n".join(["[[shops]]", *lines, "", ""])


def _format_value(value: Any) -> str:
    # What JSON writes for strings, numbers, booleans and lists of strings is TOML too; a table is not.
    if not isinstance(value, dict):
        return json.dumps(value)
    pairs = [f"{key} = {_format_value(part)}" for key, part in value.items() if part is not None]
    return "{ " + ", ".join(pairs) + " }"


def _plan_extra(folder: Path, plan: WorldPlan, step_hours: float) -> list[Child]:
    replica_folder = folder / "replica"
    replica_folder.mkdir(exist_ok=True)
    return [
        Child(
            name="replica",
            command=command_of(
                "replica",
                *("--folder", str(replica_folder), "--base-port", str(plan.base_port)),
                *("--seed", str(plan.seed), "--start-at", plan.start_at),
                *("--listings", str(plan.listings_per_shop), *(("--mixed",) if plan.mixed else ())),
            ),
            ready=answers(f"{plan.control_url}/state"),
            address=plan.control_url,
        ),
        Child(
            name="history",
            command=command_of(
                "history",
                *("--control", plan.control_url, "--progress", str(folder / _PROGRESS_FILE)),
                *("--step-hours", str(step_hours)),
            ),
            depends_on=("prepare", "replica", "ingest"),
            one_shot=True,
        ),
    ]


def _write_progress(file: Path, progress: HistoryProgress) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_bytes(msgspec.json.encode(progress))
    fresh.replace(file)


async def _show_history(file: Path, terminal: Terminal) -> None:
    """Show a bar while the past is crawled; it stays below what else is said meanwhile."""
    while (found := _find_progress(file)) is None:  # noqa: ASYNC110 - another process writes the file
        await asyncio.sleep(_LOOK_EVERY_SECONDS)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=terminal, transient=True) as progress:
        bar = progress.add_task("  crawling the past", total=found.total)
        while found.done < found.total:
            await asyncio.sleep(_LOOK_EVERY_SECONDS)
            found = _find_progress(file) or found
            progress.update(bar, completed=found.done, total=found.total)
    terminal.say("  The past is crawled. From now on, every shop is crawled once a minute.")


def _find_progress(file: Path) -> HistoryProgress | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=HistoryProgress)
    except (OSError, msgspec.DecodeError):
        return None
