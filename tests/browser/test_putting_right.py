"""Every action in a browser: asked in a dialog, done, told."""

from __future__ import annotations

from playwright.sync_api import expect


def audit(page, site):
    page.goto(site.path("/audit"))
    return page.locator("tbody tr").first.inner_text()


def test_pause_and_resume(site, visit):
    page = visit("/subscription?name=archive")
    page.get_by_role("link", name="Pause").click()
    expect(page.get_by_role("dialog")).to_contain_text("Stop delivering to archive")
    page.get_by_role("link", name="Cancel").click()
    expect(page.get_by_role("dialog")).to_be_hidden()
    page.get_by_role("link", name="Pause").click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_role("status")).to_have_text("archive is paused.")
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("dialog").get_by_role("button", name="Resume").click()
    expect(page.get_by_role("status")).to_have_text("archive goes on.")
    assert "resume" in audit(page, site)


def test_a_dead_letter_is_corrected(site, visit):
    page = visit("/events/{open}")
    page.get_by_role("link", name="Correct").click()
    payload = page.get_by_role("dialog").get_by_label("Payload")
    payload.fill(payload.input_value().replace("13", "2"))
    page.get_by_role("button", name="Publish anew").click()
    expect(page.get_by_role("status")).to_contain_text("Published anew as")
    expect(page.locator("svg")).to_contain_text("order.placed")
    assert "dead correct" in audit(page, site)


def test_a_dead_letter_is_retried_and_another_one_discarded(site, visit):
    page = visit("/events/{rejected}")
    page.get_by_role("link", name="Retry").click()
    expect(page.get_by_role("dialog")).to_contain_text("1 dead letter")
    page.get_by_role("button", name="Retry 1").click()
    expect(page.get_by_role("status")).to_have_text("1 dead letter will be tried again.")
    assert "dead retry" in audit(page, site)
    page.goto(site.path("/dead?error=script"))
    page.get_by_role("link", name="Discard all that match").click()
    expect(page.get_by_role("dialog")).to_contain_text("error script")
    page.get_by_role("dialog").get_by_role("button").click()
    expect(page.get_by_role("status")).to_contain_text("discarded.")
    expect(page.locator("tbody tr")).to_have_count(0)
    assert "dead discard" in audit(page, site)


def test_replay_is_counted_and_its_progress_watched(site, visit):
    page = visit("/subscription?name=archive")
    page.get_by_role("form", name="Replay").get_by_label("Name").fill("order.placed")
    page.get_by_role("button", name="Count").click()
    expect(page.locator("#question")).to_contain_text("again, in the order of the log")
    page.get_by_label("Events per second at most").fill("5000")
    page.get_by_role("button", name="Replay").click()
    expect(page.get_by_role("status")).to_contain_text("has begun")
    expect(page.locator("tbody", has=page.locator("progress"))).to_contain_text("finished")


def test_an_action_works_without_a_script(site, visit):
    page = visit("/actions/pause?subscription=archive", java_script_enabled=False)
    page.locator("#question").get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("archive is paused.")
    page.get_by_role("link", name="Resume").click()
    page.locator("#question").get_by_role("button").click()
    expect(page.get_by_role("status")).to_have_text("archive goes on.")


def test_a_subscription_skips_to_now(site, visit):
    page = visit("/subscription?name=billing")
    page.get_by_role("link", name="Skip to now").click()
    expect(page.get_by_role("dialog")).to_contain_text("for good")
    page.get_by_role("dialog").get_by_role("button", name="Skip to now").click()
    expect(page.get_by_role("status")).to_contain_text("billing goes on from now")
    assert "skip" in audit(page, site)
