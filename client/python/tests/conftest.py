"""A queue of its own for each test, on the server that SKYTOOLS_DSN leads to."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import psycopg
import pytest

_NUMBERS = itertools.count(1)

#: Longest that anything may take on a busy machine.
PATIENCE = 60.0


@dataclass
class Queue:
    """A queue with a consumer, whose messages come again once, at once; and a table for effects."""

    dsn: str
    name: str
    conn: psycopg.Connection[tuple[Any, ...]]
    consumer: str = "c"

    def value(self, sql: str, *values: object) -> Any:
        row = self.conn.execute(cast(Any, sql), values).fetchone()
        assert row is not None
        return row[0]

    def seen(self) -> list[str]:
        rows = self.conn.execute("select what from seen where queue = %s order by id", (self.name,))
        return [what for (what,) in rows.fetchall()]

    def redeliver(self) -> None:
        """What waits to come again comes."""
        while self.value("select pgq.maint_retry_events()") > 0:
            pass
        self.tick()

    def tick(self) -> None:
        self.value("select pgq.force_tick(%s)", self.name)
        self.value("select pgq.ticker(%s)", self.name)

    def see(self, conn: Any, message: Any) -> Any:
        """A handler's effect."""
        sql = "insert into seen (queue, what) values (%s, %s)"
        return conn.execute(sql, (self.name, message.payload))

    def end_sessions(self) -> int:
        """End what the consumer's connections are; how many."""
        return int(
            self.value(
                """select count(pg_terminate_backend(pid)) from pg_stat_activity
                    where application_name = %s and pid <> pg_backend_pid()""",
                self.name,
            )
        )


def until(is_so: Callable[[], object]) -> None:
    end = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < end, "it does not come to be"
        time.sleep(0.02)


@pytest.fixture
def queue() -> Iterator[Queue]:
    dsn = os.environ["SKYTOOLS_DSN"]
    name = f"q{os.getpid()}_{next(_NUMBERS)}"
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            """create table if not exists seen (
                   id bigint generated always as identity, queue text, what text)"""
        )
        conn.execute("select pgq.create_queue(%s)", (name,))
        conn.execute("select pgq.set_queue_config(%s, 'max_retries', '1')", (name,))
        conn.execute("select pgq.set_queue_config(%s, 'retry_base', '0')", (name,))
        conn.execute("select pgq.subscribe(%s, 'c')", (name,))
        yield Queue(f"{dsn} application_name={name}", name, conn)
