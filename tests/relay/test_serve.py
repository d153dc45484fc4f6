"""`holdfast serve`: a process that takes webhooks and gives a feed, until a signal comes."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import signal
import subprocess
import sys
import textwrap
from http.client import HTTPConnection

import pytest
from click.testing import CliRunner

from holdfast.cli import main

PROGRAM = """
    from holdfast import EventBus
    from holdfast.dashboard import Actor, Role
    from holdfast.relay.feed import Feed
    from holdfast.relay.inbox import GitHub, Inbox

    bus = EventBus(spool="off")
    inbox = Inbox(bus, {"github": GitHub("a secret, long enough")})
    feed = Feed(bus, authenticate=lambda request: Actor("ann", Role.VIEWER))
    number = 5
    app = inbox
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "shop.py").write_text(textwrap.dedent(PROGRAM), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "shop", raising=False)  # another test's module of that name
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


def serving(place, *options):
    command = [sys.executable, "-W", "error", "-m", "holdfast", "serve", place, "--port", "0", *options]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def address_of(process):
    line = process.stdout.readline()
    found = re.search(r"http://([\d.]+):(\d+)", line)
    assert found, line + process.stderr.read()
    return found[1], int(found[2])


def deliver(connection):
    body = b'{"action": "opened"}'
    connection.request("POST", "/ingest/github", body, {
        "content-type": "application/json", "x-github-event": "issues", "x-github-delivery": "1",
        "x-hub-signature-256": "sha256=" + hmac.new(b"a secret, long enough", body, hashlib.sha256).hexdigest(),
    })  # fmt: skip
    answer = connection.getresponse()
    return answer.status, answer.read()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_inbox_is_served_until_a_signal_comes(folder, number):
    with serving("shop", "--dsn", "sqlite:///events.db") as process:
        connection = HTTPConnection(*address_of(process), timeout=20)
        status, _ = deliver(connection)
        connection.close()
        process.send_signal(number)
        errors = process.stderr.read()
        assert process.wait(20) in {0, -number}, errors
    assert status == 200
    assert "Traceback" not in errors
    shown = CliRunner().invoke(main, ["events", "--dsn", "sqlite:///events.db"])
    assert "github.issues.opened" in shown.output


def test_a_feed_ends_with_its_server(folder):
    with serving("shop:feed") as process:
        CliRunner().invoke(main, ["publish", "order.placed", "1"], catch_exceptions=False)
        connection = HTTPConnection(*address_of(process), timeout=20)
        connection.request("GET", "/feed")
        answer = connection.getresponse()
        assert answer.status == 200
        assert answer.readline() == b"retry: 2000\n"
        process.send_signal(signal.SIGTERM)
        assert answer.read() == b"\n"  # the end, and no cut connection
        connection.close()
        errors = process.stderr.read()
    assert "Traceback" not in errors


def told_by(process):
    """The text of /metrics, from where the log says that it is."""
    for line in process.stderr:
        if found := re.search(r"health on http://([\d.]+):(\d+)/readyz", line):
            connection = HTTPConnection(found[1], int(found[2]), timeout=20)
            connection.request("GET", "/metrics")
            text = connection.getresponse().read().decode()
            connection.close()
            return text
    raise AssertionError(process.wait())


def test_what_an_inbox_refuses_is_told_though_it_has_taken_nothing(folder):
    CliRunner().invoke(main, ["migrate", "--dsn", "sqlite:///events.db"], catch_exceptions=False)
    with serving("shop", "--dsn", "sqlite:///events.db", "--health-port", "0") as process:
        connection = HTTPConnection(*address_of(process), timeout=20)
        connection.request("POST", "/ingest/github", b"{}")
        assert connection.getresponse().status == 401
        connection.close()
        text = told_by(process)
        process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
    assert re.search(
        r'^holdfast_refused_webhooks_total{reason="signature",source="github",store="[^"]+"} 1', text, re.MULTILINE
    )
    assert re.search(r'^holdfast_store_up{store="[^"]+"} 1', text, re.MULTILINE)
    assert "Traceback" not in errors


def test_readers_of_a_feed_are_told(folder):
    CliRunner().invoke(main, ["migrate"], catch_exceptions=False)
    with serving("shop:feed", "--health-port", "0") as process:
        connection = HTTPConnection(*address_of(process), timeout=20)
        connection.request("GET", "/feed")
        assert connection.getresponse().readline() == b"retry: 2000\n"
        text = told_by(process)
        connection.close()
        process.send_signal(signal.SIGTERM)
        errors = process.stderr.read()
    assert re.search(r'^holdfast_feed_readers{store="[^"]+"} 1', text, re.MULTILINE)
    assert "Traceback" not in errors


def test_health_of_an_application_without_a_bus_is_refused(folder):
    (folder / "other.py").write_text("async def app(scope, receive, send): ...", "utf-8")
    done = CliRunner().invoke(main, ["serve", "other", "--health-port", "0"])
    assert done.exit_code == 2
    assert "other has none" in done.output


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("shop:number", "no ASGI application"),
        ("shop:missing", "has no 'missing'"),
        ("shop.py", "MODULE:APP"),
        ("nowhere", "no module"),
    ],
)
def test_what_cannot_be_served_is_said(folder, place, words):
    done = CliRunner().invoke(main, ["serve", place])
    assert done.exit_code == 2
    assert words in done.output


def test_a_missing_extra_is_named(folder):
    script = "import sys; sys.modules['uvicorn'] = None; from holdfast.cli import main; main()"
    done = subprocess.run([sys.executable, "-c", script, "serve", "shop"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'holdfast[web]'" in done.stderr
