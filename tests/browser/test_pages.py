"""Every page in a browser: seen, photographed, walked by keyboard, and asked whether everybody can use it."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from holdfast import EventBus

from .conftest import SCREENSHOTS

PAGES = {
    "overview": "/overview",
    "events": "/events",
    "event": "/events/{dead}",
    "event-hostile": "/events/{hostile}",
    "subscriptions": "/subscriptions",
    "subscription": "/subscription?name=billing",
    "dead": "/dead",
    "schedules": "/schedules",
    "workers": "/workers",
    "storage": "/storage",
    "audit": "/audit",
    "question": "/actions/retry?subscription=billing",
}
WIDE, TELEPHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_as_it_should_be_in_every_look(site, visit, name):
    """No complaint of the browser (see `visit`), nothing wider than the screen, no finding of axe, no script run."""
    page = visit(PAGES[name], viewport=WIDE)
    assert page.title().endswith("· Holdfast")
    assert page.locator("#verdict strong").count() == (0 if name == "question" else 1)
    look_at(page, f"{name}-{site.kind}-wide", WIDE)
    if site.kind == "postgres":  # what follows looks at the same HTML
        return
    require_accessible(page)
    page.emulate_media(color_scheme="dark")
    look_at(page, f"{name}-{site.kind}-dark", WIDE)
    require_accessible(page, runOnly=["color-contrast"])
    page.set_viewport_size(TELEPHONE)
    look_at(page, f"{name}-{site.kind}-telephone", TELEPHONE)


def look_at(page, picture, size):
    """Wait until everything is drawn and has room; keep a picture."""
    if page.locator(".charts").count():
        expect(page.locator(".charts[data-drawn] canvas").first).to_be_visible()
    page.wait_for_function("width => document.documentElement.scrollWidth <= width", arg=size["width"])
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{picture}.png", full_page=size is WIDE)


def require_accessible(page, **options):
    found = Axe().run(page, options=options or None)
    assert found.violations_count == 0, found.generate_report()


def test_a_page_that_is_not_there_says_so(site, browser):
    with browser.new_context(storage_state=site.state) as context:
        page = context.new_page()
        answer = page.goto(site.url + "/events/01a2093d-50dd-746b-9db7-0eadea990fab")
        assert answer.status == 404
        expect(page.locator("h1")).to_have_text("There is no such thing")


def publish(dsn, name):
    async def there():
        bus = EventBus(dsn, spool="off")
        await bus.publish(name, {"order_id": 3}, tenant_id="live")
        await bus.close()

    with ThreadPoolExecutor(1) as thread:  # this one has a loop of Playwright's
        thread.submit(asyncio.run, there()).result()


def test_events_come_in_by_themselves_until_it_is_paused(site, visit):
    page = visit("/events?tenant=live")
    rows = page.locator("tbody tr")
    before = rows.count()
    publish(site.dsn, "order.seen")
    expect(rows).to_have_count(before + 1)
    page.keyboard.press("p")
    expect(page.locator("#pause")).to_have_text("Paused")
    publish(site.dsn, "order.unseen")
    page.reload()
    expect(rows).to_have_count(before + 2)
    expect(page.locator("#pause")).to_have_text("Paused")
    publish(site.dsn, "order.late")
    page.locator("#pause").click()
    expect(rows).to_have_count(before + 3)


def test_nothing_is_replaced_under_somebodys_hands(site, visit):
    page = visit("/events?tenant=live")
    publish(site.dsn, "order.first")
    rows = page.locator("tbody tr")
    expect(rows.first).to_contain_text("order.first")
    page.keyboard.press("j")
    publish(site.dsn, "order.second")
    expect(page.locator("#pause")).to_have_text("Held")
    expect(rows.first).to_contain_text("order.first")
    page.keyboard.press("Escape")
    expect(rows.first).to_contain_text("order.second")
    expect(page.locator("#pause")).to_have_text("Live")


def test_times_are_utc_or_local(site, visit):
    page = visit("/events", timezone_id="Asia/Kolkata")
    time = page.locator("tbody time").first
    utc = time.inner_text()
    assert utc.endswith("Z")
    page.keyboard.press("t")
    expect(page.locator("#zone")).to_have_text("Local")
    assert not time.inner_text().endswith("Z")
    expect(time).to_have_attribute("title", utc)
    page.reload()
    expect(page.locator("#zone")).to_have_text("Local")


def test_everything_is_within_reach_of_the_keyboard(site, visit):
    page = visit("/overview")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("To the content")
    page.keyboard.press("2")
    expect(page).to_have_url(site.url + "/events")
    page.keyboard.press("/")
    expect(page.locator(":focus")).to_have_attribute("name", "name")
    page.keyboard.type("order.*")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile(r"/events\?name=order\.\*&"))
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("order.")
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#help")).to_be_hidden()


def test_a_hostile_event_is_shown_and_does_nothing(site, visit):
    page = visit("/events/{hostile}")
    expect(page.locator("#payload")).to_contain_text("<script>document.title='taken'</script>")
    expect(page.locator("#payload")).to_contain_text("\\u202e")
    expect(page.locator("#payload")).to_contain_text("more characters")
    assert page.title() == "order.placed · Holdfast"
    assert page.evaluate("document.querySelectorAll('main script, main img').length") == 0


def test_what_is_copied_is_what_is_shown(site, visit):
    page = visit("/events/{dead}", permissions=["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    copied = page.evaluate("navigator.clipboard.readText()")
    assert '"order_id": 13' in copied
    assert "4111" not in copied


def test_an_inline_script_would_not_run(site, visit, browser):
    """The policy holds in this browser: what escaping might miss still does nothing."""
    with browser.new_context(storage_state=site.state) as context:
        page = context.new_page()
        page.goto(site.path("/overview"))
        page.evaluate(
            "document.body.insertAdjacentHTML('beforeend', \"<img src=x onerror=document.title='taken'>\");"
            "const s = document.createElement('script'); s.textContent = \"document.title = 'taken'\";"
            "document.body.append(s);"
            "setTimeout(\"document.title = 'taken'\");"
            "setTimeout(() => { document.body.dataset.later = 'yes' }, 50)"
        )
        expect(page.locator("body[data-later]")).to_be_visible()
        assert page.title() == "Overview · Holdfast"
