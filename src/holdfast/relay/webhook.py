"""Webhooks out: each event is a signed POST. Needs the extra ``webhook``.

::

    bus.relay("order.**", to=Webhook("https://hooks.example.com/orders", secret="whsec_…"))

The body is a CloudEvent in the structured mode, signed as `Standard Webhooks <https://www.standardwebhooks.com>`_ has it,
so receivers check it with a library that there is for their language.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from holdfast.errors import (
    BrokerRefused,
    BrokerUnreachable,
    ConfigurationError,
    MessageRefused,
    MissingExtra,
    Retry,
)
from holdfast.relay.cloudevents import quoted
from holdfast.relay.reach import may_be_reached, networks_of
from holdfast.relay.signatures import check_secrets, standard_key, standard_signature
from holdfast.subscription import RetryPolicy

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable, Mapping, Sequence

    import httpx

    from holdfast.relay.ports import Format, Message

SECRET = "HOLDFAST_WEBHOOK_SECRET"  # noqa: S105 - the name of a variable
RESPONSE_BYTES_MAX = 64 * 1024
RETRY_AFTER_MAX = 86_400.0

# A delivery may be put off 1,000 times: a receiver that is down and says "in a second" has hours nevertheless.
_SOONEST, _SOONEST_AFTER_5XX = 1.0, 30.0
_LATER = {408, 425, 429}
_NOT_YOURS = {"host", "content-length", "content-type", "transfer-encoding", "connection"}


def target(url: str) -> Webhook:
    """What a relay makes of ``to="https://…"``. Raises ConfigurationError."""
    return Webhook(url)


class Webhook:
    """
    Where a relay sends webhooks.

    Args:
        url: ``https://…``; plain ``http`` only to addresses in *allow_private*. Redirects are not followed.
        secret: What is signed with, at least 16 characters; ``whsec_…`` is base64. Several while one replaces another:
            the request has a signature by each. Default: the variable ``HOLDFAST_WEBHOOK_SECRET``.
        allow_private: Addresses and networks that are not public and may be reached, such as ``["10.0.0.0/8"]``.
        timeout: Seconds for a whole request, its answer included.
        headers: Sent with each request, such as an Authorization; never shown.
        tls: Instead of the usual certificate authorities.

    Raises:
        ConfigurationError: The URL or the secret is of no use. The text shows neither secret nor path.
    """

    kind = "webhook"
    batch = 1  # a batch that fails is cut in halves and repeated: here each event is a request anyway
    format: Format = "structured"  # so all attributes are under the signature
    retry = RetryPolicy(max_attempts=20)  # about nine hours

    def __init__(
        self, url: str, *, secret: str | Sequence[str] | None = None, allow_private: Iterable[str] = (),
        timeout: float = 10.0, headers: Mapping[str, str] | None = None, tls: ssl.SSLContext | None = None,
    ) -> None:  # fmt: skip
        self._url, self.target = _checked_url(url)
        self.where = f"{urlsplit(url).scheme}://{self.target}"
        secret = os.environ.get(SECRET) or None if secret is None else secret
        if secret is None:
            raise ConfigurationError(
                f"webhooks to {self.where} have no secret to be signed with: give Webhook(url, secret=...) or set {SECRET}"
            )
        self._keys = tuple(standard_key(one) for one in check_secrets(secret))
        self._allowed, self._tls = networks_of(allow_private), tls
        if not 0 < timeout <= 3600:
            raise ConfigurationError(f"timeout of webhooks is {timeout!r}: use more than 0, at most 3600 seconds")
        self._timeout, self._headers = timeout, {name.lower(): value for name, value in (headers or {}).items()}
        if taken := self._headers.keys() & _NOT_YOURS:
            raise ConfigurationError(f"the header {min(taken)} of webhooks is not for you to set: leave it out")

    def __repr__(self) -> str:
        return f"Webhook({self.where!r})"

    def destination(self) -> WebhookDestination:
        """What sends. Does no I/O. Raises MissingExtra."""
        try:
            import httpx  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtra("httpx", "webhook", "a relay to a webhook") from error
        return WebhookDestination(
            self._url, where=self.where, keys=self._keys, allowed=self._allowed, timeout=self._timeout,
            headers=self._headers, tls=self._tls,
        )  # fmt: skip


class WebhookDestination:
    """Sends messages to one URL; made by `Webhook.destination`."""

    def __init__(
        self, url: str, *, where: str, keys: tuple[bytes, ...], allowed: Any, timeout: float,
        headers: Mapping[str, str], tls: ssl.SSLContext | None, now: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        import httpx

        self._url, self._where, self._keys, self._allowed = httpx.URL(url), where, keys, allowed
        self._timeout, self._headers, self._tls, self._now = timeout, headers, tls, now
        self._host = self._url.raw_host.decode("ascii")
        self._port = self._url.port or (443 if self._url.scheme == "https" else 80)
        self._transport: httpx.AsyncHTTPTransport | None = None

    async def send(self, messages: Sequence[Message]) -> None:
        """
        Send *messages* in their order, each in a request; returns when all were accepted. Without any, only connect.

        Raises:
            Retry: The receiver said when to come again.
            BrokerUnreachable: There is no connection.
            BrokerRefused: The address may not be reached, or the answer is a redirect.
            MessageRefused: No answer, or one that says no; ``final`` where a repeat cannot help.
        """
        for message in messages:
            await self._deliver(message)
        if not messages:
            await self._connect()

    async def close(self) -> None:
        """Close the connections."""
        transport, self._transport = self._transport, None
        if transport is not None:
            await transport.aclose()

    async def _connect(self) -> None:
        problem: Exception = TimeoutError(f"none within {self._timeout:g} s")
        with suppress(TimeoutError):
            async with asyncio.timeout(self._timeout):
                for address in await self._addresses():
                    try:
                        _, writer = await asyncio.open_connection(address, self._port)
                    except OSError as error:
                        problem = error
                        continue
                    writer.close()
                    return
        raise BrokerUnreachable(self._where, f"no connection: {problem}") from problem

    async def _deliver(self, message: Message) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                status, retry_after = await self._post(message, await self._addresses())
        except TimeoutError as error:
            raise MessageRefused(self._where, message.id, f"no answer within {self._timeout:g} s") from error
        refusal = refusal_of(status, retry_after, where=self._where, message_id=message.id, now=self._now())
        if refusal is not None:
            raise refusal

    async def _addresses(self) -> list[str]:
        """Where the name leads now, without what may not be reached."""
        try:
            found = await asyncio.get_running_loop().getaddrinfo(
                self._host.strip("[]"), self._port, type=socket.SOCK_STREAM
            )
        except (OSError, UnicodeError) as error:  # the latter: no name can be like this
            problem = getattr(error, "strerror", None) or error
            raise BrokerUnreachable(self._where, f"its name cannot be resolved: {problem}") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        allowed = [one for one in addresses if may_be_reached(one, self._allowed)]
        if not allowed:
            raise BrokerRefused(
                self._where, f"it leads to {addresses[0]}, which is not a public address",
                "if that is meant, name it in Webhook(allow_private=[...])",
            )  # fmt: skip
        if self._url.scheme == "http" and any(may_be_reached(one, ()) for one in allowed):
            raise BrokerRefused(self._where, "it is plain http to a public address", "use https")
        return allowed

    async def _post(self, message: Message, addresses: list[str]) -> tuple[int, str | None]:
        import httpx

        for address in addresses:
            try:
                return await self._post_to(address, message)
            except httpx.ConnectError as error:
                problem = f"no connection to {address}: {error}"
            except httpx.LocalProtocolError as error:  # its text may show what is in a header
                raise MessageRefused(
                    self._where, message.id, "its headers cannot be sent over HTTP", final=True
                ) from error
            except httpx.TransportError as error:  # it may be this very message that ends the receiver
                problem = f"the connection was lost before the answer: {type(error).__name__}"
                raise MessageRefused(self._where, message.id, problem) from error
        raise BrokerUnreachable(self._where, problem)

    async def _post_to(self, address: str, message: Message) -> tuple[int, str | None]:
        import httpx

        if self._transport is None:
            # Not a client: no cookies, no redirects, no proxies, nothing from the environment.
            self._transport = httpx.AsyncHTTPTransport(verify=True if self._tls is None else self._tls, trust_env=False)
        request = httpx.Request(
            "POST",
            # The address that was looked at is the one that is connected to, whatever the DNS says by then.
            self._url.copy_with(host=address),
            headers=self._headers_of(message),
            content=message.body,
            extensions={"sni_hostname": self._host.strip("[]")},
        )
        response = await self._transport.handle_async_request(request)
        try:
            size = 0
            async for chunk in response.aiter_raw():
                size += len(chunk)
                if size > RESPONSE_BYTES_MAX:
                    break
        finally:
            await response.aclose()
        return response.status_code, response.headers.get("retry-after")

    def _headers_of(self, message: Message) -> list[tuple[str, str]]:
        from holdfast import __version__

        moment = str(int(self._now()))
        signed = " ".join(standard_signature(key, message.id, moment, message.body) for key in self._keys)
        carried = {name: quoted(text) if name.startswith("ce-") else text for name, text in message.headers.items()}
        own = {
            "host": self._url.netloc.decode("ascii"),
            "user-agent": f"holdfast/{__version__}",
            "webhook-id": message.id,
            "webhook-timestamp": moment,
            "webhook-signature": signed,
        }
        return list({**carried, **self._headers, **own}.items())


def refusal_of(status: int, retry_after: str | None, *, where: str, message_id: str, now: float) -> Exception | None:
    """What an answer means for a message; None: it was accepted. Pure."""
    if 200 <= status < 300:
        return None
    if 300 <= status < 400:
        return BrokerRefused(
            where, f"it answered {status}, a redirect, and those are not followed", "give the final URL"
        )
    comes_again = status in _LATER or status >= 500
    if comes_again and (seconds := seconds_of(retry_after, now)) is not None:
        return Retry(after=max(seconds, _SOONEST_AFTER_5XX if status >= 500 else _SOONEST))
    return MessageRefused(where, message_id, f"it answered {status}", final=not comes_again)


def seconds_of(retry_after: str | None, now: float) -> float | None:
    """Seconds from a ``Retry-After``, a number or a date, at most a day; None where it says nothing."""
    if retry_after is None:
        return None
    text = retry_after.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), RETRY_AFTER_MAX)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return min(max(moment.timestamp() - now, 0.0), RETRY_AFTER_MAX)


def _checked_url(url: str) -> tuple[str, str]:
    """The URL, and its host with the port. Raises ConfigurationError, which shows no more of it than that."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ConfigurationError("the URL of a webhook cannot be read: write https://host/path") from error
    if parts.scheme not in {"https", "http"} or not host or not url.isprintable():
        raise ConfigurationError("a webhook goes to https://host/path; that is not what was given")
    target = (f"[{host}]" if ":" in host else host) + (f":{port}" if port else "")
    if "@" in parts.netloc:
        raise ConfigurationError(
            f"the URL of the webhook to {target} has a user or password in it: give Webhook(headers={{'Authorization': ...}})"
        )
    return url.partition("#")[0], target
