"""The queue API over a connection of psycopg, in its transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import psycopg
from psycopg.rows import tuple_row
from psycopg.types.composite import CompositeInfo, register_composite

from . import calls
from .message import DeadLetter, Message, Payload, Seek

T = TypeVar("T")
Connection = psycopg.Connection[Any]


def run(conn: Connection, call: calls.Call[T]) -> T:
    """Send a statement and read its answer."""
    with conn.cursor(row_factory=tuple_row) as cursor:
        cursor.execute(call.statement, call.values)
        return call.read(cursor.fetchall())


def send(
    conn: Connection,
    queue: str,
    payload: Payload,
    *,
    type: str = "default",
    key: str | None = None,
    headers: Mapping[str, Any] | None = None,
) -> int:
    """Send a message; its id. Text is stored as it is, anything else as JSON."""
    return run(conn, calls.send(queue, payload, type, key, headers))


def send_batch(
    conn: Connection,
    queue: str,
    payloads: Sequence[Payload],
    *,
    type: str = "default",
    keys: Sequence[str | None] | None = None,
    headers: Sequence[Mapping[str, Any] | None] | None = None,
) -> list[int]:
    """Send many messages of a type, all or none; their ids, in order."""
    return run(conn, calls.send_batch(queue, payloads, type, keys, headers))


def subscribe(
    conn: Connection, queue: str, consumer: str, start_at: datetime | str | None = None
) -> bool:
    """Subscribe a consumer: from now on, from a time, or from everything (``'-infinity'``).

    False if it was subscribed: then it stays where it is.
    """
    return run(conn, calls.subscribe(queue, consumer, start_at))


def unsubscribe(conn: Connection, queue: str, consumer: str, *, force: bool = False) -> bool:
    """Remove a consumer; ``force`` if it has dead letters. False if it was not subscribed."""
    return run(conn, calls.unsubscribe(queue, consumer, force))


def receive(conn: Connection, queue: str, consumer: str, max_return: int = 100) -> list[Message]:
    """The next messages, which come again until they are acknowledged."""
    return run(conn, calls.receive(queue, consumer, max_return))


def wait_receive(
    conn: Connection,
    queue: str,
    consumer: str,
    timeout: timedelta | float | None = 60.0,
    max_return: int = 100,
) -> list[Message]:
    """The same, waiting for them; none when the time is over. The connection is in autocommit."""
    call = calls.wait_receive(queue, consumer, timeout, max_return)
    info = CompositeInfo.fetch(conn, "pgq.message")
    if info is None:
        raise psycopg.NotSupportedError("type pgq.message is missing: pgq 4.1 is needed")
    register_composite(info, conn, Message)
    return run(conn, call)


def ack(conn: Connection, batch_id: int, msg_id: int | None = None) -> None:
    """What was received is done; with ``msg_id``, up to and including that message."""
    run(conn, calls.ack(batch_id, msg_id))


def nack(
    conn: Connection,
    message: Message,
    retry_after: timedelta | float | None = None,
    reason: str | None = None,
) -> bool:
    """A message was not processed. True if it comes again, false if it is a dead letter now."""
    return run(conn, calls.nack(message, retry_after, reason))


def seek(
    conn: Connection,
    queue: str,
    consumer: str,
    *,
    to_time: datetime | str | None = None,
    to_tick: int | None = None,
    dry_run: bool = False,
) -> Seek:
    """Move a consumer, also back, to a time or a tick."""
    return run(conn, calls.seek(queue, consumer, to_time, to_tick, dry_run))


def dead_letters(conn: Connection, queue: str, consumer: str | None = None) -> list[DeadLetter]:
    """Messages that were given up, by a consumer or by all of them."""
    return run(conn, calls.dead_letters(queue, consumer))


def dead_replay(
    conn: Connection, queue: str, consumer: str, ids: Sequence[int] | None = None
) -> int:
    """Give dead letters to their consumer again; how many."""
    return run(conn, calls.dead_replay(queue, consumer, ids))


def dead_purge(
    conn: Connection,
    queue: str,
    consumer: str,
    older_than: timedelta | float = 0,
    ids: Sequence[int] | None = None,
) -> int:
    """Drop dead letters that were given up so long ago; how many."""
    return run(conn, calls.dead_purge(queue, consumer, older_than, ids))
