"""`holdfast dashboard`: how it starts, what it refuses, and that it ends."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from http.client import HTTPConnection

import pytest
from click.testing import CliRunner

from holdfast.cli import main
from holdfast.dashboard import Actor, Role, Users

from .harness import fill


@pytest.fixture
async def dsn(tmp_path):
    dsn = f"sqlite:///{tmp_path / 'events.db'}"
    await fill(dsn)
    return dsn


def run(*arguments, code, **options):
    result = CliRunner().invoke(main, ["dashboard", *arguments], **options)
    assert result.exit_code == code, result.output
    return result.output


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.1", "::"])
def test_an_address_that_others_reach_needs_a_way_in(host, monkeypatch):
    monkeypatch.delenv("HOLDFAST_DASHBOARD_USERS", raising=False)
    assert "nothing says who may come in" in run("--host", host, code=2)


def test_two_ways_in_exclude_each_other(tmp_path):
    users = tmp_path / "users"
    users.write_text(
        run("--hash-password", "ann", "--role", "admin", code=0, input="correct horse\ncorrect horse\n").splitlines()[
            -1
        ]
    )
    assert "exclude each other" in run("--users", str(users), "--proxy-header", "X-User", code=2)


def test_a_users_line_is_made_from_a_password_that_is_not_shown():
    output = run("--hash-password", "ann", "--role", "operator", code=0, input="correct horse\ncorrect horse\n")
    line = output.splitlines()[-1]
    assert "correct horse" not in output
    assert Users(line).actor("ann") == Actor("ann", Role.OPERATOR)
    assert "use 12 or more" in run("--hash-password", "ann", code=1, input="short\nshort\n")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--redact", "card"), "redaction rule"),
        (("--host-name", "http://x"), "no host name"),
        (("--trace-url", "javascript:alert(1)"), "trace_url"),
        (("--dsn", "sqlite:///nowhere.db"), "there is no store"),
        (("--dsn", "sqlite://"), "in memory"),
        (("--users", "nowhere"), "cannot be read"),
    ],
)
def test_what_is_set_up_wrongly_is_said_before_it_serves(arguments, words, dsn, monkeypatch):
    monkeypatch.setenv("HOLDFAST_DSN", dsn)
    code = 2 if words == "in memory" else 1
    assert words in run("--port", "0", *arguments, code=code)


@pytest.mark.parametrize("missing", ["starlette", "jinja2", "uvicorn"])
def test_a_missing_extra_is_named(dsn, missing):
    script = f"import sys; sys.modules[{missing!r}] = None; from holdfast.cli import main; main()"
    command = [sys.executable, "-c", script, "dashboard", "--dsn", dsn, "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'holdfast[web]'" in done.stderr
    assert "Open" not in done.stdout


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_a_signal_comes_while_pages_refresh_themselves(dsn, number):
    command = [sys.executable, "-W", "error", "-m", "holdfast", "dashboard", "--dsn", dsn, "--port", "0"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stdout is not None
        url = next(found for line in process.stdout if (found := re.search(r"http://([\d.]+):(\d+)(/\S*)", line)))
        connection = HTTPConnection(url[1], int(url[2]), timeout=20)
        connection.request("GET", url[3])
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 303
        connection.request("GET", "/overview/live", headers={"Cookie": answer.headers["set-cookie"].partition(";")[0]})
        stream = connection.getresponse()
        assert stream.status == 200
        assert stream.readline() == b"event: page\n"
        process.send_signal(number)
        stream.read()
        connection.close()
        _, errors = process.communicate(timeout=20)
    assert process.returncode in {0, -number}
    assert "Traceback" not in errors
    assert "token" not in errors
