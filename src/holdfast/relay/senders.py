"""Who sends webhooks here: how each signs them, and what event a webhook is. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from holdfast.errors import ConfigurationError, InvalidEvent
from holdfast.names import check_key, check_tenant
from holdfast.relay.cloudevents import is_json, item_of, made_identity, read, unquoted
from holdfast.relay.signatures import (
    TOLERANCE,
    check_secrets,
    standard_key,
    verify_github,
    verify_standard,
    verify_stripe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


class Sender(Protocol):
    """What an `Inbox` asks of whoever sends to it; write your own for other ways of signing."""

    repeats_may_differ: bool
    """The sender may repeat an event with other content, and the first one counts."""

    def item(self, source: str, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, Any]:
        """
        The event of a webhook, as ``publish`` takes it by name, with an ``event_id`` that a repeat has, too.

        Args:
            source: The name under which the inbox knows this sender.
            headers: Names in lower case; a header that came twice has both values, joined by a comma.
            body: As it came.
            now: Seconds since 1970.

        Raises:
            InvalidSignature: It is not from this sender, or too old.
            InvalidEvent: It cannot be read.
        """
        ...


class GitHub:
    """
    Webhooks as GitHub signs them, and others that do as it does; events ``<source>.<event>[.<action>]``.

    Repeated deliveries are known by ``X-GitHub-Delivery``, which GitHub does not sign.

    Args:
        secrets: The secret that GitHub was given; several while one replaces another.
        tenant_id: Of the events.
        key: Takes the payload and gives the key, such as ``lambda payload: payload["repository"]["full_name"]``.

    Raises:
        ConfigurationError: A secret is too short.
    """

    repeats_may_differ = False

    def __init__(self, secrets: str | Sequence[str], *, tenant_id: str | None = None, key: Any = None) -> None:
        self._secrets, self._tenant_id, self._key = check_secrets(secrets), _checked_tenant(tenant_id), key

    def item(self, source: str, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, Any]:  # noqa: ARG002
        verify_github(self._secrets, headers.get("x-hub-signature-256"), body)
        _require_json(headers)
        event, delivery = _header(headers, "X-GitHub-Event"), _header(headers, "X-GitHub-Delivery")
        action = _decoded(body, _GitHubBody).action
        name = f"{source}.{event}" if action is None else f"{source}.{event}.{action}"
        return _item(source, delivery, name, body, self._tenant_id, self._key)


class Stripe:
    """
    Webhooks as Stripe signs them; events ``<source>.<type>``, known by their ``id``.

    Args:
        secrets: The endpoint's signing secret, ``whsec_…``; several while one replaces another.
        tolerance: Seconds that the signed time may be off; older ones are refused as replays.
        tenant_id: Of the events.
        key: Takes the payload and gives the key, such as ``lambda payload: payload["data"]["object"].get("customer")``.

    Raises:
        ConfigurationError: A secret is too short.
    """

    repeats_may_differ = True  # "pending_webhooks" counts down

    def __init__(
        self,
        secrets: str | Sequence[str],
        *,
        tolerance: float = TOLERANCE,
        tenant_id: str | None = None,
        key: Any = None,
    ) -> None:
        self._secrets, self._tenant_id, self._key = check_secrets(secrets), _checked_tenant(tenant_id), key
        self._tolerance = tolerance

    def item(self, source: str, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, Any]:
        verify_stripe(self._secrets, headers.get("stripe-signature"), body, now=now, tolerance=self._tolerance)
        found = _decoded(body, _StripeBody)
        item = _item(source, found.id, f"{source}.{found.type}", body, self._tenant_id, self._key)
        if found.created is not None:
            item["occurred_at"] = _moment(found.created)
        return item


class CloudEvents:
    """
    CloudEvents 1.0 over HTTP, signed as Standard Webhooks: what another Holdfast sends, and everybody who does the same.

    Args:
        secrets: What the sender signs with; ``whsec_…`` is base64.
        tolerance: Seconds that the signed time may be off; older ones are refused as replays.
        tenant_id: Of the events, whatever the sender says. None: what the sender says.
        binary: Take the binary mode, too: there the attributes, such as type, tenant and key, are not signed.

    Raises:
        ConfigurationError: A secret is too short, or no base64.
    """

    repeats_may_differ = False

    def __init__(
        self, secrets: str | Sequence[str], *, tolerance: float = TOLERANCE, tenant_id: str | None = None,
        binary: bool = False,
    ) -> None:  # fmt: skip
        self._secrets, self._tenant_id = check_secrets(secrets), _checked_tenant(tenant_id)
        for secret in self._secrets:
            standard_key(secret)
        self._tolerance, self._binary = tolerance, binary

    def item(self, source: str, headers: Mapping[str, str], body: bytes, now: float) -> dict[str, Any]:  # noqa: ARG002
        verify_standard(
            self._secrets, headers.get("webhook-id"), headers.get("webhook-timestamp"),
            headers.get("webhook-signature"), body, now=now, tolerance=self._tolerance,
        )  # fmt: skip
        if "ce-specversion" in headers and not self._binary:
            raise InvalidEvent(
                "ce-specversion", "is there: this is the binary mode, whose attributes are not signed",
                "send the structured mode, or allow this one: CloudEvents(binary=True)",
            )  # fmt: skip
        unpacked = {name: unquoted(value) if name.startswith("ce-") else value for name, value in headers.items()}
        return item_of(read(unpacked, body), tenant_id=self._tenant_id)


class _GitHubBody(msgspec.Struct):
    action: str | None = None


class _StripeBody(msgspec.Struct):
    id: str
    type: str
    created: int | None = None


def _item(source: str, id: str, name: str, body: bytes, tenant_id: str | None, key: Any) -> dict[str, Any]:
    return {
        "name": name,
        "payload": body,
        "event_id": made_identity(source, id),
        "tenant_id": tenant_id,
        "key": None if key is None else _key_of(key, body),
        "headers": {"webhook_source": source, "webhook_id": id},
    }


def _key_of(key: Callable[[Any], str | None], body: bytes) -> str | None:
    try:
        return check_key(key(msgspec.json.decode(body)))
    except (LookupError, TypeError, AttributeError, msgspec.DecodeError, RecursionError) as error:
        raise InvalidEvent(
            "key", f"cannot be made of this payload: {type(error).__name__}", "see key= of its source"
        ) from error


def _decoded(body: bytes, kind: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidEvent("body", f"cannot be read: {error}", "it is a JSON object in UTF-8") from error


def _header(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name.lower())
    if not value:
        raise InvalidEvent(name, "is missing", "every delivery has it")
    return value


def _require_json(headers: Mapping[str, str]) -> None:
    if not is_json(kind := headers.get("content-type", "")):
        raise InvalidEvent("content-type", f"is {kind[:60]!r}", "let the sender use application/json")


def _moment(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise InvalidEvent("created", "is no time", "use seconds since 1970") from error


def _checked_tenant(tenant_id: str | None) -> str | None:
    try:
        return None if tenant_id is None else check_tenant(tenant_id)
    except InvalidEvent as error:
        raise ConfigurationError(str(error)) from error
