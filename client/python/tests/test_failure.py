"""What is made of errors."""

from __future__ import annotations

import psycopg
import pytest
from skytools.failure import Outage, heals, reason_of


@pytest.mark.parametrize(
    "text",
    [
        "host=a password=QXZ dbname=b",
        "password = 'Q XZ' dbname=b",
        "Password: \"QXZ\"",
        "postgres://u:QXZ@h/d",
        "postgres://u:Q@XZ@h/d",
    ],
)
def test_a_reason_has_no_password(text: str) -> None:
    reason = reason_of(RuntimeError(text))
    assert "Q" not in reason and "XZ" not in reason and "***" in reason


def test_a_reason_is_short_and_has_no_null_character() -> None:
    reason = reason_of(ValueError("a\0b" + "x" * 5000))
    assert reason.startswith("ValueError: a\N{REPLACEMENT CHARACTER}b")
    assert len(reason) == 2000


def test_outages_heal_and_mistakes_do_not() -> None:
    assert heals(psycopg.OperationalError("no connection"))
    assert heals(psycopg.errors.AdminShutdown())
    assert heals(psycopg.errors.DiskFull())
    assert heals(psycopg.errors.ReadOnlySqlTransaction())
    assert not heals(psycopg.errors.UndefinedObject())
    assert not heals(psycopg.errors.QueryCanceled())
    assert not heals(psycopg.DataError("no text"))


def test_pauses_grow_up_to_a_quarter_of_a_minute() -> None:
    outage = Outage()
    pauses = [outage.pause() for _ in range(12)]
    assert 0.05 <= pauses[0] <= 0.1 and 7.5 <= pauses[-1] <= 15
    assert outage.over() and not outage.over()
