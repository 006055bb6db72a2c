"""Queues in PostgreSQL, with the extension pgq 4.1: send, receive, ack.

Functions here take a connection of psycopg and do their work in its transaction; those of
``skytools.aio`` take an asynchronous one. ``Consumer`` is a whole worker: it waits, hands messages
to handlers, puts aside what fails, and goes on after outages.
"""

from .consumer import Consumer
from .failure import Retry
from .message import DeadLetter, Message, Payload, Seek
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
from .registry import Stats

__all__ = [
    "Consumer",
    "DeadLetter",
    "Message",
    "Payload",
    "Retry",
    "Seek",
    "Stats",
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
