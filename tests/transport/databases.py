"""A database for each of three services."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Self
from uuid import uuid4

import psycopg

from tests.conftest import _EMPTY, _migrate, dsn_of

_TABLES = """
    create table public.booked (id uuid, name text, key text, place int, at bigint generated always as identity);
    create index on public.booked (id);
    create table public.orders (key text);
"""


class Dsns(NamedTuple):
    """Of the databases of three services."""

    shop: str
    billing: str
    stock: str

    @classmethod
    def made(cls, server: str) -> Self:
        """New databases on a server, with the tables of Holdfast."""
        found = cls(*(dsn_of(server, f"holdfast_test_{uuid4().hex[:12]}") for _ in cls._fields))
        with psycopg.connect(server, autocommit=True) as admin, ThreadPoolExecutor(1) as thread:
            for dsn in found:
                admin.execute(f'create database "{name_of(dsn)}"')
                # In a thread, as this one may have a loop that runs.
                thread.submit(asyncio.run, _migrate(dsn)).result()
        return found

    def drop(self, server: str) -> None:
        with psycopg.connect(server, autocommit=True) as admin:
            for dsn in self:
                admin.execute(f'drop database if exists "{name_of(dsn)}" with (force)')


def prepared(dsns: Dsns) -> None:
    """Nothing is in them, and there is a table of what was booked."""
    for dsn in dsns:
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(_EMPTY)
            connection.execute(_TABLES)


def name_of(dsn: str) -> str:
    return dsn.partition("?")[0].rpartition("/")[2]
