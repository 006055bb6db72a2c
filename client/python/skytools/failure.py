"""What has failed: a message, a page, or the server."""

from __future__ import annotations

import random
import re
from datetime import timedelta

import psycopg

#: Longest reason that is sent; the server keeps it with the dead letter.
_LONGEST_REASON = 2000

#: What looks like a password: in a connection string, and in a URI. The letter's readers may be
#: others than the log's.
_SECRETS = (
    (
        re.compile(r"""(passw(?:or)?d\s*[=:]\s*)('(?:[^'\\]|\\.)*'|"[^"]*"|\S+)""", re.IGNORECASE),
        r"\1***",
    ),
    (re.compile(r"(://[^\s:/@]*:)\S*@"), r"\1***@"),
)

#: Classes of SQLSTATE, and single ones, of a server that is away, full, or becoming another one.
_WAIT_FOR = ("08", "53", "57P", "25006", "40001", "40P01")


class Retry(Exception):
    """Raised by a handler: the message comes again, after this time or when the queue says so.

    It counts as a failure: in the end the message is a dead letter.
    """

    def __init__(self, after: timedelta | float | None = None, reason: str | None = None) -> None:
        super().__init__(reason or "asked for a retry")
        self.after = after


class PageLost(Exception):
    """Somebody else has received the messages since, or the consumer was moved."""


def reason_of(error: Exception) -> str:
    """What a dead letter says."""
    text = str(error) if isinstance(error, Retry) else f"{type(error).__name__}: {error}"
    for secret, instead in _SECRETS:
        text = secret.sub(instead, text)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")[:_LONGEST_REASON]


def heals(error: psycopg.Error) -> bool:
    """True if it may go away by itself."""
    if error.sqlstate is None:
        # Not the server's words: the connection broke, or there is none.
        return isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError))
    return error.sqlstate.startswith(_WAIT_FOR)


class Outage:
    """Pauses between attempts: 0.1 s, twice as long each time, up to 15 s."""

    def __init__(self) -> None:
        self.attempts = 0

    def pause(self) -> float:
        self.attempts += 1
        longest = min(0.1 * 2.0 ** min(self.attempts - 1, 10), 15.0)
        return longest * random.uniform(0.5, 1.0)

    def over(self) -> bool:
        """It works again; true if it did not."""
        had = self.attempts > 0
        self.attempts = 0
        return had
