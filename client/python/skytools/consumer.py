"""A worker: it waits for messages, hands them to handlers, and goes on after outages."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import Any, TypeVar

import psycopg

from . import calls
from .failure import Outage, PageLost, Retry, heals, reason_of
from .message import Message
from .queue import Connection, run
from .registry import Registry, Stats

T = TypeVar("T")
Handler = Callable[[Connection, Message], Any]

#: Between attempts to end a wait in the server.
_INTERRUPT = 0.2


class Consumer(Registry[Handler]):
    """Hands the messages of a subscribed consumer to handlers.

    A page of messages is received, handled and acknowledged in one transaction: what handlers write
    through its connection happens exactly once. A second process of the same consumer waits, and
    takes over when the first is gone.
    """

    def __init__(
        self, conninfo: str, queue: str, consumer: str, *, page: int = 100, wait: float = 30.0
    ) -> None:
        super().__init__(conninfo, queue, consumer, page=page, wait=wait)
        self._stopping = threading.Event()
        self._waiting: Connection | None = None

    def stop(self) -> None:
        """End ``run`` after the message at hand; from a signal's handler or another thread."""
        self._stopping.set()
        threading.Thread(target=self._interrupt, daemon=True).start()

    def run(self, *, idle: float | None = None, signals: bool = True) -> Stats:
        """Handle messages until stopped, or until none has come for ``idle`` seconds.

        SIGTERM and SIGINT stop it, where ``signals`` says so and this is the main thread; a second
        one does what it did before. Outages of the server are waited out, once there was a first
        connection.
        """
        outage = Outage()
        connected = False
        with self._signals(signals):
            while not self._stopping.is_set():
                try:
                    with self._connect() as conn:
                        connected = True
                        self._serve(conn, outage, idle)
                        return self.stats
                except psycopg.Error as error:
                    if self._stopping.is_set():
                        break
                    if not (connected and heals(error)):
                        raise
                    pause = outage.pause()
                    self._say_away(outage.attempts, error)
                    self._stopping.wait(pause)
                self.stats.reconnects += 1
        return self.stats

    def _connect(self) -> Connection:
        return psycopg.connect(
            self.conninfo,
            autocommit=True,
            # Poolers need not know what was prepared where.
            prepare_threshold=None,
            fallback_application_name=self.consumer,
        )

    def _serve(self, conn: Connection, outage: Outage, idle: float | None) -> None:
        last = time.monotonic()
        while not self._stopping.is_set():
            try:
                received = self._page(conn)
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
            self._wait(conn, timeout)

    def _wait(self, conn: Connection, timeout: float) -> None:
        self._waiting = conn
        try:
            if not self._stopping.is_set():
                run(conn, calls.wait_batch(self.queue, self.consumer, timeout))
        except psycopg.errors.QueryCanceled:
            if not self._stopping.is_set():
                raise
        finally:
            self._waiting = None

    def _interrupt(self) -> None:
        while (conn := self._waiting) is not None:
            try:
                conn.cancel_safe(timeout=5.0)
            except psycopg.Error:
                pass  # It is closed, or will answer the next one.
            time.sleep(_INTERRUPT)

    def _page(self, conn: Connection) -> int:
        """Receive a page, handle it, acknowledge it; how many messages there were."""
        before = replace(self.stats)
        try:
            with conn.transaction():
                messages = run(conn, calls.receive(self.queue, self.consumer, self.page))
                done: Message | None = None
                for message in messages:
                    if self._stopping.is_set() and (done is None or done.msg_id != message.msg_id):
                        break
                    self._handle(conn, message)
                    done = message
                if done is not None:
                    of_all = done is messages[-1]
                    self._settle(conn, calls.ack(done.batch_id, None if of_all else done.msg_id))
        except BaseException:
            # Nothing of it has happened.
            self.stats = before
            raise
        return len(messages)

    def _settle(self, conn: Connection, call: calls.Call[T]) -> T:
        try:
            return run(conn, call)
        except psycopg.errors.UndefinedObject as error:
            raise PageLost(str(error)) from error

    def _handle(self, conn: Connection, message: Message) -> None:
        try:
            with conn.transaction():
                self._handler_of(message)(conn, message)
        except Exception as error:
            if conn.closed:
                raise psycopg.OperationalError(f"connection lost: {error}") from error
            reason = reason_of(error)
            after = error.after if isinstance(error, Retry) else None
            comes_again = self._settle(conn, calls.nack(message, after, reason))
            self._note(message, reason, comes_again)
        else:
            self.stats.done += 1

    @contextmanager
    def _signals(self, wanted: bool) -> Iterator[None]:
        if not wanted or threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGTERM, signal.SIGINT)
        before = {number: signal.getsignal(number) for number in numbers}

        def restore() -> None:
            for number, handler in before.items():
                signal.signal(number, handler)

        def stop(number: int, frame: FrameType | None) -> None:
            restore()
            self.stop()

        for number in numbers:
            signal.signal(number, stop)
        try:
            yield
        finally:
            restore()
