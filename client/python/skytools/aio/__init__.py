"""The same for asyncio: functions take a ``psycopg.AsyncConnection``, handlers are coroutines."""

from .consumer import Consumer
from .queue import (
    ack,
    dead_letters,
    dead_purge,
    dead_replay,
    nack,
    receive,
    seek,
    send,
    send_batch,
    subscribe,
    unsubscribe,
    wait_receive,
)

__all__ = [
    "Consumer",
    "ack",
    "dead_letters",
    "dead_purge",
    "dead_replay",
    "nack",
    "receive",
    "seek",
    "send",
    "send_batch",
    "subscribe",
    "unsubscribe",
    "wait_receive",
]
