"""The worker: whatever handlers and server do, each message's effects are there once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
import skytools
from skytools import Consumer, Message, Retry

from .conftest import Queue, until


def consumer(queue: Queue, **settings: Any) -> Consumer:
    return Consumer(queue.dsn, queue.name, queue.consumer, **settings)


@contextmanager
def running(worker: Consumer) -> Iterator[threading.Thread]:
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield thread
    finally:
        worker.stop()
        thread.join()


@pytest.mark.parametrize("page", [1, 2, 100])
def test_messages_go_to_the_handlers_of_their_types(queue: Queue, page: int) -> None:
    worker = consumer(queue, page=page)
    others: list[str | None] = []

    @worker.handler("a", "b")
    def known(conn: Any, message: Message) -> None:
        queue.see(conn, message)

    @worker.handler()
    def other(conn: Any, message: Message) -> None:
        others.append(message.type)

    for kind in ["a", "b", "c", "a"]:
        skytools.send(queue.conn, queue.name, kind, type=kind)
    stats = worker.run(idle=0.5)
    assert queue.seen() == ["a", "b", "a"]
    assert others == ["c"]
    assert (stats.done, stats.retried, stats.dead) == (4, 0, 0)
    with pytest.raises(ValueError):
        worker.handler("b")(known)
    with pytest.raises(ValueError):
        consumer(queue, page=0)


@pytest.mark.parametrize("page", [1, 100])
def test_what_fails_is_undone_and_put_aside(queue: Queue, page: int) -> None:
    worker = consumer(queue, page=page)

    @worker.handler("t")
    def handle(conn: Any, message: Message) -> None:
        queue.see(conn, message)
        if message.payload == "2":
            conn.execute("select 1/0")
        if message.payload == "3":
            raise Retry(3600, "not today")

    skytools.send_batch(queue.conn, queue.name, ["1", "2", "3", "4"], type="t")
    skytools.send(queue.conn, queue.name, "5", type="stranger")
    stats = worker.run(idle=0.5)
    assert queue.seen() == ["1", "4"]
    assert (stats.done, stats.retried) == (2, 3)
    queue.redeliver()
    stats = worker.run(idle=0.5)
    assert queue.seen() == ["1", "4"]
    assert (stats.done, stats.dead) == (2, 2)
    letters = skytools.dead_letters(queue.conn, queue.name)
    assert [letter.payload for letter in letters] == ["2", "5"]
    assert (letters[0].reason or "").startswith("DivisionByZero: ")
    assert (letters[1].reason or "").endswith('no handler for messages of type "stranger"')
    waits = "select ev_retry_after > now() + interval '50 min' from pgq.retry_queue join pgq.queue"
    assert queue.value(f"{waits} on queue_id = ev_queue where queue_name = %s", queue.name)


def test_a_page_that_breaks_in_the_middle_comes_again(queue: Queue) -> None:
    worker = consumer(queue)
    ended: list[int] = []

    @worker.handler()
    def handle(conn: Any, message: Message) -> None:
        queue.see(conn, message)
        if message.payload == "3" and not ended:
            ended.append(queue.end_sessions())

    skytools.send_batch(queue.conn, queue.name, [str(n) for n in range(5)])
    with running(worker):
        until(lambda: len(queue.seen()) == 5)
    assert ended == [1]
    assert queue.seen() == [str(n) for n in range(5)]
    assert (worker.stats.done, worker.stats.retried, worker.stats.reconnects) == (5, 0, 1)


def test_a_worker_whose_waiting_ends_goes_on(queue: Queue) -> None:
    worker = consumer(queue)
    worker.handler()(queue.see)
    with running(worker):
        until(queue.end_sessions)
        skytools.send(queue.conn, queue.name, "x")
        until(lambda: queue.seen() == ["x"])
    assert worker.stats.reconnects >= 1


def test_a_stop_ends_waiting_and_lets_the_message_at_hand_end(queue: Queue) -> None:
    worker = consumer(queue, wait=3600)
    with running(worker) as thread:
        waiting = "select count(*) from pg_stat_activity where application_name = %s and query like"
        until(lambda: queue.value(f"{waiting} 'call pgq.wait%%'", queue.name) == 1)
        worker.stop()
        thread.join(60)
        assert not thread.is_alive()

    worker = consumer(queue)

    @worker.handler()
    def handle(conn: Any, message: Message) -> None:
        queue.see(conn, message)
        if message.payload == "2":
            worker.stop()

    skytools.send_batch(queue.conn, queue.name, ["1", "2", "3"])
    assert worker.run().done == 2
    assert queue.seen() == ["1", "2"]
    worker = consumer(queue)
    worker.handler()(queue.see)
    worker.run(idle=0.5)
    assert queue.seen() == ["1", "2", "3"]


PROGRAM = """
import sys, skytools
worker = skytools.Consumer(sys.argv[1], sys.argv[2], "c", wait=3600)
@worker.handler()
def handle(conn, message):
    conn.execute("insert into seen (queue, what) values (%s, %s)", (sys.argv[2], message.payload))
worker.run()
print("ended")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_a_program(queue: Queue, number: signal.Signals) -> None:
    command = [sys.executable, "-c", PROGRAM, queue.dsn, queue.name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        skytools.send(queue.conn, queue.name, "x")
        until(lambda: queue.seen() == ["x"])
        os.kill(program.pid, number)
        said, _ = program.communicate(timeout=60)
    assert (said, program.returncode) == ("ended\n", 0)


def test_of_two_workers_one_waits_and_takes_over(queue: Queue) -> None:
    one, two = consumer(queue), consumer(queue)
    handling, go_on = threading.Event(), threading.Event()

    @one.handler()
    def slow(conn: Any, message: Message) -> None:
        queue.see(conn, message)
        handling.set()
        go_on.wait(60)

    two.handler()(queue.see)
    skytools.send_batch(queue.conn, queue.name, ["1", "2"])
    with running(one):
        handling.wait(60)
        with running(two):
            locked = """select count(*) from pg_stat_activity
                         where application_name = %s and wait_event_type = 'Lock'"""
            until(lambda: queue.value(locked, queue.name) == 1)
            go_on.set()
            until(lambda: len(queue.seen()) == 2)
            one.stop()
            skytools.send(queue.conn, queue.name, "3")
            until(lambda: len(queue.seen()) == 3)
    assert queue.seen() == ["1", "2", "3"]


def test_what_waiting_does_not_heal_is_raised(queue: Queue) -> None:
    with pytest.raises(psycopg.errors.UndefinedObject):
        Consumer(queue.dsn, queue.name, "nobody").run()
    with pytest.raises(psycopg.errors.UndefinedObject):
        Consumer(queue.dsn, "nowhere", "c").run()
    with pytest.raises(psycopg.OperationalError):
        Consumer("host=/nonexistent", queue.name, "c").run()
    queue.conn.execute("drop role if exists skytools_nobody; create role skytools_nobody login")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        Consumer(f"{queue.dsn} user=skytools_nobody", queue.name, "c").run()
