"""The functions, over a plain connection."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any, cast

import psycopg
import pytest
import skytools
from skytools import Message

from .conftest import Queue


def receive(queue: Queue, count: int = 100) -> list[Message]:
    queue.tick()
    return skytools.receive(queue.conn, queue.name, queue.consumer, count)


def test_what_is_sent_is_received(queue: Queue) -> None:
    text = 'ä\n"\\'
    one = skytools.send(queue.conn, queue.name, text, type="t", key="k", headers={"a": [1, None]})
    two = skytools.send(queue.conn, queue.name, {"ä": 1.5})
    first, second = receive(queue)
    assert (first.msg_id, second.msg_id) == (one, two)
    assert (first.type, first.payload, first.key) == ("t", text, "k")
    assert (first.headers, first.retry_count) == ({"a": [1, None]}, 0)
    assert first.created_at.tzinfo is not None
    assert (second.type, second.json(), second.key) == ("default", {"ä": 1.5}, None)
    skytools.ack(queue.conn, first.batch_id, first.msg_id)
    (rest,) = receive(queue)
    assert rest.msg_id == second.msg_id
    skytools.ack(queue.conn, rest.batch_id)
    assert receive(queue) == []


def test_a_batch_is_sent_in_order(queue: Queue) -> None:
    headers = [{"n": 1}, None]
    ids = skytools.send_batch(queue.conn, queue.name, ["a", "b"], keys=["k", None], headers=headers)
    ids += skytools.send_batch(queue.conn, queue.name, [{"c": 1}, [2], 3, True], type="json")
    assert skytools.send_batch(queue.conn, queue.name, []) == []
    messages = receive(queue)
    assert [message.msg_id for message in messages] == ids
    assert [message.key for message in messages[:2]] == ["k", None]
    assert [message.headers for message in messages[:2]] == headers
    assert [message.json() for message in messages[2:]] == [{"c": 1}, [2], 3, True]


@pytest.mark.parametrize("payload", [b"bytes", None])
def test_what_is_neither_text_nor_json_is_refused(queue: Queue, payload: Any) -> None:
    with pytest.raises(TypeError):
        skytools.send(queue.conn, queue.name, payload)
    with pytest.raises(TypeError):
        skytools.send_batch(queue.conn, queue.name, [payload, payload])
    with pytest.raises(TypeError):
        skytools.send_batch(queue.conn, queue.name, ["text", {"no": "text"}])


def test_sending_belongs_to_the_transaction(queue: Queue) -> None:
    with pytest.raises(ZeroDivisionError), queue.conn.transaction():
        skytools.send(queue.conn, queue.name, "never")
        raise ZeroDivisionError
    assert receive(queue) == []


def test_waiting_ends_with_a_message_or_with_the_time(queue: Queue) -> None:
    with psycopg.connect(queue.dsn, autocommit=True) as conn:
        assert skytools.wait_receive(conn, queue.name, queue.consumer, 0) == []
        sender = threading.Timer(0.2, skytools.send, (queue.conn, queue.name, {"n": 1}))
        sender.start()
        (message,) = skytools.wait_receive(conn, queue.name, queue.consumer, timedelta(minutes=1))
        sender.join()
        assert (message.json(), message.headers) == ({"n": 1}, None)
        skytools.ack(conn, message.batch_id)


def test_what_is_not_done_comes_again_and_then_is_dead(queue: Queue) -> None:
    skytools.send(queue.conn, queue.name, "x", key="k")
    (message,) = receive(queue)
    assert skytools.nack(queue.conn, message, 0, "first")
    skytools.ack(queue.conn, message.batch_id)
    queue.redeliver()
    (again,) = receive(queue)
    assert (again.msg_id, again.retry_count) == (message.msg_id, 1)
    assert not skytools.nack(queue.conn, again, reason="second")
    skytools.ack(queue.conn, again.batch_id)

    (letter,) = skytools.dead_letters(queue.conn, queue.name)
    assert (letter.consumer, letter.msg_id, letter.key) == ("c", message.msg_id, "k")
    assert (letter.payload, letter.reason, letter.times) == ("x", "second", 1)
    assert skytools.dead_letters(queue.conn, queue.name, "other") == []
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        skytools.unsubscribe(queue.conn, queue.name, "c")
    assert skytools.dead_replay(queue.conn, queue.name, "c", [letter.msg_id + 1]) == 0
    assert skytools.dead_replay(queue.conn, queue.name, "c") == 1
    queue.redeliver()
    (anew,) = receive(queue)
    assert anew.msg_id == message.msg_id
    queue.value("select pgq.set_queue_config(%s, 'max_retries', '0')", queue.name)
    skytools.nack(queue.conn, anew)
    assert skytools.dead_purge(queue.conn, queue.name, "c", timedelta(days=1)) == 0
    assert skytools.dead_purge(queue.conn, queue.name, "c", ids=[anew.msg_id]) == 1


def test_a_consumer_comes_goes_and_is_moved(queue: Queue) -> None:
    skytools.send(queue.conn, queue.name, "x")
    assert skytools.subscribe(queue.conn, queue.name, "d", "-infinity")
    assert not skytools.subscribe(queue.conn, queue.name, "d")
    (message,) = receive(queue)
    skytools.ack(queue.conn, message.batch_id)
    assert receive(queue) == []
    moved = skytools.seek(queue.conn, queue.name, "c", to_tick=1, dry_run=True)
    assert moved.to_tick == 1 and moved.from_tick > 1 and moved.events >= 1
    skytools.seek(queue.conn, queue.name, "c", to_time="-infinity")
    assert [message.payload for message in receive(queue)] == ["x"]
    with pytest.raises(TypeError):
        skytools.seek(queue.conn, queue.name, "c")
    assert skytools.unsubscribe(queue.conn, queue.name, "d")
    assert not skytools.unsubscribe(queue.conn, queue.name, "d")


def test_a_message_without_payload_has_no_json(queue: Queue) -> None:
    queue.value("select pgq.insert_event(%s, 't', null)", queue.name)
    queue.value("select pgq.insert_event(%s, 't', 'd', 'k', 'no json', null, 'e4')", queue.name)
    nothing, other = receive(queue)
    with pytest.raises(ValueError):
        nothing.json()
    assert (cast(str, other.headers), other.extra4) == ("no json", "e4")
