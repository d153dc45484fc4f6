"""The proxy does the harm that it says, and nothing else."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.chaos.protocol import Framer, Requests, query
from tests.chaos.proxy import Harm, Proxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


@pytest.fixture
async def proxy(postgres_dsn: str) -> AsyncIterator[Proxy]:
    async with Proxy(*address(postgres_dsn)) as proxy:
        yield proxy


@pytest.fixture
def dsn(proxy: Proxy, postgres_dsn: str) -> str:
    """The database of the test, through the proxy."""
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("create table notes (text text)")
    return proxy.dsn(postgres_dsn.rpartition("/")[2])


def address(dsn: str) -> tuple[int, str]:
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return int(parts["port"] or 5432), str(parts["host"])


async def connect(dsn: str, name: str = "test") -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, application_name=name, connect_timeout=5)


def notes(dsn: str) -> list[str]:
    with psycopg.connect(dsn) as connection:
        return [text for (text,) in connection.execute("select text from notes order by text")]


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the end of a link has no event
            await asyncio.sleep(0.005)


def commits(_, request) -> bool:
    return request.commits


class TestProtocol:
    def test_messages_are_found_however_the_stream_is_cut(self) -> None:
        messages = [query("select 1"), query(""), query("x" * 70_000)]
        stream = b"".join(messages)
        for step in (1, 3, 7, 1000, len(stream)):
            framer = Framer()
            found = [one for at in range(0, len(stream), step) for one in framer.take(stream[at : at + step])]
            assert found == messages

    @pytest.mark.parametrize(
        ("sql", "state", "expected"),
        [
            ("commit", b"T", True),
            ("COMMIT;", b"T", True),
            ("select 1; commit; reset all", b"T", True),
            ("insert into notes values ('a')", b"I", True),
            ("insert into notes values ('a')", b"T", False),
            ("prepare transaction 'x'", b"T", True),
            ("rollback", b"T", False),
            ("select 'commit'", b"I", False),
            ("-- insert into\nselect 1", b"I", False),
        ],
    )
    def test_a_request_that_may_commit_is_known(self, sql, state, expected) -> None:
        requests = Requests()
        requests.state = state
        assert [request.commits for request in requests.take(query(sql))] == [expected]


class TestWithoutHarm:
    async def test_everything_passes(self, dsn) -> None:
        async with await connect(dsn) as connection:
            async with connection.transaction(), connection.pipeline():
                for n in range(200):
                    await connection.execute("insert into notes values (%s)", [f"{n:03}" * 100])
            async with connection.cursor().copy("copy notes from stdin") as copy:
                await copy.write_row(["copied"])
            with pytest.raises(psycopg.errors.DivisionByZero):
                await connection.execute("select 1 / 0")
            cursor = await connection.execute("select text from notes", prepare=True)
            assert len(await cursor.fetchall()) == 201

    async def test_a_request_to_cancel_passes(self, dsn) -> None:
        async with await connect(dsn) as connection:
            sleeping = asyncio.ensure_future(connection.execute("select pg_sleep(60)"))
            await asyncio.sleep(0.1)
            await connection.cancel_safe()
            with pytest.raises(psycopg.errors.QueryCanceled):
                await sleeping

    async def test_a_link_ends_with_its_client(self, dsn, proxy) -> None:
        connection = await connect(dsn, "ours")
        assert [link.application for link in proxy.links] == ["ours"]
        await connection.close()
        await until(lambda: not proxy.links)

    async def test_a_server_that_is_away_ends_the_connection(self, dsn, proxy) -> None:
        proxy.target = ("127.0.0.1", 1)
        with pytest.raises(psycopg.OperationalError):
            await connect(dsn)


class TestTraps:
    @pytest.mark.parametrize("in_transaction", [True, False])
    @pytest.mark.parametrize("prepared", [True, False])
    @pytest.mark.parametrize(("harm", "is_there"), [(Harm.CUT_BEFORE, False), (Harm.LOSE_ANSWER, True)])
    async def test_a_commit_is_cut_before_or_after(
        self, dsn, proxy, postgres_dsn, harm, is_there, prepared, in_transaction
    ) -> None:
        connection = await connect(dsn)
        with proxy.trap(harm, commits) as trap:
            with pytest.raises(psycopg.OperationalError):
                if in_transaction:
                    async with connection.transaction():
                        await connection.execute("insert into notes values (%s)", ["a"], prepare=prepared)
                else:
                    await connection.execute("insert into notes values (%s)", ["a"], prepare=prepared)
        assert trap.sprung == 1
        assert notes(postgres_dsn) == (["a"] if is_there else [])

    async def test_a_commit_is_cut_while_it_is_sent(self, dsn, proxy) -> None:
        connection = await connect(dsn)
        with proxy.trap(Harm.CUT_ON, commits) as trap:
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("insert into notes values ('a')")
        assert trap.sprung == 1

    async def test_an_answer_is_swallowed_and_the_connection_stays(self, dsn, proxy, postgres_dsn) -> None:
        connection = await connect(dsn)
        with proxy.trap(Harm.SWALLOW, commits):
            asked = asyncio.ensure_future(connection.execute("insert into notes values ('a')"))
            await until(lambda: notes(postgres_dsn) == ["a"])
        done, _ = await asyncio.wait([asked], timeout=0.1)
        assert not done
        assert proxy.cut() == 1
        with pytest.raises(psycopg.OperationalError):
            await asked

    async def test_a_request_is_refused_with_a_code_and_the_transaction_is_aborted(self, dsn, proxy) -> None:
        async with await connect(dsn) as connection:
            await connection.execute("begin")
            with proxy.trap(Harm.REFUSE, lambda link, _: link.application == "test", code="53100"):
                with pytest.raises(psycopg.errors.DiskFull):
                    await connection.execute("insert into notes values (%s)", ["a"])
            with pytest.raises(psycopg.errors.InFailedSqlTransaction):
                await connection.execute("select 1")
            await connection.execute("rollback")
            await connection.execute("insert into notes values (%s)", ["b"])

    async def test_it_lets_some_pass_and_then_harms_so_many(self, dsn, proxy) -> None:
        outcomes = []
        async with await connect(dsn) as connection:
            with proxy.trap(Harm.REFUSE, commits, after=2, times=2):
                for n in range(6):
                    try:
                        await connection.execute("insert into notes values (%s)", [str(n)])
                        outcomes.append("ok")
                    except psycopg.errors.OutOfMemory:
                        outcomes.append("refused")
        assert outcomes == ["ok", "ok", "refused", "refused", "ok", "ok"]


class TestWeather:
    async def test_slow_takes_longer(self, dsn, proxy) -> None:
        async with await connect(dsn) as connection:
            with proxy.slow(0.05):
                began = time.monotonic()
                for _ in range(10):
                    await connection.execute("select 1")
                assert time.monotonic() - began > 0.3

    async def test_what_is_lost_comes_late(self, dsn, proxy) -> None:
        async with await connect(dsn) as connection:
            with proxy.lossy(1.0):
                began = time.monotonic()
                await connection.execute("select 1")
                assert time.monotonic() - began > 0.4

    @pytest.mark.parametrize("cut", [False, True])
    async def test_nothing_passes_a_black_hole(self, dsn, proxy, cut) -> None:
        async with await connect(dsn) as connection:
            with proxy.black_hole(cut=cut):
                asked = asyncio.ensure_future(connection.execute("select 1"))
                arriving = asyncio.ensure_future(connect(dsn))
                done, _ = await asyncio.wait([asked, arriving], timeout=0.2)
                assert not done
            if cut:
                with pytest.raises(psycopg.OperationalError):
                    await asked
            else:
                await asked
            with_luck = await asyncio.gather(arriving, return_exceptions=True)
            assert cut or not isinstance(with_luck[0], BaseException)
            for one in with_luck:
                if isinstance(one, psycopg.AsyncConnection):
                    await one.close()

    async def test_half_open_connections_hear_nothing_and_new_ones_work(self, dsn, proxy, postgres_dsn) -> None:
        old, leaving = await connect(dsn), await connect(dsn, "leaving")
        with proxy.half_open() as count:
            assert count == 2
            asked = asyncio.ensure_future(old.execute("insert into notes values ('never')"))
            await leaving.close()
            async with await connect(dsn) as new:
                await new.execute("insert into notes values ('new')")
                cursor = await new.execute("select count(*) from pg_stat_activity where application_name = 'leaving'")
                assert await cursor.fetchone() == (1,), "the server was told that its client has gone"
            assert not asked.done()
        with pytest.raises(psycopg.OperationalError):
            await asked
        assert notes(postgres_dsn) == ["new"]

    async def test_connections_are_refused_while_nobody_listens(self, dsn, proxy) -> None:
        connection = await connect(dsn)
        async with proxy.refusing():
            with pytest.raises(psycopg.OperationalError):
                await connection.execute("select 1")
            with pytest.raises(psycopg.OperationalError, match="refused"):
                await connect(dsn)
        async with await connect(dsn) as again:
            await again.execute("select 1")

    async def test_a_cut_ends_those_that_are_meant(self, dsn, proxy) -> None:
        one, other = await connect(dsn, "one"), await connect(dsn, "other")
        assert proxy.cut(lambda link: link.application == "one") == 1
        with pytest.raises(psycopg.OperationalError):
            await one.execute("select 1")
        await other.execute("select 1")
        await other.close()
