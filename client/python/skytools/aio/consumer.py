"""A worker for asyncio: it waits for messages, hands them to handlers, goes on after outages."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import psycopg

from .. import calls
from ..failure import Outage, PageLost, Retry, heals, reason_of
from ..message import Message
from ..registry import Registry, Stats
from .queue import Connection, run

T = TypeVar("T")
Handler = Callable[[Connection, Message], Awaitable[Any]]


class Consumer(Registry[Handler]):
    """Hands the messages of a subscribed consumer to handlers, which are coroutines.

    A page of messages is received, handled and acknowledged in one transaction: what handlers write
    through its connection happens exactly once. A second process of the same consumer waits, and
    takes over when the first is gone.
    """

    def __init__(
        self, conninfo: str, queue: str, consumer: str, *, page: int = 100, wait: float = 30.0
    ) -> None:
        super().__init__(conninfo, queue, consumer, page=page, wait=wait)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """End ``run`` after the message at hand; from the same event loop."""
        self._stopping.set()

    async def run(self, *, idle: float | None = None, signals: bool = True) -> Stats:
        """Handle messages until stopped, or until none has come for ``idle`` seconds.

        SIGTERM and SIGINT stop it, where ``signals`` says so; a second one does what it did before.
        Outages of the server are waited out, once there was a first connection. A task that is
        cancelled rolls the page at hand back.
        """
        outage = Outage()
        connected = False
        with self._signals(signals):
            while not self._stopping.is_set():
                try:
                    async with await self._connect() as conn:
                        connected = True
                        await self._serve(conn, outage, idle)
                        return self.stats
                except psycopg.Error as error:
                    if self._stopping.is_set():
                        break
                    if not (connected and heals(error)):
                        raise
                    pause = outage.pause()
                    self._say_away(outage.attempts, error)
                    await self._unless_stopped(asyncio.sleep(pause))
                self.stats.reconnects += 1
        return self.stats

    async def _connect(self) -> Connection:
        return await psycopg.AsyncConnection.connect(
            self.conninfo,
            autocommit=True,
            # Poolers need not know what was prepared where.
            prepare_threshold=None,
            fallback_application_name=self.consumer,
        )

    async def _serve(self, conn: Connection, outage: Outage, idle: float | None) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            try:
                received = await self._page(conn)
            except PageLost as error:
                self._say_lost(error)
                continue
            if outage.over():
                self._say_back()
            if received > 0:
                last = time.monotonic()
                continue
            timeout = self.wait
            if idle is not None:
                left = last + idle - time.monotonic()
                if left <= 0:
                    return
                timeout = min(timeout, left)
            call = calls.wait_batch(self.queue, self.consumer, timeout)
            await self._unless_stopped(run(conn, call))

    async def _unless_stopped(self, work: Awaitable[Any]) -> None:
        """Wait for it; a stop cancels it, in the server too."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self._stopping.wait())
        try:
            await asyncio.wait((task, stop), return_when=asyncio.FIRST_COMPLETED)
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
                await asyncio.wait((task,))
        if not self._stopping.is_set():
            task.result()

    async def _page(self, conn: Connection) -> int:
        """Receive a page, handle it, acknowledge it; how many messages there were."""
        before = replace(self.stats)
        try:
            async with conn.transaction():
                messages = await run(conn, calls.receive(self.queue, self.consumer, self.page))
                done: Message | None = None
                for message in messages:
                    if self._stopping.is_set() and (done is None or done.msg_id != message.msg_id):
                        break
                    await self._handle(conn, message)
                    done = message
                if done is not None:
                    up_to = None if done is messages[-1] else done.msg_id
                    await self._settle(conn, calls.ack(done.batch_id, up_to))
        except BaseException:
            # Nothing of it has happened.
            self.stats = before
            raise
        return len(messages)

    async def _settle(self, conn: Connection, call: calls.Call[T]) -> T:
        try:
            return await run(conn, call)
        except psycopg.errors.UndefinedObject as error:
            raise PageLost(str(error)) from error

    async def _handle(self, conn: Connection, message: Message) -> None:
        try:
            async with conn.transaction():
                await self._handler_of(message)(conn, message)
        except Exception as error:
            if conn.closed:
                raise psycopg.OperationalError(f"connection lost: {error}") from error
            reason = reason_of(error)
            after = error.after if isinstance(error, Retry) else None
            comes_again = await self._settle(conn, calls.nack(message, after, reason))
            self._note(message, reason, comes_again)
        else:
            self.stats.done += 1

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        if not wanted:
            yield
            return
        loop = asyncio.get_running_loop()
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.getsignal(number) for number in numbers}

        def restore() -> None:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

        def stop() -> None:
            restore()
            self.stop()

        for number in numbers:
            loop.add_signal_handler(number, stop)
        try:
            yield
        finally:
            restore()
