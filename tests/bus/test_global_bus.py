"""`global_bus` and `global_sync_bus`: ready made from the environment, each in a program of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .waiting import receipts, run, sql, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@pytest.fixture
def env(shared_dsn: str) -> Mapping[str, str]:
    return {"HOLDFAST_DSN": shared_dsn, "HOLDFAST_AUTO_MIGRATE": "1", "HOLDFAST_SPOOL": "off"}


IN_MEMORY_STYLE = """
    import asyncio
    from holdfast import global_bus

    async def handle(event):
        print(event.payload, flush=True)
        done.set()

    async def main():
        global done
        done = asyncio.Event()
        global_bus.subscribe("a", handle)
        await global_bus.publish("a", {"x": 1})
        await asyncio.wait_for(done.wait(), 15)

    asyncio.run(main())
"""


def test_code_written_for_an_in_memory_bus_keeps_its_calls(
    script: Callable[..., Path], env: Mapping[str, str], shared_dsn: str
) -> None:
    """Nothing starts it, nothing closes it; the program ends in good order, and the receipt is there."""
    assert run(script(IN_MEMORY_STYLE), env=env) == "{'x': 1}\n"
    assert sql(shared_dsn, "select consumer_name from event_consumers") == [("app.handle",)]
    assert sql(shared_dsn, "select count(*) from leases where owner is not null") == [(0,)]


DECLARED_AT_IMPORT = """
    import asyncio
    from holdfast import global_bus

    @global_bus.subscribe("a")
    async def handle(event):
        print(event.payload, flush=True)

    async def main(n):
        await global_bus.publish("a", n)
        await global_bus.drain(15)

    asyncio.run(main(1))
    asyncio.run(main(2))
"""


def test_declared_at_import_it_starts_at_the_first_publish_in_each_loop(
    script: Callable[..., Path], env: Mapping[str, str]
) -> None:
    assert run(script(DECLARED_AT_IMPORT), env=env) == "1\n2\n"


def test_it_resumes_what_is_pending(script: Callable[..., Path], env: Mapping[str, str], shared_dsn: str) -> None:
    publisher = script(
        """
        import asyncio
        from holdfast import global_bus

        async def handle(event): ...

        async def main():
            global_bus.subscribe("a", handle, name="h")
            await global_bus.publish("a", 1)

        asyncio.run(main())
        """
    )
    run(publisher, env={**env, "HOLDFAST_WORKER": "off"})
    assert receipts(shared_dsn) == 0
    resumer = script(
        """
        import asyncio
        from holdfast import global_bus

        async def main():
            seen = asyncio.Event()

            @global_bus.subscribe("a", name="h")
            async def handle(event):
                print(event.payload, flush=True)
                seen.set()

            await asyncio.wait_for(seen.wait(), 15)

        asyncio.run(main())
        """,
        "resumer",
    )
    assert run(resumer, env=env) == "1\n"
    assert receipts(shared_dsn) == 1


def test_worker_off_publishes_and_handles_nothing(
    script: Callable[..., Path], env: Mapping[str, str], shared_dsn: str
) -> None:
    source = script(
        """
        import asyncio
        from holdfast import global_bus

        @global_bus.subscribe("a")
        async def handle(event):
            print("handled", flush=True)

        async def main():
            for _ in range(3):
                await global_bus.publish("a")
            print([task.get_name() for task in asyncio.all_tasks() if "guard" in repr(task)])

        asyncio.run(main())
        """
    )
    assert run(source, env={**env, "HOLDFAST_WORKER": " OFF "}) == "[]\n"
    assert stored(shared_dsn) == ["a"] * 3
    assert sql(shared_dsn, "select count(*) from workers") == [(0,)]


@pytest.mark.parametrize("call", ['publish("a")', 'publish_many([{"name": "a", "payload": 1}])'])
def test_outside_a_loop_it_names_the_other(script: Callable[..., Path], env: Mapping[str, str], call: str) -> None:
    source = script(
        f"""
        from holdfast import global_bus
        from holdfast.errors import BusStateError

        try:
            global_bus.{call}
        except BusStateError as error:
            print("global_sync_bus" in str(error))
        """
    )
    assert run(source, env=env) == "True\n"


def test_drain_may_be_given_to_asyncio_run(
    script: Callable[..., Path], env: Mapping[str, str], shared_dsn: str
) -> None:
    source = script(
        """
        import asyncio
        from holdfast import global_bus, global_sync_bus

        @global_bus.subscribe("a")
        async def handle(event):
            print(event.payload, flush=True)

        asyncio.run(global_bus.drain(15))
        global_sync_bus.publish("a", 1)
        asyncio.run(global_bus.drain(15))
        """
    )
    assert run(source, env=env) == "1\n"
    assert receipts(shared_dsn) == 1


def test_importing_makes_and_touches_nothing(script: Callable[..., Path], tmp_path: Path) -> None:
    source = script(
        """
        import threading, os
        from holdfast import global_bus, global_sync_bus

        @global_bus.subscribe("a")
        async def handle(event): ...

        print(threading.active_count(), sorted(name for name in os.listdir(".") if name != "__pycache__"))
        """
    )
    assert run(source) == "1 ['app.py']\n"


def test_without_settings_it_is_a_file_in_the_current_folder(script: Callable[..., Path], tmp_path: Path) -> None:
    source = script(
        """
        import asyncio
        from holdfast import global_bus

        async def main():
            print((await global_bus.publish("a")).where)

        asyncio.run(main())
        """
    )
    assert run(source) == "store\n"
    assert (tmp_path / "holdfast.db").exists()


SYNC = """
    import threading
    from holdfast import global_sync_bus

    seen = threading.Event()

    @global_sync_bus.subscribe("a")
    def handle(event):
        print(event.payload, flush=True)
        seen.set()

    global_sync_bus.publish("a", 7)
    assert seen.wait(15)
    global_sync_bus.drain(15)
"""


def test_the_sync_one_starts_in_the_background_at_the_first_subscribe(
    script: Callable[..., Path], env: Mapping[str, str], shared_dsn: str
) -> None:
    assert run(script(SYNC), env=env) == "7\n"
    assert sql(shared_dsn, "select consumer_name from event_consumers") == [("app.handle",)]


def test_the_sync_one_with_worker_off(script: Callable[..., Path], env: Mapping[str, str], shared_dsn: str) -> None:
    source = script(
        """
        from holdfast import global_sync_bus

        global_sync_bus.subscribe("a", lambda event: print("handled"), name="h")
        print(global_sync_bus.publish("a").where)
        """
    )
    assert run(source, env={**env, "HOLDFAST_WORKER": "off"}) == "store\n"
    assert (stored(shared_dsn), receipts(shared_dsn)) == (["a"], 0)


@pytest.mark.parametrize("name", ["global_bus", "global_sync_bus"])
@pytest.mark.parametrize(
    ("variable", "value"),
    [("HOLDFAST_AUTO_MIGRATE", "maybe"), ("HOLDFAST_DSN", "mysql://x/y"), ("HOLDFAST_DSN", "nonsense://x")],
)
def test_a_wrong_environment_is_named(script: Callable[..., Path], name: str, variable: str, value: str) -> None:
    source = script(
        f"""
        import asyncio
        from holdfast.errors import ConfigurationError

        async def main():
            try:
                from holdfast import {name} as bus
                published = bus.publish("a")
                if hasattr(published, "__await__"):
                    await published
            except ConfigurationError as error:
                print({value!r}[:4] in str(error))

        asyncio.run(main())
        """
    )
    assert run(source, env={variable: value, "HOLDFAST_WORKER": "off"}) == "True\n"
