"""Whatever a session does: what committed is what is stored, in the order in which it was recorded."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.orm import sessionmaker

from holdfast import SyncEventBus
from holdfast.integrations.sqlalchemy import collect_events
from tests.bus.waiting import sql

from .collecting import Base, Order, let_it_begin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy.orm import Session

STEPS = st.lists(
    st.sampled_from(
        ["record", "record", "change", "new", "forget", "flush", "savepoint", "release", "back", "commit", "rollback"]
    ),
    max_size=25,
)
_runs = itertools.count()


class Model:
    """What is meant: a pile of what the open transaction and its savepoints have recorded, and what has committed."""

    def __init__(self) -> None:
        self.committed: list[str] = []
        self.open: list[list[str]] = [[]]

    def record(self, name: str) -> None:
        self.open[-1].append(name)

    def commit(self) -> None:
        self.committed += [name for level in self.open for name in level]
        self.open = [[]]

    def rollback(self) -> None:
        self.open = [[]]

    def savepoint(self) -> None:
        self.open.append([])

    def release(self) -> None:
        self.open[-2:] = [self.open[-2] + self.open[-1]]

    def back(self) -> None:
        self.open.pop()


class Run:
    """The same steps taken by a session."""

    def __init__(self, session: Session, tenant: str) -> None:
        self.session, self.tenant, self.model = session, tenant, Model()
        self._savepoints: list[Any] = []
        self._names = (f"order.n{number}" for number in itertools.count())
        self._known = Order()
        session.add(self._known)
        session.commit()

    def take(self, step: str) -> None:
        if step not in ("release", "back") or self._savepoints:
            getattr(self, f"_{step}")()

    def _note(self, order: Order) -> None:
        name = next(self._names)
        order.record(name, tenant_id=self.tenant)
        self.model.record(name)

    def _record(self) -> None:
        self._note(self._known)

    def _change(self) -> None:
        self._known.status = next(self._names)

    def _new(self) -> None:
        order = Order()
        self.session.add(order)
        self._note(order)

    def _forget(self) -> None:
        self.session.expire(self._known)

    def _flush(self) -> None:
        self.session.flush()

    def _savepoint(self) -> None:
        self._savepoints.append(self.session.begin_nested())
        self.model.savepoint()

    def _release(self) -> None:
        self._savepoints.pop().commit()
        self.model.release()

    def _back(self) -> None:
        self._savepoints.pop().rollback()
        self.model.back()

    def _commit(self) -> None:
        self.session.commit()
        self._savepoints.clear()
        self.model.commit()

    def _rollback(self) -> None:
        self.session.rollback()
        self._savepoints.clear()
        self.model.rollback()


@pytest.fixture(params=["sqlite", "postgresql"])
def sessions(request: pytest.FixtureRequest) -> Iterator[tuple[Any, str]]:
    dsn = request.getfixturevalue("sqlite_dsn" if request.param == "sqlite" else "emptied_dsn")
    engine = sqlalchemy.create_engine(dsn.replace("postgresql:", "postgresql+psycopg:"))
    if request.param == "sqlite":
        let_it_begin(engine)
    bus = SyncEventBus(dsn, spool="off")
    bus.publish("warm.up")
    Base.metadata.create_all(engine)
    made = sessionmaker(engine)
    collect_events(made, bus)
    yield made, dsn
    engine.dispose()
    bus.close()


# The store is shared by all examples, which tell their events apart by the tenant.
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_what_committed_is_what_is_stored(sessions: tuple[Any, str], steps: list[str]) -> None:
    make, dsn = sessions
    with make() as session:
        run = Run(session, f"run-{next(_runs)}")
        for step in steps:
            run.take(step)
    rows = sql(dsn, "select event_name from event_log where tenant_id = ? order by position", run.tenant)
    assert [name for (name,) in rows] == run.model.committed
