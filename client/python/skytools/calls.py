"""The statements, for connections of both kinds: what is sent, and what is made of the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from psycopg.types.json import Jsonb

from .message import DeadLetter, Message, Payload, Seek

if TYPE_CHECKING:
    from typing_extensions import LiteralString

T = TypeVar("T")
Rows = Sequence[tuple[Any, ...]]


@dataclass(frozen=True)
class Call(Generic[T]):
    """One statement."""

    statement: LiteralString
    values: tuple[object, ...]
    read: Callable[[Rows], T]


def _value(rows: Rows) -> Any:
    return rows[0][0]


def interval(time: timedelta | float | None) -> timedelta | None:
    """Numbers are seconds."""
    return timedelta(seconds=time) if isinstance(time, (int, float)) else time


def _json(payload: Payload) -> Jsonb:
    if payload is None or isinstance(payload, (bytes, bytearray, memoryview)):
        raise TypeError(f"a payload is text or JSON, not {type(payload).__name__}")
    return Jsonb(payload)


def _headers(headers: Mapping[str, Any] | None) -> Jsonb | None:
    return None if headers is None else Jsonb(dict(headers))


def send(
    queue: str,
    payload: Payload,
    type_name: str,
    key: str | None,
    headers: Mapping[str, Any] | None,
) -> Call[int]:
    rest = (key, _headers(headers))
    if isinstance(payload, str):
        return Call(
            "select pgq.send(%s::text, %s::text, %s::text, %s::text, %s::jsonb)",
            (queue, type_name, payload, *rest),
            _value,
        )
    return Call(
        "select pgq.send(%s::text, %s::text, %s::jsonb, %s::text, %s::jsonb)",
        (queue, type_name, _json(payload), *rest),
        _value,
    )


def send_batch(
    queue: str,
    payloads: Sequence[Payload],
    type_name: str,
    keys: Sequence[str | None] | None,
    headers: Sequence[Mapping[str, Any] | None] | None,
) -> Call[list[int]]:
    rest = (
        None if keys is None else list(keys),
        None if headers is None else [_headers(one) for one in headers],
    )
    texts = [payload for payload in payloads if isinstance(payload, str)]
    if len(texts) == len(payloads):
        return Call(
            "select pgq.send_batch(%s::text, %s::text, %s::text[], %s::text[], %s::jsonb[])",
            (queue, type_name, texts, *rest),
            _value,
        )
    if texts:
        raise TypeError("payloads are all text or all JSON")
    return Call(
        "select pgq.send_batch(%s::text, %s::text, %s::jsonb[], %s::text[], %s::jsonb[])",
        (queue, type_name, [_json(payload) for payload in payloads], *rest),
        _value,
    )


def subscribe(queue: str, consumer: str, start_at: datetime | str | None) -> Call[bool]:
    return Call(
        "select pgq.subscribe(%s::text, %s::text, %s::timestamptz) = 1",
        (queue, consumer, start_at),
        _value,
    )


def unsubscribe(queue: str, consumer: str, force: bool) -> Call[bool]:
    return Call(
        "select pgq.unsubscribe(%s::text, %s::text, %s::boolean) > 0",
        (queue, consumer, force),
        _value,
    )


def _messages(rows: Rows) -> list[Message]:
    return [Message(*row) for row in rows]


def receive(queue: str, consumer: str, max_return: int) -> Call[list[Message]]:
    return Call(
        """select m.msg_id, m.batch_id, m.type, m.payload, m.key, m.headers, m.retry_count,
                  m.created_at, m.extra3, m.extra4
             from pgq.receive(%s::text, %s::text, %s::integer) m""",
        (queue, consumer, max_return),
        _messages,
    )


def wait_batch(queue: str, consumer: str, timeout: timedelta | float | None) -> Call[bool]:
    """Wait until ``receive`` may have something to give."""
    return Call(
        "call pgq.wait_batch(%s::text, %s::text, %s::interval, null)",
        (queue, consumer, interval(timeout)),
        lambda rows: rows[0][0] is not None,
    )


def wait_receive(
    queue: str, consumer: str, timeout: timedelta | float | None, max_return: int
) -> Call[list[Message]]:
    """Its answer is read as ``Message`` where type ``pgq.message`` is registered."""
    return Call(
        "call pgq.wait_receive(%s::text, %s::text, %s::interval, %s::integer, null)",
        (queue, consumer, interval(timeout), max_return),
        _value,
    )


def ack(batch_id: int, msg_id: int | None) -> Call[None]:
    if msg_id is None:
        return Call("select pgq.ack(%s::bigint)", (batch_id,), lambda rows: None)
    return Call(
        "select pgq.ack(%s::bigint, %s::bigint)", (batch_id, msg_id), lambda rows: None
    )


def nack(
    message: Message, retry_after: timedelta | float | None, reason: str | None
) -> Call[bool]:
    """True if it comes again, false if it is a dead letter."""
    return Call(
        "select pgq.nack(%s::bigint, %s::bigint, %s::interval, %s::text) = 'retry'",
        (message.batch_id, message.msg_id, interval(retry_after), reason),
        _value,
    )


def seek(
    queue: str,
    consumer: str,
    to_time: datetime | str | None,
    to_tick: int | None,
    dry_run: bool,
) -> Call[Seek]:
    if (to_time is None) == (to_tick is None):
        raise TypeError("one of to_time and to_tick must be given")
    if to_tick is None:
        return Call(
            "select * from pgq.seek(%s::text, %s::text, %s::timestamptz, %s::boolean)",
            (queue, consumer, to_time, dry_run),
            lambda rows: Seek(*rows[0]),
        )
    return Call(
        "select * from pgq.seek(%s::text, %s::text, %s::bigint, %s::boolean)",
        (queue, consumer, to_tick, dry_run),
        lambda rows: Seek(*rows[0]),
    )


def dead_letters(queue: str, consumer: str | None) -> Call[list[DeadLetter]]:
    return Call(
        """select d.consumer_name, d.msg_id, d.type, d.payload, d.key, d.headers, d.retry_count,
                  d.created_at, d.extra3, d.extra4, d.reason, d.first_failed, d.last_failed, d.times
             from pgq.dead_letters(%s::text, %s::text) d""",
        (queue, consumer),
        lambda rows: [DeadLetter(*row) for row in rows],
    )


def dead_replay(queue: str, consumer: str, ids: Sequence[int] | None) -> Call[int]:
    return Call(
        "select pgq.dead_replay(%s::text, %s::text, %s::bigint[])",
        (queue, consumer, None if ids is None else list(ids)),
        _value,
    )


def dead_purge(
    queue: str, consumer: str, older_than: timedelta | float, ids: Sequence[int] | None
) -> Call[int]:
    return Call(
        "select pgq.dead_purge(%s::text, %s::text, %s::interval, %s::bigint[])",
        (queue, consumer, interval(older_than), None if ids is None else list(ids)),
        _value,
    )
