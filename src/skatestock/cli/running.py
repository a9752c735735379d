"""`skatestock up` and `down`: every process of one machine, and what a person sees of them."""

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Annotated
from urllib.request import ProxyHandler, build_opener

import msgspec
import psutil
from rich.markup import escape

from skatestock.cli.errors import AddressTakenError
from skatestock.cli.options import Data, Port, flag, settings_from
from skatestock.cli.servers import check_servers, describe_use, plan_servers
from skatestock.cli.terminal import PROCESS_COLOURS, Terminal, spell_command
from skatestock.embedded.children import Child, ChildState, ChildStatus
from skatestock.embedded.data_folder import HeldFolder, hold_folder
from skatestock.embedded.errors import EmbeddedError
from skatestock.embedded.folder_lock import find_holder
from skatestock.embedded.leftovers import is_running
from skatestock.embedded.ports import find_obstacle, keep_port, take_free_port
from skatestock.embedded.process_records import find_processes
from skatestock.embedded.shelter import remove_homes
from skatestock.embedded.supervisor import Supervisor
from skatestock.settings import PREFIX, Settings
from skatestock.telemetry.logs import configure_logging

_METRICS_PORT = f"{PREFIX}METRICS_PORT"
_STOP_SECONDS = 90
_LOOK_EVERY_SECONDS = 0.05
# What listens everywhere is asked here: nobody can visit "everywhere".
_WILDCARDS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - told apart, not listened on
# Our own processes are on this machine: a proxy of the environment knows nothing of them.
_DIRECT = build_opener(ProxyHandler({}))


WithKafka = Annotated[
    bool, flag("Run Kafka and a schema registry too, as in production, instead of the log on tables.")
]


async def up(*, kafka: WithKafka = False, data: Data = None, port: Port = None) -> int:
    """Run the whole platform on this machine: servers, crawl, ingest, index and API, until Ctrl-C.

    PostgreSQL and Valkey run embedded in the data folder, unless SKATESTOCK_DATABASE_URL and
    SKATESTOCK_REDIS_URL name others; so do Kafka and a schema registry with --kafka, unless
    SKATESTOCK_KAFKA_SERVERS and SKATESTOCK_SCHEMA_REGISTRY_URL name others. A process that dies is started
    again. A second Ctrl-C ends everything at once.
    """
    settings = settings_from(data, api_port=port)
    configure_logging("up", json=settings.log_json, level="warning")
    async with hold_folder(settings.data_folder) as held:
        settings = resolve_port(settings)
        await check_servers(settings)
        children = await plan_children(settings, held, kafka=kafka)
        using = describe_use(settings, kafka=kafka)
        return await supervise(held, children, announce_api(settings, "live shops"), using=using)


def down(
    *,
    data: Data = None,
    remove: Annotated[bool, flag("Also remove the folder with all its data.")] = False,
) -> int:
    """Stop what runs in the data folder, cleanly.

    It is no error when nothing runs there.
    """
    folder = settings_from(data).data_folder
    processes = find_processes(folder)
    if processes is not None and processes.supervised:
        _stop_supervisor(processes.supervisor_pid)
        Terminal().say(f"Stopped what ran in {escape(str(folder))}.")
    else:
        Terminal().say(f"Nothing runs in {escape(str(folder))}.")
    if remove:
        holder = find_holder(folder)
        if holder is not None:
            raise holder
        remove_homes(folder)
        shutil.rmtree(folder, ignore_errors=True)
        Terminal().say(f"Removed {escape(str(folder))}.")
    return 0


async def plan_children(
    settings: Settings,
    held: HeldFolder,
    *,
    kafka: bool = False,
    extra: Sequence[Child] = (),
    environ: Mapping[str, str] | None = None,
    demo: bool = False,
) -> list[Child]:
    """Plan every process of the platform: the embedded servers that are needed, then one per command.

    `kafka` embeds Kafka and its registry too, unless the settings name others. `extra` children run before
    any crawl. `environ` is given to all of our own processes.
    """
    servers, addresses = await plan_servers(settings, held, kafka=kafka)
    prepared = _plan_preparations(settings, servers)
    ready = tuple(child.name for child in prepared)
    base = api_address(settings)
    labels = ["--demo"] if demo else []
    api = _measured(
        Child(
            name="api",
            command=command_of("api", "--port", str(settings.api_port), *labels),
            depends_on=("prepare",),
            ready=answers(f"{base}/health/live"),
            address=f"{base}/api-docs",
        )
    )
    before_crawl = (*ready, *(child.name for child in extra))
    ours = [
        *prepared,
        *(_measured(child) for child in _plan_ingest(settings, ready)),
        _measured(Child(name="index", command=command_of("index"), depends_on=ready)),
        api,
        *extra,
        _measured(Child(name="crawl", command=command_of("crawl"), depends_on=before_crawl)),
        _measured(Child(name="maintain", command=command_of("maintain"), depends_on=ready)),
    ]
    # A port for metrics that a person has set is one process's: here each has its own, or none.
    shared = {**addresses, f"{PREFIX}DATA": str(held.folder), _METRICS_PORT: "", **(environ or {})}
    return [*servers, *(replace(child, env={**shared, **child.env}) for child in ours)]


def _plan_preparations(settings: Settings, servers: Sequence[Child]) -> list[Child]:
    """Plan what runs once before everything else: what is embedded is also set up here."""
    names = {child.name for child in servers}
    needed = tuple(names & {"postgres", "valkey"})
    children = [Child(name="prepare", command=command_of("migrate"), depends_on=needed, one_shot=True)]
    # The topics of a Kafka that is somebody else's, and its schemas, are steps of deploying.
    if "kafka" in names:
        command = command_of("topics", "ensure")
        children.append(Child(name="topics", command=command, depends_on=("kafka",), one_shot=True))
    if "registry" in names:
        command = command_of("schemas", "register")
        children.append(Child(name="schemas", command=command, depends_on=("registry",), one_shot=True))
    return children


def _plan_ingest(settings: Settings, ready: tuple[str, ...]) -> list[Child]:
    names = ["ingest", *(f"ingest-{number}" for number in range(2, settings.ingest_processes + 1))]
    return [Child(name=name, command=command_of("ingest"), depends_on=ready) for name in names]


def _measured(child: Child) -> Child:
    """Let a child serve its metrics, and show where unless it has another address to show."""
    port = take_free_port()
    address = child.address or f"http://127.0.0.1:{port}/metrics"
    return replace(child, env={**child.env, _METRICS_PORT: str(port)}, address=address)


def command_of(*arguments: str) -> list[str]:
    """Build the command line of one of our own processes, with this very Python."""
    return [sys.executable, "-m", "skatestock", *arguments]


async def supervise(
    held: HeldFolder,
    children: Sequence[Child],
    announce: Callable[[Terminal], None],
    *,
    using: Sequence[str] = (),
    watch: Callable[[Terminal], Coroutine[object, object, None]] | None = None,
) -> int:
    """Run the children until a stop is asked for, telling a person what happens; `watch` shows more.

    `using` says which servers they work with.
    """
    console = Terminal()
    for line in using:
        console.say(f"  [dim]using[/] {escape(line)}")
    for name in held.ended:
        console.say(f"[yellow]Ended {name}, which a killed run had left behind.[/]")
    announced = False
    told: dict[str, tuple[ChildState, int]] = {}

    def changed(status: ChildStatus) -> None:
        nonlocal announced
        if told.get(status.name) != (status.state, status.restarts):
            told[status.name] = (status.state, status.restarts)
            _tell(console, status)
        states = {one.name: one.state for one in supervisor.statuses()}
        if not announced and states.get("api") is ChildState.READY:
            announced = True
            announce(console)

    supervisor = Supervisor(held, children, on_change=changed)
    watching = None if watch is None else asyncio.create_task(watch(console))
    try:
        await supervisor.run()
    finally:
        if watching is not None:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
    console.say(f"Stopped. The data stays in {escape(str(held.folder))}")
    return 0


def announce_api(settings: Settings, what: str) -> Callable[[Terminal], None]:
    """Return what tells a person that the platform is up, and where to look."""

    def announce(console: Terminal) -> None:
        base = api_address(settings)
        folder = str(settings.data_folder)
        console.say(f"\n[bold green]SkateStock is up[/] on the {what}.")
        console.say(f"  API and documentation   {base}/api-docs")
        console.say(f"  products                {base}/products")
        console.say(f"  data and logs           {escape(folder)}")
        console.say(f"  what runs where         {escape(spell_command('status', '--data', folder))}")
        console.say("  stop with Ctrl-C\n")

    return announce


def _tell(console: Terminal, status: ChildStatus) -> None:
    # That something starts is no news: that it is ready comes soon, or why it is not.
    if status.state in (ChildState.WAITING, ChildState.STARTING, ChildState.STOPPED):
        return
    colour = PROCESS_COLOURS.get(status.state, "dim")
    where = f" at {status.address}" if status.address and status.state is ChildState.READY else ""
    process = f" (pid {status.pid})" if status.pid and status.state is ChildState.READY else ""
    log = (
        f", see {escape(str(status.log))}"
        if status.state in (ChildState.CRASH_LOOP, ChildState.FAILED)
        else ""
    )
    state = status.state.value.replace("_", " ")
    console.say(f"  {status.name:<9} [{colour}]{state}[/]{where}{process}{log}")


def resolve_port(settings: Settings) -> Settings:
    """Choose a free port where the settings ask for any, and keep it for the API.

    Raises AddressTakenError when the API could not listen there.
    """
    host, port = settings.api_host, settings.api_port
    obstacle = find_obstacle(host, port)
    if obstacle is not None:
        raise AddressTakenError(
            f"the API cannot listen on {host}:{port}: {obstacle}; choose another --port "
            "(0 takes any free one), or set SKATESTOCK_API_PORT and SKATESTOCK_API_HOST"
        )
    if port:
        keep_port(port, host)
        return settings
    return msgspec.structs.replace(settings, api_port=take_free_port(host))


def api_address(settings: Settings) -> str:
    """Return the address under which the API answers on this machine."""
    host = _WILDCARDS.get(settings.api_host, settings.api_host)
    return f"http://{f'[{host}]' if ':' in host else host}:{settings.api_port}"


def answers(url: str) -> Callable[[], Awaitable[bool]]:
    """Return a readiness check that asks one of our own addresses for a 200."""

    def ask() -> bool:
        with suppress(OSError), _DIRECT.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
        return False

    async def ready() -> bool:
        return await asyncio.to_thread(ask)

    return ready


def _stop_supervisor(pid: int) -> None:
    try:
        process = psutil.Process(pid)
        os.kill(pid, signal.SIGTERM)
    except (psutil.NoSuchProcess, ProcessLookupError):
        return
    give_up_at = time.monotonic() + _STOP_SECONDS
    # Not `process.wait`: a supervisor that has ended, but that its parent never asked after, counts as ended.
    while is_running(process):
        if time.monotonic() > give_up_at:
            raise EmbeddedError(f"process {pid} did not stop within {_STOP_SECONDS} s; see its logs")
        time.sleep(_LOOK_EVERY_SECONDS)
