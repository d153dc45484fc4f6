"""The server compiles nothing just in time for the engine; what handlers run is their own affair."""

from __future__ import annotations

from holdfast.stores import make_store
from holdfast.stores.postgres.session import Session


async def test_the_sessions_of_the_engine_say_so_and_those_of_handlers_do_not(migrated_dsn):
    store = make_store(migrated_dsn)
    await store.open()
    reader = await store.reader()
    sessions = [one for one in (*vars(store).values(), *vars(reader).values()) if isinstance(one, Session)]
    assert len(sessions) == 6
    assert [await session.run("show jit") for session in sessions] == [[("off",)]] * 6
    pool = await store._async_pool()
    async with pool.connection() as connection:
        assert await (await connection.execute("show jit")).fetchall() == [("on",)]
    await reader.close()
    await store.close()
