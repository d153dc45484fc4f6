"""A search that has looked at as much as one call may says how far it came, and goes on when it is told to."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

from playwright.sync_api import expect

from holdfast import EventBus
from holdfast.stores.searching import LOOKED_MAX

CHUNK = 1_000
BEYOND = LOOKED_MAX + CHUNK


def publish_beyond_one_look(dsn):
    """An event, and so many after it that no call gets back to it."""

    async def there():
        bus = EventBus(dsn, spool="off")
        await bus.publish("order.lost", {"parcel": "far-back"}, tenant_id="looking")
        for start in range(0, BEYOND, CHUNK):
            items = [{"name": "tick.tock", "payload": {"n": start + n}, "tenant_id": "looking"} for n in range(CHUNK)]
            await bus.publish_many(items)
        await bus.close()

    with ThreadPoolExecutor(1) as thread:  # this one has a loop of Playwright's
        thread.submit(asyncio.run, there()).result()


def test_a_search_says_how_far_it_looked_and_goes_on(site, visit):
    publish_beyond_one_look(site.dsn)
    page = visit("/events")
    page.get_by_label("Payload path").fill("parcel")
    page.get_by_label("= value").fill("far-back")
    page.get_by_role("button", name="Search").click()
    go_on = page.get_by_role("link", name="Go on looking")
    expect(page.locator(".empty")).to_have_text("No such event among those.")
    expect(page.locator(".found")).to_contain_text(re.compile(r"Looked at [\d,]+ events, back to \d{4}-"))
    expect(go_on).to_have_attribute("rel", "next")
    # Each call gets as far as the machine allows; one that is slow needs more of them.
    places = []
    while page.locator("tbody tr").count() == 0:
        before = page.url
        go_on.click()
        expect(page).not_to_have_url(before)
        assert "path=parcel&value=far-back" in page.url
        places.append(int(re.search(r"before=(\d+)", page.url)[1]))
    assert places == sorted(set(places), reverse=True)
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("order.lost")
    page.get_by_role("link", name="Newest").click()
    expect(page).to_have_url(re.compile(r"/events\?(?!.*before=).*path=parcel"))
    expect(go_on).to_be_visible()
