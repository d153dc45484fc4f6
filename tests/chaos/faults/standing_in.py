"""Another server stands in: a pooler before the same one, or a standby that takes its place."""

from __future__ import annotations

from contextlib import ExitStack

from tests.chaos.acting import blocking, insist, proxy_of, turn, whole
from tests.chaos.fault import Fault, Scene, noted
from tests.chaos.servers import BASEBACKUP, PGBOUNCER, PgBouncer, Standby, follow, replace_data

_GROUP = "database"


async def _pooler(scene: Scene) -> None:
    """Everybody comes through PgBouncer in transaction mode for a time: sessions are nobody's own."""
    proxy = proxy_of(scene)
    async with turn(scene), noted(scene, "PgBouncer in transaction mode"):  # the server stays where it is meanwhile
        host, port = proxy.target
        with ExitStack() as stack:
            pooler = await blocking(stack.enter_context, PgBouncer(port))
            try:
                proxy.target = host, pooler.port
                proxy.cut()
                await scene.sleep(scene.seconds)
            finally:
                proxy.target = host, port
                proxy.cut()


async def _failover(scene: Scene) -> None:
    """The server dies, and a synchronous standby takes over: not one commit may be missing."""
    proxy = proxy_of(scene)
    name = "failover to a synchronous standby"
    async with turn(scene) as server, noted(scene, name):
        at = proxy.target
        standby = await blocking(Standby, server)
        try:
            await blocking(lambda: follow(server, standby, synchronous=True))
            await scene.sleep(scene.seconds / 2)
            await blocking(server.kill)
            await blocking(standby.promote)
            scene.note(name, "promoted")
            proxy.target = at[0], standby.port
            await insist_on(standby)
            await scene.sleep(scene.seconds / 2)
        finally:
            await whole(_back(scene, standby, at))


async def insist_on(standby: Standby) -> None:
    """A new primary must not wait for a standby that it does not have."""
    await blocking(standby.run, "alter system reset synchronous_standby_names")
    await blocking(standby.run, "select pg_reload_conf()")


async def _back(scene: Scene, standby: Standby, at: tuple[str, int]) -> None:
    """If it was promoted, its data goes on at the old address."""
    server, proxy = scene.server, proxy_of(scene)
    assert server is not None
    if proxy.target != at:
        await blocking(standby.stop)
        await blocking(server.stop)
        await blocking(replace_data, server, standby)
        proxy.target = at
    await blocking(standby.close)
    await blocking(server.start)
    await insist(scene, "alter system reset synchronous_standby_names", "select pg_reload_conf()")


FAULTS = (
    Fault("PgBouncer in transaction mode", _GROUP, _pooler, (PGBOUNCER,)),
    Fault("failover to a synchronous standby", _GROUP, _failover, (BASEBACKUP,)),
)
