"""What somebody who may not might try: each case stands in the table of docs/dashboard.md."""

from __future__ import annotations

import logging
import os
import re

import pytest

from holdfast import EventBus, dashboard
from holdfast.dashboard import Actor, ProxyHeader, Role, Users, for_store
from holdfast.dashboard.access import OneTimeToken
from holdfast.dashboard.actions import ACTIONS
from holdfast.dashboard.pages import PAGES
from holdfast.dashboard.users import hash_password
from holdfast.errors import ConfigurationError
from holdfast.stores import make_store
from holdfast.stores.inspector import make_inspector

from .harness import ROLES, by_header, client_of, visiting

PASSWORD = "correct horse battery"
# As `hash_password` makes them, at the least cost that is accepted.
HASH = "scrypt$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$"


@pytest.fixture
async def empty(tmp_path):
    """DSN of a store with one subscription and nothing else."""
    dsn = f"sqlite:///{tmp_path / 'events.db'}"
    bus = EventBus(dsn, spool="off")
    bus.subscribe("order.*", handle, name="billing", partitions=1)
    await bus.publish("order.placed", {"card": {"number": "4111"}})
    await bus.close()
    return dsn


async def handle(event): ...


async def audit_of(dsn):
    store = make_store(dsn)
    inspector, _ = make_inspector(store)
    try:
        return await inspector.audit(limit=100)
    finally:
        await inspector.close()
        await store.close()


def users():
    return Users(f"ann:operator:{cheap_hash(PASSWORD)}\nbob:viewer:{cheap_hash('another long password')}")


def cheap_hash(password):
    import base64
    import hashlib

    digest = hashlib.scrypt(password.encode(), salt=b"0123456789abcdef", n=16384, r=8, p=1, dklen=32)
    return HASH + base64.b64encode(digest).decode()


def all_paths():
    pages = [path.replace("{event:uuid}", "01a2093d-50dd-746b-9db7-0eadea990fab") for path in PAGES]
    return ["/", *pages, *(f"{path}.json" for path in pages), *(f"{path}/live" for path in pages), "/find?event=1",
            *(f"/actions/{verb}" for verb in ACTIONS)]  # fmt: skip


class TestWhoComesIn:
    @pytest.mark.parametrize("path", all_paths())
    async def test_without_authenticate_nobody_does_and_the_reason_is_said(self, empty, path):
        async with client_of(dashboard.app(EventBus(empty))) as client:
            answer = await client.get(path)
        assert answer.status_code == 403
        assert "authenticate=" in answer.text

    @pytest.mark.parametrize("path", all_paths())
    async def test_nobody_sees_a_page_a_twin_or_a_stream_without_a_name(self, empty, path):
        async with visiting(empty, role="") as client:
            answer = await client.get(path)
        assert answer.status_code == 401
        assert "billing" not in answer.text

    async def test_an_async_function_may_tell_who_asks(self, empty):
        async def who(request):
            return ROLES["viewer"] if request.headers.get("x-key") == "1" else None

        async with client_of(for_store(empty, authenticate=who)) as client:
            assert (await client.get("/workers")).status_code == 401
            assert (await client.get("/workers", headers={"x-key": "1"})).status_code == 200

    async def test_the_url_works_once(self, empty):
        token = OneTimeToken(Actor("me@here", Role.ADMIN))
        async with client_of(for_store(empty, authenticate=token)) as client:
            assert (await client.get("/workers")).status_code == 401
            assert (await client.get("/?token=wrong")).status_code == 403
            first = await client.get(f"/?token={token.token}")
            assert first.status_code == 303
            assert "token" not in first.headers["location"]
            assert (await client.get("/workers")).status_code == 200
            client.cookies.clear()
            assert (await client.get(f"/?token={token.token}")).status_code == 403
            assert (await client.get("/workers")).status_code == 401

    async def test_a_cookie_that_was_made_up_or_changed_is_worth_nothing(self, empty):
        token = OneTimeToken(Actor("me@here", Role.ADMIN))
        async with client_of(for_store(empty, authenticate=token)) as client:
            cookies = (await client.get(f"/?token={token.token}")).headers.get_list("set-cookie")
            name, _, value = next(one for one in cookies if "session" in one).partition(";")[0].partition("=")
            client.cookies.clear()
            for forged in (
                value[:-3] + ("AAA" if value[-3:] != "AAA" else "EEE"),
                "A" + value[1:],
                value.partition(".")[0] + ".",
                ".",
                "x" * 5000,
                "",
            ):
                answer = await client.get("/workers", headers={"cookie": f"{name}={forged}"})
                assert answer.status_code == 401, forged
            assert (await client.get("/workers", headers={"cookie": f"{name}={value}"})).status_code == 200

    async def test_a_session_of_another_dashboard_is_worth_nothing(self, empty):
        one, other = (OneTimeToken(Actor("me@here", Role.ADMIN)) for _ in range(2))
        async with client_of(for_store(empty, authenticate=one)) as client:
            await client.get(f"/?token={one.token}")
            cookies = client.cookies
        async with client_of(for_store(empty, authenticate=other), cookies=cookies) as client:
            assert (await client.get("/workers")).status_code == 401

    async def test_cookies_are_kept_from_scripts_and_other_sites(self, empty):
        token = OneTimeToken(Actor("me@here", Role.ADMIN))
        async with client_of(for_store(empty, authenticate=token, https=True)) as client:
            answer = await client.get(f"/?token={token.token}")
            cookies = answer.headers.get_list("set-cookie") + (await client.get("/")).headers.get_list("set-cookie")
        assert len(cookies) == 2
        for cookie in cookies:
            assert "HttpOnly" in cookie
            assert re.search(r"SameSite=(Lax|Strict)", cookie)
            assert "Secure" in cookie


class TestPasswords:
    async def sign_in(self, client, name, password, path="/sign-in?next=%2Fworkers"):
        return await client.post(path, data={"csrf": await client.csrf(path), "name": name, "password": password})

    async def test_the_right_one_leads_to_where_one_wanted_to_go(self, empty):
        async with client_of(for_store(empty, authenticate=users())) as client:
            away = await client.get("/events?name=order.*")
            assert away.status_code == 303
            assert away.headers["location"] == "/sign-in?next=%2Fevents%3Fname%3Dorder.%2A"
            answer = await self.sign_in(client, "ann", PASSWORD, away.headers["location"])
            assert answer.headers["location"] == "/events?name=order.*"
            assert "ann" in (await client.get("/workers")).text

    @pytest.mark.parametrize("path", ["/events.json", "/overview/live", "/metrics"])
    async def test_a_program_is_not_sent_to_a_form(self, empty, path):
        async with client_of(for_store(empty, authenticate=users())) as client:
            assert (await client.get(path)).status_code == 401

    async def test_wrong_names_and_passwords_get_the_same_answer(self, empty):
        async with client_of(for_store(empty, authenticate=users())) as client:
            answers = [await self.sign_in(client, *pair) for pair in (("ann", "x"), ("eve", PASSWORD), ("", ""))]
        assert {(one.status_code, re.sub(r'value="[^"]*"', "", one.text)) for one in answers} == {
            (403, re.sub(r'value="[^"]*"', "", answers[0].text))
        }

    async def test_guessing_is_stopped_for_a_while(self, empty):
        async with client_of(for_store(empty, authenticate=users())) as client:
            for _ in range(10):
                assert (await self.sign_in(client, "bob", "guess")).status_code == 403
            assert (await self.sign_in(client, "bob", "another long password")).status_code == 429
            assert (await self.sign_in(client, "ann", PASSWORD)).status_code == 303

    @pytest.mark.parametrize(
        "goal",
        ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "/a\nb", "\\\\evil"],
    )
    async def test_signing_in_leads_nowhere_else(self, empty, goal):
        from urllib.parse import quote

        async with client_of(for_store(empty, authenticate=users())) as client:
            answer = await self.sign_in(client, "ann", PASSWORD, f"/sign-in?next={quote(goal)}")
        assert answer.headers["location"] == "/"

    async def test_signing_out_ends_it(self, empty):
        async with client_of(for_store(empty, authenticate=users())) as client:
            await self.sign_in(client, "ann", PASSWORD)
            await client.post("/sign-out", data={"csrf": await client.csrf()})
            assert (await client.get("/workers")).status_code == 303

    def test_passwords_are_kept_as_scrypt_with_a_salt_each(self):
        lines = [hash_password(PASSWORD) for _ in range(2)]
        assert lines[0] != lines[1]
        assert PASSWORD not in lines[0]
        assert lines[0].startswith("scrypt$32768$8$3$")

    @pytest.mark.parametrize(
        "line",
        [
            "", "# nobody", "ann", "ann:operator", "ann:operator:secret", "ann:root:" + HASH + "x",
            "ann:admin:scrypt$2$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "ann:admin:scrypt$16384$8$1$MDEy$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "ann:admin:md5$16384$8$1$MDEyMzQ1Njc4OWFiY2RlZg==$MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
        ],
    )  # fmt: skip
    def test_a_users_file_that_is_weak_or_unreadable_is_refused_without_showing_it(self, line):
        with pytest.raises(ConfigurationError) as refused:
            Users(line)
        assert "MDEy" not in str(refused.value)
        assert "secret" not in str(refused.value)

    def test_a_users_file_that_others_may_write_is_refused(self, tmp_path):
        path = tmp_path / "users"
        path.write_text(f"ann:operator:{cheap_hash(PASSWORD)}\n")
        path.chmod(0o644)
        assert Users.from_file(path).actor("ann") == Actor("ann", Role.OPERATOR)
        path.chmod(0o664)
        with pytest.raises(ConfigurationError, match="chmod"):
            Users.from_file(path)

    def test_users_may_stand_in_the_environment(self):
        line = f"ann:operator:{cheap_hash(PASSWORD)};bob:viewer:{cheap_hash(PASSWORD)}"
        found = Users.from_environment({"HOLDFAST_DASHBOARD_USERS": line})
        assert found is not None
        assert found.actor("bob") == Actor("bob", Role.VIEWER)
        assert Users.from_environment({}) is None


class TestTheProxyHeader:
    WAY = ProxyHeader("X-User", role_header="X-User-Role", proxies=["10.0.0.7"])

    @pytest.mark.parametrize(
        ("peer", "headers", "status"),
        [
            ("10.0.0.7", [("X-User", "ann")], 200),
            ("10.0.0.7", [("X-User", "ann"), ("X-User-Role", "admin")], 200),
            ("10.0.0.8", [("X-User", "ann")], 401),
            ("127.0.0.1", [("X-User", "ann")], 401),
            ("", [("X-User", "ann")], 401),
            ("10.0.0.7", [], 401),
            ("10.0.0.7", [("X-User", " ")], 401),
            ("10.0.0.7", [("X-User", "ann"), ("X-User", "root")], 401),
            ("10.0.0.7", [("X-User", "ann"), ("X-User-Role", "root")], 401),
            ("10.0.0.7", [("X-User", "ann"), ("X-User-Role", "viewer"), ("X-User-Role", "admin")], 401),
            ("10.0.0.8", [("X-User", "ann"), ("X-Forwarded-For", "10.0.0.7")], 401),
        ],
    )
    async def test_it_counts_from_that_proxy_alone_and_once(self, empty, peer, headers, status):
        async with client_of(for_store(empty, authenticate=self.WAY), peer=(peer, 1)) as client:
            assert (await client.get("/workers", headers=headers)).status_code == status

    async def test_whoever_comes_without_a_role_looks(self, empty):
        async with client_of(for_store(empty, authenticate=self.WAY), peer=("10.0.0.7", 1)) as client:
            answer = await client.get("/actions/pause?subscription=billing", headers={"X-User": "ann"})
        assert answer.status_code == 403


class TestFormsOfOthers:
    PAUSE = "/actions/pause?subscription=billing"

    async def paused(self, client):
        return (await client.get("/subscription.json?name=billing")).json()["subscription"]["paused_at"] is not None

    async def test_a_form_of_ours_is_taken(self, empty):
        async with visiting(empty) as client:
            assert (await client.act(self.PAUSE)).status_code == 303
            assert await self.paused(client)

    @pytest.mark.parametrize("token", ["", "x", "é", "0" * 5000])
    async def test_one_without_our_token_is_refused_and_audited(self, empty, token):
        async with visiting(empty) as client:
            await client.csrf("/actions/pause?subscription=billing")
            answer = await client.post(self.PAUSE, data={"csrf": token})
            assert answer.status_code == 403
            assert not await self.paused(client)
        (row,) = await audit_of(empty)
        assert (row.actor, row.action, row.target, row.allowed) == ("admin@example.org", "pause", "billing", False)

    async def test_a_token_of_another_browser_or_another_person_is_refused(self, empty):
        async with visiting(empty) as client:
            token = await client.csrf(self.PAUSE)
            assert (
                await client.post(self.PAUSE, data={"csrf": token}, headers={"x-role": "operator"})
            ).status_code == 403
            client.cookies.clear()
            assert (await client.post(self.PAUSE, data={"csrf": token})).status_code == 403
            assert not await self.paused(client)

    @pytest.mark.parametrize(
        "headers",
        [
            {"origin": "https://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:81"},
            {"origin": "http://localhost.evil.example"}, {"sec-fetch-site": "cross-site"},
            {"sec-fetch-site": "same-site"},
        ],
    )  # fmt: skip
    async def test_a_form_from_elsewhere_is_refused_whatever_it_carries(self, empty, headers):
        async with visiting(empty) as client:
            token = await client.csrf(self.PAUSE)
            assert (await client.post(self.PAUSE, data={"csrf": token}, headers=headers)).status_code == 403
            assert not await self.paused(client)

    async def test_looking_changes_nothing(self, empty):
        async with visiting(empty) as client:
            assert (await client.get(self.PAUSE)).status_code == 200
            assert not await self.paused(client)
        assert await audit_of(empty) == []

    @pytest.mark.parametrize(
        ("content_type", "body", "status"),
        [
            ("application/json", b"{}", 415), ("multipart/form-data; boundary=x", b"--x--", 415), ("", b"csrf=1", 415),
            ("application/x-www-form-urlencoded", b"a=" + b"x" * (9 * 2**20), 413),
            ("application/x-www-form-urlencoded", b"&".join(b"a=1" for _ in range(101)), 400),
            ("application/x-www-form-urlencoded", b"a=%ff", 400),
        ],
    )  # fmt: skip
    async def test_what_is_no_form_or_too_much_is_refused(self, empty, content_type, body, status):
        async with visiting(empty) as client:
            answer = await client.post(self.PAUSE, content=body, headers={"content-type": content_type})
        assert answer.status_code == status

    @pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT"])
    async def test_other_methods_are_refused(self, empty, method):
        async with visiting(empty) as client:
            assert (await client.request(method, self.PAUSE)).status_code == 405

    @pytest.mark.parametrize("path", ["/overview", "/events.json", "/workers/live", "/", "/find"])
    async def test_a_page_takes_no_form(self, empty, path):
        async with visiting(empty) as client:
            assert (
                await client.post(path, data={"csrf": await client.csrf("/actions/pause?subscription=billing")})
            ).status_code == 405


class TestRoles:
    @pytest.mark.parametrize("verb", sorted(ACTIONS))
    @pytest.mark.parametrize("role", ["viewer", "operator"])
    async def test_whoever_may_not_is_refused_and_audited(self, own_store, role, verb):
        dsn, ids = own_store
        path = f"/actions/{verb}?subscription=billing&event={ids['dead']}&schedule=nightly"
        async with visiting(dsn, role=role, may_edit=True) as client:
            if ROLES[role].role.includes(ACTIONS[verb].role):
                assert (await client.get(path)).status_code == (404 if verb == "go-on" else 200)  # no replay is there
                return
            assert (await client.get(path)).status_code == 403
            # The token of a page that everybody may see: a refused role, not a missing token.
            token = await self.token(client)
            answer = await client.post(path, data={"csrf": token})
            assert answer.status_code == 403
            assert ACTIONS[verb].role in answer.text
        (row,) = await audit_of(dsn)
        assert (row.actor, row.action, row.target, row.allowed) == (
            f"{role}@example.org",
            ACTIONS[verb].recorded,
            "billing",
            False,
        )

    async def token(self, client):
        from holdfast.dashboard.seal import Seal  # what the guard signs with is in no page that a viewer sees

        await client.get("/workers")
        guard = client._transport.app._guard
        browser = client.cookies[guard._browser_cookie]
        assert isinstance(guard._seal, Seal)
        return guard._seal.mark("csrf", f"{browser}\0{client.headers['x-role']}@example.org")

    async def test_buttons_that_one_may_not_press_are_not_there(self, own_store):
        dsn, ids = own_store
        path = f"/events/{ids['dead']}"
        for role, verbs in (("viewer", []), ("operator", ["retry"]), ("admin", ["retry", "discard"])):
            async with visiting(dsn, role=role) as client:
                page = (await client.get(path)).text
            assert [verb for verb in ("retry", "discard") if f"/actions/{verb}" in page] == verbs

    @pytest.mark.parametrize("verb", sorted(ACTIONS))
    async def test_read_only_holds_for_admins_too(self, empty, verb):
        path = f"/actions/{verb}?subscription=billing"
        async with visiting(empty, read_only=True) as client:
            assert "read-only" in (await client.get("/workers")).text
            assert (await client.get(path)).status_code == 403
            answer = await client.post(path, data={"csrf": await self.token(client)})
        assert answer.status_code == 403
        assert "read-only" in answer.text
        assert [(row.action, row.allowed) for row in await audit_of(empty)] == [(ACTIONS[verb].recorded, False)]


class TestTheHost:
    @pytest.mark.parametrize(
        ("host", "status"),
        [
            ("localhost", 200), ("localhost:8421", 200), ("127.0.0.1:8421", 200), ("[::1]:8421", 200),
            ("LOCALHOST", 200), ("ops.example.org", 200), ("ops.example.org:443", 200), ("evil.example", 400),
            ("localhost.evil.example", 400), ("evil.example#localhost", 400), ("localhost@evil.example", 400),
            ("localhost:80:80", 400), ("", 400), ("127.0.0.2", 400), ("169.254.169.254", 400),
        ],
    )  # fmt: skip
    async def test_other_names_are_not_answered(self, empty, host, status):
        async with visiting(empty, hosts=["ops.example.org"]) as client:
            assert (await client.get("/workers", headers={"host": host})).status_code == status

    @pytest.mark.parametrize("name", ["*", "", "http://a", "a/b", "a:80", "a b"])
    def test_a_name_that_would_let_in_everything_is_refused(self, empty, name):
        with pytest.raises(ConfigurationError):
            for_store(empty, hosts=[name])


class TestWhatIsSent:
    @pytest.mark.parametrize("path", ["/workers", "/nowhere", "/events.json", "/static/holdfast.js", "/actions/pause"])
    async def test_every_answer_carries_the_policies(self, empty, path):
        async with visiting(empty) as client:
            answer = await client.get(path)
        policy = dict(part.strip().split(" ", 1) for part in answer.headers["content-security-policy"].split(";"))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["form-action"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        if not path.startswith("/static"):
            assert answer.headers["cache-control"] == "no-store"

    async def test_redacted_fields_are_nowhere(self, own_store):
        dsn, ids = own_store
        async with visiting(dsn, redact=["payload.card.*", "headers.authorization"]) as client:
            for path in (
                f"/events/{ids['dead']}",
                f"/events/{ids['dead']}.json",
                "/dead",
                "/dead.json",
                "/events.json",
            ):
                text = (await client.get(path)).text
                assert "4111" not in text, path
                assert "Bearer" not in text, path
            assert "[redacted]" in (await client.get(f"/events/{ids['dead']}")).text
        async with visiting(dsn) as client:
            assert "4111" in (await client.get(f"/events/{ids['dead']}")).text

    async def test_no_page_and_no_log_has_a_secret(self, empty, caplog, monkeypatch):
        monkeypatch.setenv("HOLDFAST_DASHBOARD_SECRET", "s" * 40)
        caplog.set_level(logging.DEBUG)
        token = OneTimeToken(Actor("me@here", Role.ADMIN))
        secret = os.environ["HOLDFAST_DASHBOARD_SECRET"]
        async with client_of(for_store(empty, authenticate=token, secret=secret)) as client:
            texts = [(await client.get(f"/?token={token.token}")).text]
            texts += [(await client.get(path)).text for path in ("/overview", "/storage", "/storage.json", "/nowhere")]
        for text in (*texts, *(record.getMessage() for record in caplog.records if record.name.startswith("holdfast"))):
            assert token.token not in text
            assert secret not in text

    async def test_the_password_of_a_store_that_cannot_be_reached_is_not_shown(self, caplog):
        caplog.set_level(logging.DEBUG, "holdfast")
        async with visiting("postgresql://shop:hunter2@127.0.0.1:1/shop?connect_timeout=1") as client:
            answers = [await client.get(path) for path in ("/overview", "/overview.json", "/events")]
        assert {answer.status_code for answer in answers} == {503}
        assert all("hunter2" not in answer.text for answer in answers)
        assert "hunter2" not in caplog.text

    def test_a_short_secret_is_refused(self, empty):
        with pytest.raises(ConfigurationError, match="32"):
            for_store(empty, secret="short")

    def test_a_store_in_memory_has_no_dashboard(self):
        with pytest.raises(ConfigurationError, match="memory"):
            dashboard.app(EventBus("sqlite://"))


class TestMetrics:
    TOKEN = "m" * 32

    async def test_they_are_told_to_whoever_may_come_in(self, empty):
        async with visiting(empty, role="viewer") as client:
            answer = await client.get("/metrics")
        assert answer.status_code == 200
        assert 'holdfast_lag_events{store="' in answer.text
        assert 'subscription="billing"' in answer.text

    @pytest.mark.parametrize(
        "said", [None, "Bearer", "Bearer x", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"bearer {TOKEN}"]
    )
    async def test_they_are_told_to_nobody_else(self, empty, said):
        async with visiting(empty, role="", metrics_token=self.TOKEN) as client:
            answer = await client.get("/metrics", headers={} if said is None else {"authorization": said})
        assert answer.status_code == 401

    async def test_its_token_opens_that_door_alone(self, empty):
        async with visiting(empty, role="", metrics_token=self.TOKEN) as client:
            headers = {"authorization": f"Bearer {self.TOKEN}"}
            assert (await client.get("/metrics", headers=headers)).status_code == 200
            assert (await client.post("/metrics", headers=headers)).status_code == 405
            for path in ("/overview", "/overview.json", "/samples.json", "/actions/pause?subscription=billing"):
                assert (await client.get(path, headers=headers)).status_code == 401

    def test_a_short_token_is_refused(self, empty):
        with pytest.raises(ConfigurationError, match="32"):
            for_store(empty, metrics_token="short")


async def test_mounted_below_a_path_everything_stays_there(empty):
    from starlette.applications import Starlette
    from starlette.routing import Mount

    mounted = for_store(empty, authenticate=by_header)

    class Host(Starlette):
        close = staticmethod(mounted.close)

    async with client_of(Host(routes=[Mount("/ops", mounted)]), headers={"x-role": "admin"}) as client:
        assert (await client.get("/ops/")).headers["location"] == "/ops/overview"
        page = await client.get("/ops/overview")
        assert page.status_code == 200
        assert {
            link
            for link in re.findall(r'(?:href|src|action|sse-connect)="(/[^"]*)"', page.text)
            if not link.startswith("/ops/")
        } == set()
        assert (await client.get("/ops/static/holdfast.js")).status_code == 200
        question = await client.get("/ops/actions/pause?subscription=billing")
        token = re.findall(r'name="csrf" value="([^"]+)"', question.text)[-1]
        answer = await client.post("/ops/actions/pause?subscription=billing", data={"csrf": token})
        assert answer.headers["location"].startswith("/ops/subscription")
