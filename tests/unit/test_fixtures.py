"""The fixtures themselves: a fresh database each, and sample events that are worth the name."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest


@pytest.mark.parametrize("run", [1, 2])
def test_each_test_gets_an_empty_database(postgres_dsn: str, run: int) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("create table only_once (run int)")
        connection.execute("insert into only_once values (%s)", [run])
    # Left open on purpose: the fixture drops the database all the same.
    left_open = psycopg.connect(postgres_dsn)
    assert left_open.execute("select run from only_once").fetchone() == (run,)
    left_open.close()


def test_the_sample_events_have_what_a_publish_takes(webhooks: list[dict[str, Any]]) -> None:
    assert len(webhooks) >= 10
    for event in webhooks:
        assert {"name", "tenant_id", "key", "payload"} <= event.keys()
        assert event["name"].startswith("github.")
