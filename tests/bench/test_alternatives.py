"""What Holdfast is measured beside: each alternative that is to be had here works, and what it loses is counted."""

from __future__ import annotations

import pickle
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import psycopg
import pytest

from holdfast.bench import alternatives
from holdfast.bench.alternatives import measures, sessions
from holdfast.bench.alternatives.alternative import missing_package
from holdfast.bench.alternatives.celery import CELERY
from holdfast.bench.alternatives.outbox import OUTBOX
from holdfast.bench.alternatives.pgmq import PGMQ
from holdfast.bench.alternatives.pgque import PGQUE
from holdfast.bench.apart import apart
from holdfast.bench.figures import scale_of
from holdfast.bench.loads import Load
from holdfast.bench.place_postgres import PostgresPlace

if TYPE_CHECKING:
    from collections.abc import Iterator

    from holdfast.bench.alternatives.alternative import Alternative

EVENTS = 50


@pytest.fixture(scope="module")
def place(postgres_server: str) -> Iterator[PostgresPlace]:
    place = PostgresPlace(postgres_server, "the server of the tests")
    yield place
    place.close()


@pytest.fixture
def dsn(place: PostgresPlace) -> Iterator[str]:
    """Of a database as the benchmark hands it out, in its own way of writing DSNs."""
    with place.loaded(Load(0)) as dsn:
        yield dsn


@pytest.fixture(params=alternatives.ALL, ids=lambda alternative: alternative.name)
def alternative(request: pytest.FixtureRequest) -> Alternative:
    found: Alternative = request.param
    if (reason := found.missing()) is not None:
        pytest.skip(f"{found.name}: {reason}")
    return found


def roles(server: str) -> set[str]:
    with psycopg.connect(server) as connection:
        return {name for (name,) in connection.execute("select rolname from pg_roles")}


def test_it_drains_what_is_there_and_leaves_the_server_as_it_was(alternative, dsn, postgres_server):
    before = roles(postgres_server)
    numbers = apart(measures.drain, alternative, dsn, EVENTS)
    assert (numbers["lost"], numbers["repeated"], numbers["left"]) == (0, 0, 0)
    assert numbers["events_per_s"] == pytest.approx(EVENTS / numbers["seconds"])
    assert ("dead_rows_per_event" in numbers) is alternative.in_postgres
    assert roles(postgres_server) == before


def test_it_drains_while_vacuum_is_held_back(alternative, dsn):
    if not alternative.in_postgres:
        pytest.skip(f"{alternative.name} keeps no rows in PostgreSQL")
    numbers = apart(measures.drain_held_back, alternative, dsn, EVENTS)
    assert (numbers["lost"], numbers["repeated"], numbers["left"]) == (0, 0, 0)


def test_it_publishes(alternative, dsn):
    alone = apart(measures.publish_alone, alternative, dsn, EVENTS)
    assert 0 < alone["p50_ms"] <= alone["p99_ms"]


def test_it_publishes_in_bulk(alternative, dsn):
    assert apart(measures.publish_bulk, alternative, dsn, EVENTS)["events_per_s"] > 0


def test_an_idle_worker_is_woken(alternative, dsn):
    numbers = apart(measures.idle_latency, alternative, dsn, 3)
    assert (numbers["samples"], numbers["lost"], numbers["repeated"]) == (3, 0, 0)


# ---- honesty


def test_what_is_marked_done_without_its_handler_is_lost_and_a_second_call_is_repeated(dsn, monkeypatch):
    monkeypatch.setattr(measures, "_LIMIT_S", 0.2)

    @asynccontextmanager
    async def careless(dsn, note):
        for number in (0, *range(EVENTS - 1)):  # the first twice, the last never
            note({"order_id": number})
        with sessions.connect(dsn) as connection:
            connection.execute("update outbox set done_at = now()")
        yield

    numbers = measures.drain(replace(OUTBOX, working=careless), dsn, EVENTS)
    assert (numbers["lost"], numbers["repeated"], numbers["left"]) == (1, 1, 0)


def test_what_is_not_done_in_time_is_left_and_does_not_count(dsn, monkeypatch):
    monkeypatch.setattr(measures, "_LIMIT_S", 0.2)

    @asynccontextmanager
    async def slow(dsn, note):
        for number in range(10):
            note({"order_id": number})
        with sessions.connect(dsn) as connection:
            connection.execute("update outbox set done_at = now() where id <= 8")
        yield

    numbers = measures.drain(replace(OUTBOX, working=slow), dsn, EVENTS)
    assert (numbers["lost"], numbers["repeated"], numbers["left"]) == (0, 0, EVENTS - 8)
    assert numbers["events_per_s"] == pytest.approx(8 / numbers["seconds"])
    assert numbers["dead_rows_per_event"] == pytest.approx(8 / EVENTS)


def test_a_worker_that_fails_ends_its_measurement(dsn):
    @asynccontextmanager
    async def broken(dsn, note):
        async def fail():
            raise RuntimeError("no such queue")

        async with sessions.running(fail()):
            yield

    with pytest.raises(ExceptionGroup) as failed:
        measures.drain(replace(OUTBOX, working=broken), dsn, EVENTS)
    assert failed.group_contains(RuntimeError, match="no such queue")


def test_the_old_snapshot_holds_vacuum_back(dsn):
    question = "select count(*) from pg_stat_activity where datname = current_database() and backend_xmin is not null and state = 'idle in transaction'"
    with sessions.looking(question, dsn) as holders:
        assert holders() == 0
        with sessions.old_snapshot(dsn):
            assert holders() == 1


# ---- which, and why others not


def test_every_available_one_has_its_figures_which_can_travel_to_another_process():
    figures = alternatives.figures_of(scale_of("full"))
    names = [figure.name for figure in figures]
    assert len(set(names)) == len(names)
    for found in alternatives.available():
        measured = {
            figure.name.removeprefix(f"{found.name}: "): figure for figure in figures if found.name in figure.name
        }
        assert measured.keys() >= {"publish alone", "publish in bulk", "drain", "idle latency"}
        assert ("drain, vacuum held back" in measured) is found.in_postgres
        assert measured["drain"].events == scale_of("full").events // (10 if found.is_slow else 1)
    travelled = [pickle.loads(pickle.dumps(figure)) for figure in figures]
    assert [(figure.name, figure.events) for figure in travelled] == [
        (figure.name, figure.events) for figure in figures
    ]
    assert all(figure.stored == 0 for figure in figures)


def test_each_of_the_others_is_left_out_with_the_reason():
    names = {alternative.name for alternative in alternatives.available()}
    assert OUTBOX.name in names
    assert names.isdisjoint(alternatives.left_out())
    assert names | alternatives.left_out().keys() == {alternative.name for alternative in alternatives.ALL}


@pytest.mark.parametrize(
    ("alternative", "variable", "script"),
    [(PGMQ, "HOLDFAST_BENCH_PGMQ", "pgmq-extension/sql/pgmq.sql"), (PGQUE, "HOLDFAST_BENCH_PGQUE", "sql/pgque.sql")],
)
def test_a_checkout_is_named_by_the_environment(alternative, variable, script, monkeypatch, tmp_path):
    monkeypatch.delenv(variable, raising=False)
    assert alternative.missing() == f"the environment variable {variable} names no checkout of it"
    monkeypatch.setenv(variable, str(tmp_path))
    assert alternative.missing() == f"the checkout that {variable} names has no {script}"
    (tmp_path / script).parent.mkdir(parents=True)
    (tmp_path / script).touch()
    assert alternative.missing() is None


def test_a_package_is_added_by_the_extra_and_redis_by_whoever_has_one(monkeypatch):
    assert missing_package("no_such_queue") == "it is not installed:  pip install 'holdfast[bench]'  adds it"
    monkeypatch.delenv("HOLDFAST_BENCH_REDIS", raising=False)
    monkeypatch.setenv("PATH", "")
    assert (
        CELERY.missing()
        == "no redis-server is on the PATH, and the environment variable HOLDFAST_BENCH_REDIS names none"
    )
