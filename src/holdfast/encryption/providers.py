"""Who has the master keys, and wraps data keys with them."""

from __future__ import annotations

import os
from binascii import Error, a2b_base64, b2a_base64
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeVar

from holdfast.errors import ConfigurationError, KeysUnavailable, MissingExtra, StoreUnavailable
from holdfast.names import shown
from holdfast.ports import random_bytes

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

T = TypeVar("T")

KEY_BYTES = 32
_NAME_MAX = 200
_FORMAT = "NAME KEY, a line each: KEY is 32 random bytes in Base64 (holdfast keys make prints such a line)"


class WrappedKey(NamedTuple):
    """A data key as it is kept.

    Attributes:
        master: Name of the master key that opens it.
        wrapped: What the provider made of it.
        subject: Whose it is; it opens for nobody else.
    """

    master: str
    wrapped: bytes
    subject: bytes


class KeyProvider(Protocol):
    """
    Has the master keys. `MasterKeys` keeps them in this process; another may ask a service that never gives them out.

    What it raises counts as being away: publishing turns to the spool, workers wait.
    """

    @property
    def current(self) -> str:
        """Name of the master key that data keys are wrapped with from now on, 1 to 200 characters."""
        ...

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> Sequence[WrappedKey]:
        """Wrap data keys of 32 bytes, each given with its subject, with the current master key; in the same order."""
        ...

    async def unwrap(self, keys: Sequence[WrappedKey]) -> Sequence[bytes | None]:
        """The data keys, in the same order; None for one whose master key is not here, or that this one does not open."""
        ...


class MasterKeys:
    """
    Master keys that the program has at hand.

    Args:
        keys: 32 bytes each, by name; the first is the current one, the others open what was wrapped with them before.

    Raises:
        ConfigurationError: There is none, a name has blanks or over 200 characters, or a key has not 32 bytes.
        MissingExtra: ``cryptography`` is not installed.
    """

    def __init__(self, keys: Mapping[str, bytes]) -> None:
        aead = cipher()
        if not keys:
            raise ConfigurationError(f"there is no master key: give at least one, {_FORMAT}")
        for name, key in keys.items():
            if not name or len(name) > _NAME_MAX or len(name.split()) != 1:
                raise ConfigurationError(
                    f"a master key is called {shown(name)}: use 1 to {_NAME_MAX} characters, no blank"
                )
            if len(key) != KEY_BYTES:
                raise ConfigurationError(f"the master key {name!r} has {len(key)} bytes: give {KEY_BYTES}")
        self._ciphers = {name: aead(key) for name, key in keys.items()}
        self._current = next(iter(keys))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> MasterKeys:
        """
        Read them from a file: ``NAME KEY`` a line, the key in Base64, the current one first; ``#`` begins a comment.

        Raises:
            ConfigurationError: It cannot be read, or a line is none. No part of a key is shown.
        """
        try:
            text = Path(path).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = getattr(error, "strerror", None) or "it is no text"
            raise ConfigurationError(f"the master keys in {path} cannot be read: {problem}") from error
        return cls.from_text(text, f"the file {path}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> MasterKeys | None:
        """Those in the file that ``HOLDFAST_MASTER_KEYS_FILE`` names, or in ``HOLDFAST_MASTER_KEYS`` itself; else None."""
        variables = os.environ if environment is None else environment
        if path := variables.get("HOLDFAST_MASTER_KEYS_FILE"):
            return cls.from_file(path)
        if text := variables.get("HOLDFAST_MASTER_KEYS"):
            return cls.from_text(text, "HOLDFAST_MASTER_KEYS")
        return None

    @classmethod
    def from_text(cls, text: str, where: str) -> MasterKeys:
        """The same from a text; *where* it was found is what errors say."""
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if not words:
                continue
            name, key = words[0], "".join(words[1:])
            try:
                found = a2b_base64(key.encode(), strict_mode=True)
            except (Error, ValueError):
                found = b""
            if len(found) != KEY_BYTES or name in keys:
                raise ConfigurationError(
                    f"line {number} of {where} is no master key, or names one again: write {_FORMAT}"
                )
            keys[name] = found
        return cls(keys)

    @property
    def current(self) -> str:
        return self._current

    async def wrap(self, keys: Sequence[tuple[bytes, bytes]]) -> list[WrappedKey]:
        return [self._wrapped(key, subject) for key, subject in keys]

    def _wrapped(self, key: bytes, subject: bytes) -> WrappedKey:
        nonce = random_bytes(12)
        sealed = self._ciphers[self._current].encrypt(nonce, key, _bound(self._current, subject))
        return WrappedKey(self._current, nonce + sealed, subject)

    async def unwrap(self, keys: Sequence[WrappedKey]) -> list[bytes | None]:
        return [self._unwrapped(key) for key in keys]

    def _unwrapped(self, key: WrappedKey) -> bytes | None:
        from cryptography.exceptions import InvalidTag

        known = self._ciphers.get(key.master)
        if known is None:
            return None
        try:
            return known.decrypt(key.wrapped[:12], key.wrapped[12:], _bound(key.master, key.subject))
        except (InvalidTag, ValueError):
            return None

    def __repr__(self) -> str:
        return f"<MasterKeys {', '.join(self._ciphers)}>"


def _bound(master: str, subject: bytes) -> bytes:
    return b"holdfast data key\0" + master.encode() + b"\0" + subject


def new_master_key(name: str) -> str:
    """A line for the file of master keys, with a new key."""
    return f"{name} {b2a_base64(random_bytes(KEY_BYTES), newline=False).decode()}"


async def asked(question: Awaitable[T]) -> T:
    """What a provider answers. Raises KeysUnavailable for whatever it raises."""
    try:
        return await question
    except StoreUnavailable:
        raise
    except Exception as error:  # somebody's service, with errors of its own: none of them is the fault of an event
        raise KeysUnavailable(f"the provider of the master keys failed: {type(error).__name__}: {error}") from error


def cipher() -> type[AESGCM]:
    """AES-GCM as ``cryptography`` has it. Raises MissingExtra."""
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "cryptography", "encryption", "encryption of payloads") from error
    return AESGCM
