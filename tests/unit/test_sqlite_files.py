"""Which files the SQLite store takes, and what it says of those it refuses."""

from __future__ import annotations

import os
import re
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from holdfast.errors import (
    ConfigurationError,
    PermissionDenied,
    SchemaMismatch,
    StoreUnavailable,
    WrongStore,
)
from holdfast.stores.sqlite import SQLiteStore
from holdfast.stores.sqlite.files import network_type, path_of
from tests.unit.sqlite_harness import event, rows_of

MOUNTS = """\
/dev/vda / ext4 rw 0 0
server:/home /home nfs4 rw 0 0
/dev/vdb /home/me/disk ext4 rw 0 0
//server/share /mnt/with\\040space cifs rw 0 0
me@host:/ /mnt/far fuse.sshfs rw 0 0
server:/x /mnt/over nfs rw 0 0
/dev/vdc /mnt/over xfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/srv/events.db", None),
        ("/home/me/events.db", "nfs4"),
        ("/home/me/disk/events.db", None),
        ("/homes/events.db", None),
        ("/mnt/with space/events.db", "cifs"),
        ("/mnt/far/a/events.db", "fuse.sshfs"),
        ("/mnt/over/events.db", None),
    ],
)
def test_network_file_systems_are_told_by_their_mount(path, expected):
    assert network_type(path, MOUNTS) == expected


async def test_a_network_file_system_is_refused(tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    mounts.write_text(f"server:/x {tmp_path.resolve()} nfs4 rw 0 0\n")
    monkeypatch.setattr("holdfast.stores.sqlite.files._MOUNTS", mounts)

    await refused(tmp_path / "events.db", WrongStore, "network file system (nfs4)")
    assert not (tmp_path / "events.db").exists()


@pytest.mark.parametrize(
    ("dsn", "path"),
    [
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("sqlite:///shop.db", "shop.db"),
        ("sqlite:///data/shop.db", "data/shop.db"),
        ("sqlite:////var/lib/shop.db", "/var/lib/shop.db"),
        ("sqlite:///100%25 %23%3F.db", "100% #?.db"),
    ],
)
def test_a_dsn_names_a_path(dsn, path):
    assert path_of(dsn) == path


@pytest.mark.parametrize("dsn", ["postgresql://host/db", "sqlite://shop.db", "sqlite:///shop.db?mode=ro", "shop.db"])
def test_other_dsns_are_refused(dsn):
    with pytest.raises(ConfigurationError, match=re.escape(repr(dsn))):
        path_of(dsn)


async def refused(path: Path, error: type[Exception], *words: str) -> None:
    store = SQLiteStore(str(path))
    try:
        with pytest.raises(error) as caught:
            await store.open()
    finally:
        await store.close()
    for word in (str(path), *words):
        assert word in str(caught.value)


async def test_a_missing_directory_is_named(tmp_path):
    await refused(tmp_path / "missing" / "events.db", ConfigurationError, "does not exist")


async def test_a_directory_is_no_file(tmp_path):
    await refused(tmp_path, ConfigurationError, "is a directory")


async def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "events.db"
    path.write_bytes(b"not a database at all" * 100)

    await refused(path, WrongStore, "not an SQLite database")
    assert path.read_bytes() == b"not a database at all" * 100


async def test_a_newer_schema_is_refused(tmp_path):
    path = tmp_path / "events.db"
    await opened_once(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("insert into schema_migrations values (99, 'later', '')")

    await refused(path, SchemaMismatch, "99")


async def test_tables_of_another_program_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("create table workers (name text)")

    await refused(path, WrongStore, "workers")
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("select name from sqlite_master").fetchall() == [("workers",)]


async def test_the_file_may_be_the_application_s_own(tmp_path):
    path = tmp_path / "shop.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("create table orders (id integer)")

    await opened_once(path)


async def test_names_that_a_uri_would_misread_are_fine(tmp_path):
    path = tmp_path / "100% #1?mode=ro.db"
    await opened_once(path)

    assert path.exists()


async def test_a_read_only_file_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "events.db"
    await opened_once(path)
    path.chmod(0o444)

    with unprivileged(tmp_path):
        await refused(path, PermissionDenied, "chmod u+w")


async def test_a_read_only_directory_is_named_with_the_remedy(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o555)

    with unprivileged(tmp_path):
        await refused(folder / "events.db", PermissionDenied, "chmod u+w")


async def test_a_file_that_vanishes_does_not_come_back_empty(tmp_path):
    path = tmp_path / "events.db"
    store = SQLiteStore(str(path))
    await store.open()
    for left in tmp_path.glob("events.db*"):
        left.unlink()

    reader = await store.reader()
    with pytest.raises(StoreUnavailable):
        await reader.horizon()
    await reader.close()
    await store.close()
    assert not path.exists()


async def test_a_file_that_was_replaced_is_noticed_by_new_sessions(tmp_path):
    path, other = tmp_path / "events.db", tmp_path / "other.db"
    await opened_once(other)
    store = SQLiteStore(str(path))
    await store.open()
    for left in tmp_path.glob("events.db*"):
        left.unlink()
    other.rename(path)

    reader = await store.reader()
    with pytest.raises(WrongStore, match="replaced"):
        await reader.horizon()
    await reader.close()
    await store.close()


async def test_memory_is_lost_when_closed_and_says_so():
    store = SQLiteStore(None)
    await store.open()
    await store.append([event()], atomic=True)
    assert len(await rows_of(store)) == 1
    await store.close()

    with pytest.raises(StoreUnavailable):
        await store.append([event()], atomic=True)


async def test_migrating_again_applies_nothing(tmp_path):
    store = SQLiteStore(str(tmp_path / "events.db"))
    assert await store.migrate() == [
        "0001 tables",
        "0002 views",
        "0003 samples",
        "0004 seals",
        "0005 run_time",
        "0006 keys",
        "0007 looking",
        "0008 let_go",
        "0009 kept_for",
        "0010 scheduled",
    ]
    assert await store.migrate() == []
    await store.open()
    await store.close()
    await store.close()


async def opened_once(path: Path) -> None:
    store = SQLiteStore(str(path))
    await store.open()
    await store.close()


@contextmanager
def unprivileged(folder: Path):
    """File permissions do not bind root: be somebody else meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    reachable = [place for place in (folder, *folder.parents) if place.stat().st_uid == 0 and place != Path("/")]
    before = [(place, place.stat().st_mode) for place in reachable]
    for place, mode in before:
        if not mode & 0o001:
            place.chmod(mode | 0o011)
    for place in folder.rglob("*"):
        os.chown(place, 65534, 65534)
    os.chown(folder, 65534, 65534)
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)
        for place, mode in before:
            place.chmod(mode)
