"""The same over asynchronous connections."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest
import skytools
from skytools import Message, Retry, aio

from .conftest import PATIENCE, Queue


async def until_seen(queue: Queue, count: int) -> None:
    async def look() -> None:
        while len(queue.seen()) < count:
            await asyncio.sleep(0.02)

    await asyncio.wait_for(look(), PATIENCE)


def consumer(queue: Queue, **settings: Any) -> aio.Consumer:
    return aio.Consumer(queue.dsn, queue.name, queue.consumer, **settings)


def test_functions_do_what_the_others_do(queue: Queue) -> None:
    async def main() -> None:
        name = queue.name
        async with await psycopg.AsyncConnection.connect(queue.dsn, autocommit=True) as conn:
            assert not await aio.subscribe(conn, name, "c")
            one = await aio.send(conn, name, {"n": 1}, type="t", key="k", headers={"h": "v"})
            ids = [one, *await aio.send_batch(conn, name, ["2", "3"])]
            messages = await aio.wait_receive(conn, name, "c", PATIENCE)
            assert [message.msg_id for message in messages] == ids
            assert (messages[0].json(), messages[0].headers) == ({"n": 1}, {"h": "v"})
            assert await aio.nack(conn, messages[1], 0)
            await aio.ack(conn, messages[0].batch_id)
            queue.redeliver()
            (again,) = await aio.receive(conn, name, "c")
            assert not await aio.nack(conn, again, reason="why")
            (letter,) = await aio.dead_letters(conn, name)
            assert letter.reason == "why"
            assert await aio.dead_replay(conn, name, "c") == 1
            assert await aio.dead_purge(conn, name, "c") == 0
            assert (await aio.seek(conn, name, "c", to_tick=1)).to_tick == 1
            assert await aio.unsubscribe(conn, name, "c", force=True)

    asyncio.run(main())


def test_a_worker_handles_retries_and_gives_up(queue: Queue) -> None:
    async def main() -> None:
        worker = consumer(queue, page=2)

        @worker.handler("t")
        async def handle(conn: Any, message: Message) -> None:
            await queue.see(conn, message)
            if message.payload == "2":
                await conn.execute("select 1/0")
            if message.payload == "3":
                raise Retry

        skytools.send_batch(queue.conn, queue.name, ["1", "2", "3", "4"], type="t")
        stats = await worker.run(idle=0.5)
        assert (queue.seen(), stats.done, stats.retried) == (["1", "4"], 2, 2)
        queue.redeliver()
        assert (await worker.run(idle=0.5)).dead == 2
        assert queue.seen() == ["1", "4"]

    asyncio.run(main())


def test_a_worker_goes_on_after_its_sessions_end(queue: Queue) -> None:
    async def main() -> None:
        worker = consumer(queue)
        ended: list[int] = []

        @worker.handler()
        async def handle(conn: Any, message: Message) -> None:
            await queue.see(conn, message)
            if not ended:
                ended.append(queue.end_sessions())

        task = asyncio.create_task(worker.run(signals=False))
        skytools.send_batch(queue.conn, queue.name, ["1", "2"])
        await until_seen(queue, 2)
        worker.stop()
        stats = await asyncio.wait_for(task, PATIENCE)
        assert (queue.seen(), ended, stats.done, stats.reconnects) == (["1", "2"], [1], 2, 1)

    asyncio.run(main())


def test_a_stop_ends_waiting_and_a_cancelled_task_is_undone(queue: Queue) -> None:
    async def main() -> None:
        worker = consumer(queue, wait=3600)
        task = asyncio.create_task(worker.run())
        await asyncio.sleep(0.5)
        worker.stop()
        await asyncio.wait_for(task, PATIENCE)

        worker = consumer(queue)
        begun = asyncio.Event()

        @worker.handler()
        async def handle(conn: Any, message: Message) -> None:
            await queue.see(conn, message)
            begun.set()
            await asyncio.sleep(3600)

        skytools.send(queue.conn, queue.name, "x")
        task = asyncio.create_task(worker.run(signals=False))
        await asyncio.wait_for(begun.wait(), PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (queue.seen(), worker.stats.done) == ([], 0)
        worker = consumer(queue)
        worker.handler()(queue.see)
        await worker.run(idle=0.5)
        assert queue.seen() == ["x"]

    asyncio.run(main())
