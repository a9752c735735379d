"""The supervisor with small children: order, restarts, failures and clean ends."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from skatestock.embedded.backoff import Backoff
from skatestock.embedded.child_process import ChildProcess, Launch
from skatestock.embedded.children import Child, ChildState, ChildStatus
from skatestock.embedded.data_folder import hold_folder
from skatestock.embedded.errors import ChildFailedError, FolderHeldError
from skatestock.embedded.process_records import find_processes, write_records
from skatestock.embedded.supervisor import Supervisor

QUICK = Backoff(first_seconds=0.02, max_seconds=0.1, stable_seconds=60)
SLEEP = ["/bin/sleep", "1000"]


def _shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def _file_exists(file: Path) -> Callable[[], Awaitable[bool]]:
    async def ready() -> bool:
        return file.exists()

    return ready


async def _until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        await asyncio.sleep(0.01)


class _Watch:
    """Remembers every change that the supervisor tells."""

    def __init__(self) -> None:
        self.changes: list[ChildStatus] = []

    def __call__(self, status: ChildStatus) -> None:
        self.changes.append(status)

    def states(self, name: str) -> list[ChildState]:
        return [status.state for status in self.changes if status.name == name]

    def first(self, name: str, state: ChildState) -> int:
        return next(i for i, s in enumerate(self.changes) if (s.name, s.state) == (name, state))


async def test_children_start_after_what_they_need_is_ready_and_stop_before_it(tmp_path: Path) -> None:
    watch = _Watch()
    marker = tmp_path / "marker"
    server = Child(
        name="server", command=_shell(f"sleep 0.2; touch {marker}; sleep 1000"), ready=_file_exists(marker)
    )
    prepare = Child(name="prepare", command=_shell("sleep 0.1"), one_shot=True, depends_on=("server",))
    worker = Child(name="worker", command=SLEEP, depends_on=("prepare", "server"))
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [worker, prepare, server], on_change=watch)
        await supervisor.start()
        assert [s.state for s in supervisor.statuses()] == [
            ChildState.READY,
            ChildState.DONE,
            ChildState.READY,
        ]
        pids = [status.pid for status in supervisor.statuses() if status.pid is not None]
        await supervisor.stop()
    order = [
        watch.first("server", ChildState.READY),
        watch.first("prepare", ChildState.STARTING),
        watch.first("prepare", ChildState.DONE),
        watch.first("worker", ChildState.STARTING),
        watch.first("worker", ChildState.STOPPED),
        watch.first("server", ChildState.STOPPING),
        watch.first("server", ChildState.STOPPED),
    ]
    assert order == sorted(order)
    assert len(pids) == 2
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not (tmp_path / "processes.json").exists()
    assert not (tmp_path / "lock").exists()


async def test_a_child_that_died_is_started_again(tmp_path: Path) -> None:
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [Child(name="worker", command=SLEEP)], backoff=QUICK)
        await supervisor.start()
        for restarts in (1, 2, 3):
            pid = supervisor.statuses()[0].pid
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await _until(lambda r=restarts: _ready_again(supervisor, r))  # type: ignore[misc]
            assert supervisor.statuses()[0].pid != pid
        await supervisor.stop()


def _ready_again(supervisor: Supervisor, restarts: int) -> bool:
    status = supervisor.statuses()[0]
    return status.state is ChildState.READY and status.restarts == restarts


async def test_what_a_dead_child_had_started_does_not_go_on(tmp_path: Path) -> None:
    pid_file = tmp_path / "grandchild"
    command = _shell(f"sleep 1000 & echo $! > {pid_file}.new; mv {pid_file}.new {pid_file}; wait")
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(
            held, [Child(name="worker", command=command, ready=_file_exists(pid_file))], backoff=QUICK
        )
        await supervisor.start()
        grandchild = psutil.Process(int(pid_file.read_text()))
        pid = supervisor.statuses()[0].pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        await _until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)
        await supervisor.stop()


async def test_a_crash_loop_is_told_and_the_child_tried_on(tmp_path: Path) -> None:
    watch = _Watch()
    marker = tmp_path / "up once"
    # It comes up once and from then on dies at once, until someone mends it.
    script = (
        f"if [ -e '{marker}' ] && ! [ -e '{marker}.mended' ]; then exit 7; fi; touch '{marker}'; sleep 1000"
    )
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(
            held,
            [Child(name="worker", command=_shell(script), ready=_file_exists(marker))],
            backoff=Backoff(first_seconds=0.01, max_seconds=0.05, crash_loop_after=3),
            on_change=watch,
        )
        await supervisor.start()
        os.kill(supervisor.statuses()[0].pid or 0, signal.SIGKILL)
        await _until(lambda: ChildState.CRASH_LOOP in watch.states("worker"))
        (tmp_path / "up once.mended").touch()
        await _until(lambda: _is_alive_for(supervisor, 0.2))
        await supervisor.stop()
    assert watch.states("worker").count(ChildState.RESTARTING) >= 2


def _is_alive_for(supervisor: Supervisor, seconds: float) -> bool:
    status = supervisor.statuses()[0]
    return (
        status.state is ChildState.READY
        and status.create_time is not None
        and time.time() - status.create_time > seconds
    )


async def test_a_child_that_cannot_start_ends_the_start_with_its_last_words(tmp_path: Path) -> None:
    bad = Child(
        name="bad", command=_shell("echo no such luck; exit 4"), ready=_file_exists(tmp_path / "never")
    )
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [Child(name="good", command=SLEEP), bad], backoff=QUICK)
        with pytest.raises(ChildFailedError, match="exit code 4") as failed:
            await supervisor.run()
        assert failed.value.log == tmp_path / "logs" / "bad.log"
        assert "| no such luck" in str(failed.value)
        assert [s.state for s in supervisor.statuses()] == [ChildState.STOPPED, ChildState.FAILED]
        assert all(s.pid is None for s in supervisor.statuses())


async def test_a_failed_one_shot_child_keeps_its_dependents_from_starting(tmp_path: Path) -> None:
    watch = _Watch()
    prepare = Child(name="prepare", command=_shell("exit 3"), one_shot=True)
    worker = Child(name="worker", command=SLEEP, depends_on=("prepare",))
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [prepare, worker], backoff=QUICK, on_change=watch)
        with pytest.raises(ChildFailedError, match="prepare could not be started: it ended with exit code 3"):
            await supervisor.run()
    assert ChildState.STARTING not in watch.states("worker")
    assert watch.states("prepare").count(ChildState.RESTARTING) == 0


async def test_a_killed_one_shot_child_is_tried_again(tmp_path: Path) -> None:
    marker = tmp_path / "second try"
    script = f"if [ -e '{marker}' ]; then exit 0; fi; touch '{marker}'; kill -9 $$"
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(
            held, [Child(name="prepare", command=_shell(script), one_shot=True)], backoff=QUICK
        )
        await supervisor.start()
        assert supervisor.statuses()[0].state is ChildState.DONE
        await supervisor.stop()


async def test_a_child_that_never_gets_ready_is_ended_and_named(tmp_path: Path) -> None:
    async def never() -> bool:
        raise OSError("nobody answers")

    child = Child(name="mute", command=SLEEP, ready=never, ready_timeout_seconds=0.1)
    async with hold_folder(tmp_path) as held:
        with pytest.raises(ChildFailedError, match=r"not ready after 0\.1 s \(nobody answers\)"):
            await Supervisor(held, [child], backoff=QUICK).run()


async def test_a_command_that_does_not_exist_is_an_error_that_names_it(tmp_path: Path) -> None:
    child = Child(name="absent", command=[str(tmp_path / "no-such-program")])
    async with hold_folder(tmp_path) as held:
        with pytest.raises(ChildFailedError, match="no-such-program"):
            await Supervisor(held, [child], backoff=QUICK).run()


async def test_a_child_that_must_not_restart_stays_dead(tmp_path: Path) -> None:
    child = Child(name="once", command=_shell("sleep 0.1"), restart=False)
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [child], backoff=QUICK)
        await supervisor.start()
        await _until(lambda: supervisor.statuses()[0].state is ChildState.STOPPED)
        await asyncio.sleep(0.1)
        assert supervisor.statuses()[0].restarts == 0
        await supervisor.stop()


async def test_more_children_can_be_added_once_the_first_are_up(tmp_path: Path) -> None:
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [Child(name="server", command=SLEEP)])

        async def then() -> None:
            supervisor.add(Child(name="worker", command=SLEEP, depends_on=("server",)))
            await supervisor.start()
            assert [s.state for s in supervisor.statuses()] == [ChildState.READY] * 2
            supervisor.request_stop()

        await supervisor.run(then)
        assert [s.state for s in supervisor.statuses()] == [ChildState.STOPPED] * 2


async def test_a_stop_interrupts_a_start_that_hangs(tmp_path: Path) -> None:
    async with hold_folder(tmp_path) as held:
        child = Child(name="slow", command=SLEEP, ready=_file_exists(tmp_path / "never"))
        supervisor = Supervisor(held, [child])
        running = asyncio.create_task(supervisor.run())
        await _until(lambda: supervisor.statuses()[0].pid is not None)
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(running, 10)
        assert supervisor.statuses()[0].state is ChildState.STOPPED


async def test_a_child_that_ignores_the_stop_is_killed_after_its_time(tmp_path: Path) -> None:
    marker = tmp_path / "deaf"
    command = _shell(f"trap '' TERM; touch {marker}; while :; do sleep 0.05; done")
    child = Child(name="deaf", command=command, ready=_file_exists(marker), stop_timeout_seconds=0.3)
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [child])
        await supervisor.start()
        started = time.monotonic()
        await supervisor.stop()
        assert 0.3 <= time.monotonic() - started < 5
        assert supervisor.statuses()[0].pid is None


async def test_a_childs_output_and_environment(tmp_path: Path) -> None:
    command = _shell('echo "out $GIVEN"; echo err >&2')
    child = Child(name="talker", command=command, env={"GIVEN": "word"}, one_shot=True)
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [child])
        await supervisor.start()
        await supervisor.stop()
    assert (tmp_path / "logs" / "talker.log").read_text() == "out word\nerr\n"


async def test_a_folder_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    async with hold_folder(tmp_path, command="first"):
        with pytest.raises(FolderHeldError, match=f"process {os.getpid()} \\(first\\)"):
            async with hold_folder(tmp_path):
                raise AssertionError("two hold the same folder")


async def test_what_a_killed_supervisor_left_is_ended_at_the_next_start(tmp_path: Path) -> None:
    left = ChildProcess(Launch(_shell("sleep 1000 & wait"), tmp_path / "left.log"))
    leaderless = ChildProcess(Launch(_shell("sleep 1000 & sleep 0.1"), tmp_path / "leaderless.log"))
    await leaderless.wait()
    records = [
        _record("left", left.pid, left.create_time),
        _record("group", leaderless.pid, leaderless.create_time),
    ]
    write_records(tmp_path, "2026-01-01T00:00:00+00:00", records)
    async with hold_folder(tmp_path) as held:
        assert held.ended == ("left", "group")
        assert await asyncio.wait_for(left.wait(), 5) == -signal.SIGTERM
        assert find_processes(tmp_path) is None
        assert _living_in_group(leaderless.pid) == []


def _living_in_group(group: int) -> list[int]:
    # Ended processes may stay in the table for a moment, until init has read their exit code.
    living = [
        process.pid for process in psutil.process_iter(["status"]) if process.info["status"] != "zombie"
    ]
    return [pid for pid in living if psutil.pid_exists(pid) and os.getpgid(pid) == group]


async def test_a_stranger_with_a_recorded_pid_is_left_alone(tmp_path: Path) -> None:
    stranger = ChildProcess(Launch(SLEEP, tmp_path / "stranger.log"))
    write_records(
        tmp_path, "2026-01-01T00:00:00+00:00", [_record("old", stranger.pid, stranger.create_time - 500)]
    )
    async with hold_folder(tmp_path) as held:
        assert held.ended == ()
        assert stranger.exit_code is None
    await stranger.stop(signal.SIGTERM, 5)


def _record(name: str, pid: int, create_time: float) -> ChildStatus:
    return ChildStatus(name, ChildState.READY, pid, create_time, 0, None, Path("log"))


@pytest.mark.parametrize("content", ["", "{", '{"children": 3}'])
async def test_a_damaged_record_does_not_block_the_start(tmp_path: Path, content: str) -> None:
    (tmp_path / "processes.json").write_text(content)
    async with hold_folder(tmp_path) as held:
        assert held.ended == ()


async def test_the_record_says_what_runs_where(tmp_path: Path) -> None:
    async with hold_folder(tmp_path) as held:
        supervisor = Supervisor(held, [Child(name="api", command=SLEEP, address="http://127.0.0.1:8000")])
        await supervisor.start()
        recorded = find_processes(tmp_path)
        assert recorded is not None
        assert recorded.supervised
        assert recorded.supervisor_pid == os.getpid()
        (api,) = recorded.children
        assert (api.name, api.state, api.address) == ("api", ChildState.READY, "http://127.0.0.1:8000")
        assert api.pid == supervisor.statuses()[0].pid
        await supervisor.stop()
    assert find_processes(tmp_path) is None
