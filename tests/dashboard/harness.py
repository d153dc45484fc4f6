"""A store in which everything that a page can show has happened, and a client of its dashboard."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx

from holdfast import EventBus, Reject, RetryPolicy
from holdfast.dashboard import Actor, Role, for_store
from holdfast.schedule import make_schedule

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.dashboard.application import Dashboard

SCRIPT = "<script>document.title='taken'</script>"
IMAGE = "<img src=x onerror=\"document.title='taken'\">"
TURNED = "\u202egnp.exe\u202c"
LONG = "long " * 200_000

HOSTILE_ERROR = f"{SCRIPT} {TURNED} \x00 \x1b[31m {'x' * 300}"
HOSTILE_PAYLOAD = {"order_id": 13, "note": SCRIPT, "image": IMAGE, "turned": TURNED, SCRIPT: 1, "long": LONG}

ROLES = {role.value: Actor(f"{role.value}@example.org", role) for role in Role}


async def fill(dsn: str) -> dict[str, str]:
    """
    Make the tables, publish, handle, fail.

    Returns:
        Ids of events by what they are: fine, dead, open (dead, too), rejected, hostile, waiting; later, later-hostile.
    """
    bus = EventBus(dsn, auto_migrate=True, spool="off", poll_interval=0.01)

    @bus.subscribe("order.*", name="billing", retry=RetryPolicy(max_attempts=2, base=0.01), partitions=2)
    async def bill(event: Any) -> None:
        if event.payload["order_id"] == 13:
            raise RuntimeError(HOSTILE_ERROR)
        if event.payload["order_id"] == 14:
            raise Reject("card declined")
        if event.payload["order_id"] == 1:
            await bus.publish("invoice.sent", {"of": 1})

    @bus.subscribe(["order.*", "invoice.*"], name="archive", partitions=2)
    async def archive(event: Any) -> None: ...

    ids = {}
    async with bus:
        for number, what in ((1, "fine"), (12, "dead"), (15, "open"), (14, "rejected"), (13, "hostile")):
            payload = HOSTILE_PAYLOAD if what == "hostile" else {"order_id": number, "card": {"number": "4111-1111"}}
            if what == "dead":
                payload = {"order_id": 13, "card": {"number": "4111-1111"}}
            if what == "open":  # nothing of it is redacted
                payload = {"order_id": 13}
            published = await bus.publish(
                "order.placed", payload, tenant_id="acme" if what != "hostile" else f"t {TURNED}{SCRIPT}",
                key=f"order-{number}" if what != "hostile" else IMAGE, headers={"authorization": "Bearer 12345"},
            )  # fmt: skip
            ids[what] = str(published.event_id)
        await bus.drain(timeout=20)
    hostile = await bus.publish("order.reminder", {}, tenant_id=f"t {TURNED}{SCRIPT}", key=IMAGE, delay=7200)
    ids["later"] = str((await bus.publish("order.reminder", {}, tenant_id="acme", delay=3600)).event_id)
    ids["later-hostile"] = str(hostile.event_id)
    nightly = make_schedule("nightly", "0 3 * * *", tz="Europe/Lisbon", missed="once", tenant_id="acme")
    await (await bus.open()).store.add_schedules([(nightly, datetime(2999, 1, 1, tzinfo=UTC))])
    ids["waiting"] = str((await bus.publish("order.placed", {"order_id": 2}, key="order-2")).event_id)
    await bus.close()
    return ids


def by_header(request: Any) -> Actor | None:
    """Who asks, for tests: the role in a header."""
    return ROLES.get(request.headers.get("x-role", ""))


class Client(httpx.AsyncClient):
    """A browser without a script: keeps cookies, follows nothing, and can fill in forms."""

    async def csrf(self, path: str = "/workers") -> str:
        """The token that the forms of this browser carry."""
        page = await self.get(path)
        found = re.search(r'name="csrf" value="([^"]+)"', page.text)
        assert found is not None, page.text
        return found[1]

    async def act(self, path: str, **fields: str) -> httpx.Response:
        """Ask the question of an action and say yes."""
        question = await self.get(path)
        assert question.status_code == 200, question.text
        goal = re.search(r'action="(/actions/[^"]+)"', question.text)
        assert goal is not None, question.text
        token = re.findall(r'name="csrf" value="([^"]+)"', question.text)[-1]
        return await self.post(goal[1].replace("&amp;", "&"), data={"csrf": token, **fields})


@asynccontextmanager
async def client_of(dashboard: Dashboard, **options: Any) -> AsyncIterator[Client]:
    transport = httpx.ASGITransport(app=dashboard, client=options.pop("peer", ("127.0.0.1", 50_000)))
    try:
        async with Client(transport=transport, **{"base_url": "http://localhost"} | options) as client:
            yield client
    finally:
        await dashboard.close()


@asynccontextmanager
async def visiting(dsn: str, role: str = "admin", **options: Any) -> AsyncIterator[Client]:
    """A client whose actor has *role*, of a dashboard with these *options*."""
    dashboard = for_store(dsn, **{"authenticate": by_header} | options)
    async with client_of(dashboard, headers={"x-role": role}) as client:
        yield client
