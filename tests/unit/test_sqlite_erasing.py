"""What an SQLite file still holds after an erasure, and what takes it out."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from holdfast.event import NewEvent
from holdfast.ids import new_id
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector

if TYPE_CHECKING:
    from pathlib import Path

SECRET = b"ann@example.org"


async def test_vacuum_and_a_checkpoint_leave_nothing_of_it_in_the_files(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    store = make_store(f"sqlite:///{path}")
    await store.migrate()
    inspector, operator = make_inspector(store)
    payload = b'"%s"' % (SECRET * 100)
    await store.append([NewEvent(new_id(), "acme", "a", "ann", payload) for _ in range(100)], atomic=True)
    erased = await operator.erase(key="ann", actor="bob")
    assert erased.events == 100
    assert any("VACUUM" in one for one in erased.left)
    await inspector.close()
    await store.close()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("vacuum")
        connection.execute("pragma wal_checkpoint(truncate)")
    left = b"".join(one.read_bytes() for one in tmp_path.iterdir())
    assert b"holdfast.erased" in left
    assert SECRET not in left
