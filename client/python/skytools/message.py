"""What goes into a queue and comes out of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Union

#: A payload: text is stored as it is, anything else as JSON.
Payload = Union[str, Mapping[str, Any], Sequence[Any], int, float, bool]


@dataclass(frozen=True)
class Message:
    """A message, as ``pgq.receive`` gives it."""

    msg_id: int
    #: What ``ack`` and ``nack`` want to know.
    batch_id: int
    type: str | None
    payload: str | None
    key: str | None
    #: A dictionary; a string where another producer has put there what is no JSON.
    headers: Any
    #: How often it has come again.
    retry_count: int
    created_at: datetime
    extra3: str | None
    extra4: str | None

    def json(self) -> Any:
        """The payload, which is JSON. ValueError if it is not."""
        if self.payload is None:
            raise ValueError(f"message {self.msg_id} has no payload")
        return json.loads(self.payload)


@dataclass(frozen=True)
class DeadLetter:
    """A message that a consumer has given up."""

    consumer: str
    msg_id: int
    type: str | None
    payload: str | None
    key: str | None
    headers: Any
    retry_count: int
    created_at: datetime
    extra3: str | None
    extra4: str | None
    reason: str | None
    first_failed: datetime
    last_failed: datetime
    #: How often it was given up.
    times: int


@dataclass(frozen=True)
class Seek:
    """Where a consumer was moved."""

    from_tick: int
    to_tick: int
    #: About how many events lie between.
    events: int
