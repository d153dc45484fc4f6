"""Signatures of webhooks: HMAC-SHA256, compared in constant time. Pure: the time of day is given.

Three ways are known. GitHub signs the body alone. Stripe signs time and body. `Standard Webhooks
<https://www.standardwebhooks.com>`_ signs id, time and body, and is what Holdfast itself sends.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
from typing import TYPE_CHECKING

from holdfast.errors import ConfigurationError, InvalidSignature

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

TOLERANCE = 300.0
"""Seconds that a signed time may be off, either way."""

SECRET_LENGTH_MIN = 16

_SECONDS = re.compile(r"[0-9]{1,12}")
_PREFIX = "whsec_"


def check_secrets(given: str | Sequence[str]) -> tuple[bytes, ...]:
    """
    The keys of one secret or several; the first one signs, any of them verifies.

    Raises:
        ConfigurationError: There is none, or one is too short to be one. The text does not show it.
    """
    secrets = (given,) if isinstance(given, str) else tuple(given)
    if not secrets:
        raise ConfigurationError("no secret is given: whoever finds the address could send whatever they like")
    return tuple(_key(secret) for secret in secrets)


def _key(secret: str) -> bytes:
    key = secret.encode()
    if len(key) < SECRET_LENGTH_MIN:
        raise ConfigurationError(
            f"a secret has {len(key)} bytes: use at least {SECRET_LENGTH_MIN}, such as  openssl rand -hex 32"
        )
    return key


def standard_key(secret: bytes) -> bytes:
    """
    The key that Standard Webhooks sign with: of a secret ``whsec_…`` what follows in base64, else the secret itself.

    Raises:
        ConfigurationError: What follows is no base64.
    """
    prefix = _PREFIX.encode()
    if not secret.startswith(prefix):
        return secret
    try:
        encoded = secret[len(prefix) :]
        return base64.b64decode(encoded + b"=" * (-len(encoded) % 4), validate=True)
    except binascii.Error as error:
        raise ConfigurationError("a secret begins with whsec_ and no base64 follows: copy it again, whole") from error


def verify_github(secrets: Iterable[bytes], header: str | None, body: bytes) -> None:
    """Check ``X-Hub-Signature-256``. Raises InvalidSignature."""
    given = _required("X-Hub-Signature-256", header)
    wanted = ["sha256=" + _hex(secret, body) for secret in secrets]
    _require_one("X-Hub-Signature-256", wanted, [given])


def verify_stripe(
    secrets: Iterable[bytes], header: str | None, body: bytes, *, now: float, tolerance: float = TOLERANCE
) -> None:
    """Check ``Stripe-Signature: t=…,v1=…`` and the time in it. Raises InvalidSignature."""
    name = "Stripe-Signature"
    parts = [part.strip().partition("=")[::2] for part in _required(name, header).split(",")]
    times = [value for key, value in parts if key == "t"]
    if len(times) != 1:
        raise InvalidSignature(name, f"has {len(times)} times", "it is t=SECONDS,v1=SIGNATURE")
    wanted = [_hex(secret, times[0].encode() + b"." + body) for secret in secrets]
    _require_one(name, wanted, [value for key, value in parts if key == "v1"])
    _require_recent(name, times[0], now, tolerance)


def verify_standard(
    secrets: Iterable[bytes], message_id: str | None, time: str | None, header: str | None, body: bytes, *,
    now: float, tolerance: float = TOLERANCE,
) -> None:  # fmt: skip
    """Check ``webhook-signature`` over ``webhook-id``, ``webhook-timestamp`` and body. Raises InvalidSignature."""
    name = "webhook-signature"
    given = _required(name, header).split(" ")
    message_id, moment = _required("webhook-id", message_id), _required("webhook-timestamp", time)
    wanted = [standard_signature(standard_key(secret), message_id, moment, body) for secret in secrets]
    _require_one(name, wanted, given)
    _require_recent("webhook-timestamp", moment, now, tolerance)


def standard_signature(key: bytes, message_id: str, time: str, body: bytes) -> str:
    """The value of ``webhook-signature`` for one key."""
    signed = f"{message_id}.{time}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


def _hex(secret: bytes, signed: bytes) -> str:
    return hmac.digest(secret, signed, hashlib.sha256).hex()


def _required(name: str, value: str | None) -> str:
    if not value:
        raise InvalidSignature(name, "is missing", "every request is signed")
    return value


def _require_one(name: str, wanted: list[str], given: list[str]) -> None:
    # All are compared, so that the time does not tell which secret was nearly right.
    same = [hmac.compare_digest(one.encode(), other.encode()) for one in wanted for other in given]
    if not any(same):
        raise InvalidSignature(name, "does not fit", "the body is signed with the secret that both sides know")


def _require_recent(name: str, time: str, now: float, tolerance: float) -> None:
    if _SECONDS.fullmatch(time) is None:
        raise InvalidSignature(name, "has no time", "a time is whole seconds since 1970")
    if abs(now - int(time)) > tolerance:
        raise InvalidSignature(
            name, f"was made {now - int(time):+.0f} s ago", f"at most {tolerance:g} s are allowed; look at both clocks"
        )
