"""Fresh databases for tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from holdfast.testing.databases import Databases, PostgresLog

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def databases(postgres_server: str) -> Iterator[Databases]:
    made = Databases(postgres_server)
    yield made
    made.close()


def test_each_one_is_empty_and_gone_afterwards(databases: Databases) -> None:
    with databases.fresh() as first, databases.fresh() as second:
        assert first != second
        with psycopg.connect(first) as connection:
            connection.execute(
                "insert into holdfast.event_store (tenant_id, event_name, payload) values ('t', 'order.placed', '{}')"
            )
        with psycopg.connect(second) as connection:
            assert connection.execute("select count(*) from holdfast.event_log").fetchone() == (0,)
        left_open = psycopg.connect(first)
    left_open.close()
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(first)


def test_what_another_program_publishes_is_seen(databases: Databases) -> None:
    with databases.fresh() as dsn, psycopg.connect(dsn, autocommit=True) as connection:
        publish = (
            "insert into holdfast.event_store (tenant_id, event_name, payload, event_key, headers) "
            "values ('acme', %s, '{\"n\": 1}', 'a', '{\"actor\": \"ada\"}')"
        )
        connection.execute(publish, ["order.placed"])
        log = PostgresLog(dsn, "holdfast")
        assert log.events() == []
        connection.execute(publish, ["order.paid"])
        (event,) = log.events()
        assert (event.name, event.tenant_id, event.key, event.payload) == ("order.paid", "acme", "a", {"n": 1})
        assert event.actor == "ada"


def test_a_database_without_tables_has_no_events(postgres_dsn: str) -> None:
    assert PostgresLog(postgres_dsn, "holdfast").events() == []
