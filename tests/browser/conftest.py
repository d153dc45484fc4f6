"""The dashboard as ``holdfast dashboard`` serves it, in the system's Chromium."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import uuid4

import psycopg
import pytest
from playwright.sync_api import sync_playwright

from tests.conftest import dsn_of
from tests.dashboard.harness import fill

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Page

NAMES = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = Path(__file__).parent / "screenshots"


class Site(NamedTuple):
    """A dashboard that is served, whose cookies `state` are those of an admin."""

    kind: str
    dsn: str
    url: str
    ids: dict[str, str]
    state: Any

    def path(self, template: str) -> str:
        return self.url + template.format(**self.ids)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Playwright keeps a loop running in this thread: it must be over before another module has its own."""
    given = os.environ.get("HOLDFAST_TEST_BROWSER")
    program = given or next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip(f"no browser: looked for {', '.join(NAMES)} on the PATH, and at HOLDFAST_TEST_BROWSER")
    # A browser that runs as root, as in a container, has no sandbox.
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture(scope="module")
def serve(browser: Browser, tmp_path_factory) -> Iterator[Any]:
    """Serves stores until the module's tests end."""
    served = []

    def start(kind: str, dsn: str, *, filled: bool = True) -> Site:
        with ThreadPoolExecutor(1) as thread:  # this one has a loop of Playwright's
            ids = thread.submit(asyncio.run, fill(dsn)).result() if filled else {}
        process = subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "holdfast", "dashboard", "--port", "0", "--may-edit",
             "--redact", "payload.card.*", "--redact", "headers.authorization"],
            env={**os.environ, "HOLDFAST_DSN": dsn, "PYTHONUNBUFFERED": "1",
                 "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state"))},
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        served.append(process)
        assert process.stdout is not None
        url = next(found[1] for line in process.stdout if (found := re.search(r"Open (\S+)", line)))
        with browser.new_context() as context:
            context.new_page().goto(url)
            state = context.storage_state()
        return Site(kind, dsn, url.partition("/?")[0], ids, state)

    yield start
    for process in served:
        process.terminate()
        process.communicate(timeout=20)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def site(request, serve, tmp_path_factory) -> Site:
    if request.param == "sqlite":
        return serve("sqlite", f"sqlite:///{tmp_path_factory.mktemp('store') / 'events.db'}")
    return serve("postgres", request.getfixturevalue("database"))


@pytest.fixture(scope="session")
def database(postgres_server: str) -> Iterator[str]:
    """DSN of a database that is there until the last test of the browser, whoever makes others meanwhile."""
    name = f"holdfast_browser_{uuid4().hex[:12]}"
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        admin.execute(f'create database "{name}"')
        yield dsn_of(postgres_server, name)
        admin.execute(f'drop database "{name}" with (force)')


@pytest.fixture
def visit(browser: Browser, site: Site, request) -> Iterator[Any]:
    """Opens pages of the site; whatever the browser complains of fails the test."""
    contexts: list[BrowserContext] = []
    complaints: list[str] = []

    def open_page(path: str, **options: Any) -> Page:
        context = browser.new_context(storage_state=site.state, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))
        page.goto(site.path(path), wait_until="load")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []
