"""Payloads in and out: one event at a time is arithmetic, the keys of many are asked for together."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

import msgspec

from holdfast.encrypted import (
    CHANGED,
    NO_KEY,
    Sealed,
    Spooled,
    decoded,
    encoded,
    encoded_for_spool,
    is_encrypted,
    locked,
)
from holdfast.encryption.keyring import Keyring, Locked
from holdfast.encryption.providers import KEY_BYTES, WrappedKey, asked, cipher
from holdfast.erased import MASK
from holdfast.errors import InvalidEvent, MissingExtra, PayloadLocked
from holdfast.ports import random_bytes
from holdfast.stores.values import Subject

try:
    from cryptography.exceptions import InvalidTag
except ModuleNotFoundError as error:
    raise MissingExtra(error.name or "cryptography", "encryption", "encryption of payloads") from error

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from holdfast.encryption.keyring import DataKey, Key, KeyStore
    from holdfast.encryption.providers import KeyProvider
    from holdfast.event import NewEvent, Row
    from holdfast.stores.values import SubjectKey

_CONTENT = 16
_SPOOL = b"the spool"
_SPOOL_KEYS = 100


class Codec:
    """
    Encrypts and decrypts the events of one store.

    Args:
        store: Keeps the wrapped keys.
        provider: Has the master keys.
    """

    def __init__(self, store: KeyStore, provider: KeyProvider) -> None:
        self.keyring = Keyring(store, provider)
        self._provider = provider
        self._for_spool: tuple[AESGCM, WrappedKey] | None = None
        self._of_spools: dict[bytes, AESGCM] = {}

    async def sealed(self, events: Sequence[NewEvent]) -> list[NewEvent]:
        """
        *events*, encrypted; those that come out of a spool are decrypted first. A mask stays a mask.

        Raises:
            ConfigurationError, StoreUnavailable: As `Keyring.for_sealing`.
            PayloadLocked: One was spooled under a master key that is not here.
        """
        plain = await self._out_of_spool(events)
        keys = await self.keyring.for_sealing(subjects_of(plain))
        return [event if is_done(event) else sealed(event, keys[subject_of(event)]) for event in plain]

    async def sealed_for_guest(self, events: Sequence[NewEvent], *, may_look: bool) -> list[NewEvent]:
        """The same where a transaction keeps others from writing: see `Keyring.for_guest`."""
        keys = await self.keyring.for_guest(subjects_of(events), may_look=may_look)
        return [event if is_done(event) else sealed(event, keys[subject_of(event)]) for event in events]

    def proposed(self, events: Sequence[NewEvent]) -> list[SubjectKey]:
        """The keys that have to be written with *events*, which `sealed_for_guest` has returned."""
        ids = {token.key_id for event in events if isinstance(token := decoded(event.payload), Sealed)}
        return [one for one in self.keyring.proposed(subjects_of(events, done=True)) if one.id.bytes in ids]

    async def opened(self, rows: Sequence[Row]) -> list[Row]:
        """
        *rows*, decrypted where they were encrypted. In place of a payload whose key was erased stands the mask, in place
        of one that cannot be decrypted what `holdfast.encrypted.locked` says.

        Raises:
            StoreUnavailable: The store of keys, or the provider, is away.

        Cost: one look-up for all keys that are not known; some microseconds for each payload (bench/encryption.py).
        """
        tokens = [decoded(row.payload) for row in rows]
        keys = await self.keyring.for_opening({token.key_id for token in tokens if isinstance(token, Sealed)})
        opened = []
        for row, token in zip(rows, tokens, strict=True):
            if token is None:
                opened.append(row)
            elif isinstance(token, Sealed):
                opened.append(row._replace(payload=opened_payload(token, keys[token.key_id], bound_to(row.id, row))))
            else:
                opened.append(
                    row._replace(payload=await self._from_spool(token, bound_to(row.id, row)) or locked(NO_KEY))
                )
        return opened

    # The spool, which has no store to ask

    async def open_spool(self) -> None:
        """
        Make the key for what this process will spool, while its provider can be asked.

        Raises:
            KeysUnavailable: It does not answer.
        """
        if self._for_spool is None:
            key = random_bytes(KEY_BYTES)
            (wrapped,) = await asked(self._provider.wrap([(key, _SPOOL)]))
            self._for_spool = cipher()(key), wrapped

    def sealed_for_spool(self, events: Sequence[NewEvent]) -> list[NewEvent]:
        """*events*, encrypted for the time in a spool. Called in its thread."""
        assert self._for_spool is not None, "open_spool was called"
        aead, key = self._for_spool
        spooled = []
        for event in events:
            if is_done(event):
                spooled.append(event)
                continue
            nonce = random_bytes(12)
            sealed_ = aead.encrypt(nonce, event.payload, bound_to(event.id.bytes, event))
            spooled.append(event._replace(payload=encoded_for_spool(Spooled(key.master, key.wrapped, nonce, sealed_))))
        return spooled

    async def _out_of_spool(self, events: Sequence[NewEvent]) -> Sequence[NewEvent]:
        if not any(is_encrypted(event.payload) for event in events):
            return events
        found = []
        for event in events:
            token = decoded(event.payload)
            if isinstance(token, Spooled):
                payload = await self._from_spool(token, bound_to(event.id.bytes, event))
                if payload is None:
                    raise PayloadLocked(event.id, NO_KEY)
                if payload == locked(CHANGED):
                    raise InvalidEvent("payload", f"was encrypted in a spool, and {CHANGED}", "publish it again")
                found.append(event._replace(payload=payload))
            else:
                found.append(event)
        return found

    async def _from_spool(self, token: Spooled, bound: bytes) -> bytes | None:
        """The payload; None where its master key is not here."""
        aead = self._of_spools.get(token.wrapped)
        if aead is None:
            (key,) = await asked(self._provider.unwrap([WrappedKey(token.master, token.wrapped, _SPOOL)]))
            if key is None:
                return None
            if len(self._of_spools) >= _SPOOL_KEYS:
                self._of_spools.clear()
            aead = self._of_spools[token.wrapped] = cipher()(key)
        return decrypted(aead, token.nonce, token.sealed, bound)


def sealed(event: NewEvent, key: DataKey) -> NewEvent:
    """*event*, encrypted under the key of its subject."""
    bound, nonce = bound_to(event.id.bytes, event), random_bytes(12)
    content = hmac.digest(key.content, bound + b"\0" + normal(event.payload), "sha256")[:_CONTENT]
    return event._replace(
        payload=encoded(Sealed(key.id, content, nonce, key.seal.encrypt(nonce, event.payload, bound)))
    )


def opened_payload(token: Sealed, key: Key, bound: bytes) -> bytes:
    """What was encrypted, the mask where its key was erased, or why it cannot be had."""
    if isinstance(key, Locked):
        return MASK if key.erased else locked(NO_KEY)
    return decrypted(key.seal, token.nonce, token.sealed, bound)


def decrypted(aead: AESGCM, nonce: bytes, sealed_: bytes, bound: bytes) -> bytes:
    try:
        return aead.decrypt(nonce, sealed_, bound)
    except InvalidTag:
        return locked(CHANGED)


def bound_to(event_id: bytes, event: NewEvent | Row) -> bytes:
    """What a payload belongs to: under another event's id, tenant, name or key it cannot be decrypted."""
    return b"%b%b\0%b\0%b" % (event_id, event.tenant_id.encode(), event.name.encode(), (event.key or "").encode())


def normal(payload: bytes) -> bytes:
    """The content, however it is written."""
    try:
        return msgspec.json.encode(msgspec.json.decode(payload), order="sorted")
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return payload


def subject_of(event: NewEvent | Row) -> Subject:
    return Subject(event.tenant_id, event.key)


def subjects_of(events: Sequence[NewEvent], *, done: bool = False) -> dict[Subject, None]:
    """Whose events are to be encrypted, each once; with *done*, also of those that are."""
    return {subject_of(event): None for event in events if done or not is_done(event)}


def is_done(event: NewEvent) -> bool:
    """Whether there is nothing to encrypt: it is encrypted, or erased."""
    return event.payload == MASK or isinstance(decoded(event.payload), Sealed)
