"""What the dashboard gives to a browser and takes back: signed, so that nobody can make it up."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time

from holdfast.errors import ConfigurationError

SESSION_SECONDS = 12 * 3600.0
"""How long a signed-in browser stays so."""

NOTICE_SECONDS = 60.0

_SECRET_MIN = 32


def check_secret(name: str, text: str | None) -> None:
    """Raise ConfigurationError where *text* is so short that it could be guessed. It is not shown."""
    if text is not None and len(text) < _SECRET_MIN:
        raise ConfigurationError(f"the dashboard's {name} has {len(text)} characters: use {_SECRET_MIN} or more")


class Seal:
    """
    Signs texts for one purpose each: what was sealed for one is worth nothing for another.

    Args:
        secret: Shared by all processes that serve one dashboard; at least 32 characters. None: a random one, so that
            a restart signs everybody out.

    Raises:
        ConfigurationError: The secret is too short.
    """

    def __init__(self, secret: str | None = None) -> None:
        check_secret("secret", secret)
        self._key = hashlib.sha256(secret.encode()).digest() if secret else secrets.token_bytes(32)

    def close(self, purpose: str, text: str, *, seconds: float) -> str:
        """*text*, signed, good for *seconds*."""
        content = f"{int(time.time() + seconds)}|{text}"
        return f"{_encoded(content.encode())}.{self.mark(purpose, content)}"

    def open(self, purpose: str, sealed: str | None) -> str | None:
        """The text in *sealed*; None where it was not sealed here for this *purpose*, or its time is over."""
        encoded, _, mark = (sealed or "").rpartition(".")
        try:
            content = _decoded(encoded).decode()
        except ValueError:
            return None
        if not encoded or not hmac.compare_digest(mark.encode(), self.mark(purpose, content).encode()):
            return None
        until, _, text = content.partition("|")
        return text if int(until) >= time.time() else None

    def mark(self, purpose: str, content: str) -> str:
        """The signature alone."""
        return _encoded(hmac.digest(self._key, f"{purpose}\0{content}".encode(), "sha256"))


def _encoded(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).decode("ascii").rstrip("=")


def _decoded(text: str) -> bytes:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
