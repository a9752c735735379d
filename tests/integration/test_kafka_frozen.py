"""Consumers in processes of their own: frozen in the middle of a batch for too long, or killed."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.kafka_scene import SESSION_SECONDS, KafkaScene, assert_once_in_order, open_scene

from skatestock.eventlog.port import Position

pytestmark = [pytest.mark.xdist_group("kafka-processes"), pytest.mark.kills]

CHECKOUT = Path(__file__).parents[2]


class Member:
    """A consumer's process, and what it says."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.said: list[str] = []
        self._reading = asyncio.create_task(self._read())

    async def wait_for(self, word: str, *, seconds: float = 30, since: int = 0) -> None:
        async with asyncio.timeout(seconds):
            while not any(line.startswith(word) for line in self.said[since:]):
                assert self.process.returncode is None, self.said[-20:]
                await asyncio.sleep(0.02)

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    async def kill(self) -> None:
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()
        await self._reading

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            self.said.append(line.decode().strip())


class Members:
    """Starts members, and ends all of them with the test."""

    def __init__(self, scene: KafkaScene, dsn: str) -> None:
        self.scene = scene
        self._dsn = dsn
        self._all: list[Member] = []

    async def start(self, name: str) -> Member:
        scene = self.scene
        arguments = [self._dsn, scene.servers.servers, scene.topic, scene.group, name]
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.kafka_member_program",
            *arguments,
            stdout=PIPE,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": f"{CHECKOUT / 'src'}{os.pathsep}{CHECKOUT}"},
        )
        member = Member(process)
        self._all.append(member)
        return member

    async def end(self) -> None:
        for member in self._all:
            await member.kill()


@pytest.fixture
async def members(database_dsn: str, kafka_server: str) -> AsyncIterator[Members]:
    async with open_scene(database_dsn, kafka_server) as scene:
        members = Members(scene, database_dsn)
        yield members
        await members.end()


async def wait_until_drained(scene: KafkaScene, *, seconds: float = 60) -> None:
    async with asyncio.timeout(seconds):
        while not await scene.is_drained():
            await asyncio.sleep(0.1)


async def append_round(scene: KafkaScene, number: int, appended: dict[Position, str]) -> None:
    for shop in range(6):
        values = [f"{shop}-{number}-{n}" for n in range(3)]
        appended |= zip(await scene.append(*values, key=f"shop-{shop}"), values, strict=True)


async def test_who_was_frozen_in_its_open_transaction_stops_nobody_and_writes_nothing_when_it_wakes(
    members: Members,
) -> None:
    scene = members.scene
    appended: dict[Position, str] = {}
    frozen = await members.start("frozen")
    await frozen.wait_for("joined")
    await append_round(scene, 0, appended)
    await frozen.wait_for("holding")
    frozen.freeze()
    successor = await members.start("successor")
    await wait_until_drained(scene)
    await append_round(scene, 1, appended)
    await wait_until_drained(scene)
    spoken = len(frozen.said)
    frozen.thaw()
    # its session was ended under it, or its name is no longer in the row
    await frozen.wait_for("lost", since=spoken)
    await append_round(scene, 2, appended)
    await wait_until_drained(scene)
    assert_once_in_order(await scene.fetch_seen(), appended)
    assert successor.process.returncode is None


async def test_kills_and_freezes_in_turn_store_every_record_once_in_order(members: Members) -> None:
    scene = members.scene
    dice = random.Random(5)
    appended: dict[Position, str] = {}
    seats = [await members.start(f"seat-{number}") for number in range(3)]
    for number in range(6):
        await append_round(scene, number, appended)
        await asyncio.sleep(dice.uniform(0, 1.0))
        seat = number % 3
        if number % 2:
            seats[seat].freeze()
            await asyncio.sleep(SESSION_SECONDS + dice.uniform(0.5, 2.0))
            seats[seat].thaw()
        else:
            await seats[seat].kill()
            seats[seat] = await members.start(f"seat-{seat}")
    await wait_until_drained(scene, seconds=90)
    # who woke up last may still be about to write
    await asyncio.sleep(1.0)
    assert_once_in_order(await scene.fetch_seen(), appended)
