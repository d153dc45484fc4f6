"""Several processes on one SQLite file, one of them killed in the middle of a write."""

from __future__ import annotations

import asyncio
import json
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.values import Cursor, Place
from tests.unit.sqlite_harness import event, leased, rows_of

ROOT = Path(__file__).parents[2]

HEAD = """
import asyncio, sys, uuid
from holdfast.event import NewEvent
from holdfast.stores.sqlite import SQLiteStore

def event(key):
    return NewEvent(uuid.uuid4(), "acme", "order.placed", key, b"1")

async def opened():
    store = SQLiteStore(sys.argv[1], timeout=20)
    await store.open()
    return store
"""

MIGRATE = """
async def main():
    sys.stdin.readline()
    store = SQLiteStore(sys.argv[1])
    print(len(await store.migrate()))
    await store.close()
"""

APPEND = """
async def main():
    store = await opened()
    for number in range(50):
        await store.append([event(f"{sys.argv[2]}-{number}")], atomic=True)
    await store.close()
"""

# Stops inside the transaction, the event written and not committed.
HANG = """
async def main():
    store = await opened()
    def write(session):
        with session.write():
            session.connection.execute("insert into event_store (event_name, payload) values ('lost', '1')")
            print("inside", flush=True)
            sys.stdin.readline()
    await store._writer.run(write)
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    code = f"{HEAD}{script}\nasyncio.run(main())"
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={"PYTHONPATH": str(ROOT / "src")},
    )  # fmt: skip


async def finished(process: subprocess.Popen[str]) -> str:
    out, _ = await asyncio.to_thread(process.communicate, "\n")
    assert process.returncode == 0
    return out.strip()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.db"


async def test_twenty_processes_migrate_one_file(path):
    processes = [start(MIGRATE, path) for _ in range(20)]
    applied = await asyncio.gather(*map(finished, processes))

    assert sorted(applied) == ["0"] * 19 + ["10"]
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("select count(*) from schema_migrations").fetchone() == (10,)
        assert sql.execute("pragma journal_mode").fetchone() == ("wal",)


async def test_several_processes_append_and_a_reader_misses_nothing(path):
    store = SQLiteStore(str(path))
    await store.open()
    processes = [start(APPEND, path, number) for number in range(3)]
    reader, seen, cursor = await store.reader(), [], Cursor("0")
    while True:
        over = all(process.poll() is not None for process in processes)
        page = await reader.read(cursor, limit=7, max_bytes=2**20)
        seen += [row.key for row in page.rows]
        cursor = page.cursor
        if over and not page.rows:
            break
    await reader.close()
    await asyncio.gather(*map(finished, processes))
    await store.close()

    assert len(seen) == 150
    for number in range(3):
        assert [key for key in seen if key.startswith(f"{number}-")] == [f"{number}-{one}" for one in range(50)]


async def test_a_process_killed_inside_a_transaction_leaves_nothing_of_it(path):
    store = SQLiteStore(str(path), timeout=20)
    await store.open()
    lease = await leased(store)
    await store.append([event()], atomic=True)

    process = start(HANG, path)
    assert await asyncio.to_thread(process.stdout.readline) == "inside\n"
    assert len(await rows_of(store)) == 1
    process.send_signal(signal.SIGKILL)
    await asyncio.to_thread(process.wait)
    process.stdin.close()
    process.stdout.close()

    await store.append([event()], atomic=True)
    assert [row.name for row in await rows_of(store)] == ["order.placed"] * 2
    assert await store.places([lease.slice]) == {lease.slice: Place(lease.cursor)}
    await store.close()
    with closing(sqlite3.connect(path)) as sql:
        assert sql.execute("pragma integrity_check").fetchone() == ("ok",)


async def test_a_commit_of_another_process_wakes_the_listener(path):
    store = SQLiteStore(str(path))
    await store.open()
    woken = asyncio.Event()
    listening = asyncio.create_task(store.listen(woken.set))
    await asyncio.wait_for(woken.wait(), 10)  # the first look
    woken.clear()

    await finished(start(APPEND, path, 0))
    await asyncio.wait_for(woken.wait(), 10)

    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await store.close()


async def test_closing_the_store_ends_listening(path):
    store = SQLiteStore(str(path))
    await store.open()
    woken = asyncio.Event()
    listening = asyncio.create_task(store.listen(woken.set))
    await asyncio.wait_for(woken.wait(), 10)

    await store.close()
    await asyncio.wait_for(listening, 10)


async def test_a_store_that_is_never_closed_does_not_keep_the_process(path):
    process = start(
        "async def main():\n    store = await opened()\n    await store.append([event('a')], atomic=True)", path
    )
    await asyncio.wait_for(finished(process), 30)


async def test_plain_clients_of_other_languages_see_json(path):
    store = SQLiteStore(str(path))
    await store.open()
    await store.append([event(payload=b'{"order_id": 7}')], atomic=True)
    with closing(sqlite3.connect(path)) as sql:
        assert json.loads(sql.execute("select payload from event_store").fetchone()[0]) == {"order_id": 7}
        assert sql.execute("select json_extract(payload, '$.order_id') from event_store").fetchone() == (7,)
    await store.close()
