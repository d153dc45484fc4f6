"""A prepared database holds what its load says, and nothing else."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from holdfast.bench.draining import drain
from holdfast.bench.loads import Load
from holdfast.bench.looking import make_looker
from holdfast.bench.place_postgres import PostgresPlace
from holdfast.bench.place_sqlite import SQLitePlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.places import Place


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, tmp_path) -> Iterator[Place]:
    if request.param == "sqlite":
        made: Place = SQLitePlace(tmp_path)
    else:
        made = PostgresPlace(request.getfixturevalue("postgres_server"), "of the tests")
    yield made
    made.close()


@contextmanager
def asking(dsn: str) -> Iterator[tuple[str, object]]:
    looker = make_looker(dsn)
    yield ("" if dsn.startswith("sqlite") else "holdfast."), looker.ask
    looker.close()


def test_history_lies_below_the_cursors_with_its_receipts(place):
    with place.loaded(Load(events=30, keys=7, history=50)) as dsn:
        with asking(dsn) as (schema, ask):
            assert ask(f"select count(*) from {schema}event_consumers") == 50
            assert ask(f"select count(*) from {schema}event_log where event_name = 'bench.event'") == 80
            new = f"{schema}event_log where id not in (select event_id from {schema}receipts)"
            assert ask(f"select count(distinct event_key) from {new}") == 7
        numbers = drain(dsn, 30)
        assert (numbers["lost"], numbers["repeated"]) == (0, 0), "none of the history was handed out"


def test_subscriptions_share_the_events_out(place):
    with place.loaded(Load(events=40, subscriptions=4)) as dsn:
        numbers = drain(dsn, 40, subscriptions=4)
        assert (numbers["lost"], numbers["repeated"]) == (0, 0)
        with asking(dsn) as (schema, ask):
            shares = f"select count(*) as share from {schema}event_consumers group by consumer_name"
            assert ask(f"select count(*) from ({shares}) as shares where share = 10") == 4


def test_each_measurement_has_a_copy_of_its_own_and_a_large_one_the_only_one(place):
    load = Load(events=10)
    for keep in (True, True, False):
        with place.loaded(load, keep=keep) as dsn:
            assert drain(dsn, 10)["repeated"] == 0
            with asking(dsn) as (schema, ask):
                assert ask(f"select count(*) from {schema}event_consumers") == 10


def test_an_old_history_is_a_partition_that_can_be_dropped(postgres_server):
    place = PostgresPlace(postgres_server, "of the tests")
    with (
        place.loaded(Load(history=20, is_old=True), keep=False) as dsn,
        psycopg.connect(dsn, autocommit=True) as connection,
    ):
        yesterday = "to_char((clock_timestamp() at time zone 'UTC')::date - 1, 'YYYYMMDD')"
        dropped = connection.execute(f"select * from holdfast.drop_day({yesterday})").fetchone()
        assert dropped == (20, [])
