"""What consumers of both kinds have: their settings, handlers by type, and counts."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from .message import Message

H = TypeVar("H", bound=Callable[..., object])

log = logging.getLogger("skytools")


@dataclass
class Stats:
    """Totals of a consumer."""

    #: Messages that their handlers have done.
    done: int = 0
    #: Messages that come again.
    retried: int = 0
    #: Messages that were given up.
    dead: int = 0
    reconnects: int = 0


class Registry(Generic[H]):
    """Which handler a message goes to."""

    def __init__(
        self, conninfo: str, queue: str, consumer: str, *, page: int = 100, wait: float = 30.0
    ) -> None:
        """A consumer that is subscribed to a queue.

        ``page`` messages at most, and what is done for them, are one transaction. ``wait`` is how
        many seconds it waits in the server at a time: so long an idle consumer holds a connection.
        """
        if page < 1:
            raise ValueError(f"page must be at least 1, not {page}")
        self.conninfo = conninfo
        self.queue = queue
        self.consumer = consumer
        self.page = page
        self.wait = wait
        self.stats = Stats()
        self._handlers: dict[str | None, H] = {}

    def handler(self, *types: str) -> Callable[[H], H]:
        """Decorate a function that handles messages of these types; without any, of all others.

        It gets the connection and the message. What it writes through the connection commits with
        the acknowledgement, and is undone when it fails. It must not end the transaction.
        """

        def register(function: H) -> H:
            for name in types or (None,):
                if name in self._handlers:
                    what = "other messages" if name is None else f'type "{name}"'
                    raise ValueError(f"{what} have a handler already")
                self._handlers[name] = function
            return function

        return register

    def _handler_of(self, message: Message) -> H:
        handler = self._handlers.get(message.type) if message.type is not None else None
        handler = handler or self._handlers.get(None)
        if handler is None:
            raise LookupError(f'no handler for messages of type "{message.type}"')
        return handler

    def _note(self, message: Message, reason: str, comes_again: bool) -> None:
        if comes_again:
            self.stats.retried += 1
            log.info("%s: message %s comes again: %s", self.consumer, message.msg_id, reason)
        else:
            self.stats.dead += 1
            log.warning("%s: message %s is dead: %s", self.consumer, message.msg_id, reason)

    def _say_away(self, attempts: int, error: Exception) -> None:
        level = logging.WARNING if attempts == 1 else logging.DEBUG
        log.log(level, "%s: trying again: %s", self.consumer, str(error).strip())

    def _say_lost(self, error: Exception) -> None:
        log.warning("%s: undone, and received again: %s", self.consumer, str(error).strip())

    def _say_back(self) -> None:
        log.info("%s: it works again", self.consumer)
