"""The data keys of subjects: found, made, remembered for a moment."""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar
from uuid import UUID, uuid4

from holdfast.encryption.providers import KEY_BYTES, WrappedKey, asked, cipher
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.ports import elapsed, random_bytes
from holdfast.stores.values import KEY_SECONDS, Subject, SubjectKey

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    from holdfast.encryption.providers import KeyProvider

T = TypeVar("T")

REMEMBERED = 10_000
"""Subjects, and data keys, that a process keeps in memory; about 1 kB each."""
_CHUNK = 1_000


class KeyStore(Protocol):
    """Where data keys rest, wrapped; of one that was erased its row alone."""

    async def find_keys(self, subjects: Sequence[Subject], ids: Sequence[UUID]) -> list[SubjectKey]:
        """The keys in use of *subjects*, and those called *ids*, erased ones too."""
        ...

    async def add_keys(self, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
        """Keep *keys*, but for subjects that have one in use already; returns those in use of all these subjects."""
        ...


class DataKey(NamedTuple):
    """A subject's key, ready for use: ``seal`` for payloads, ``content`` for knowing content again."""

    id: bytes
    seal: AESGCM
    content: bytes


class Locked(NamedTuple):
    """In place of a key that cannot be had. ``erased``: it was dropped, for good."""

    erased: bool


Key = DataKey | Locked
Taken = list[tuple[SubjectKey, Key]]


class Keyring:
    """
    Gives data keys, and asks store and provider for no more than those that it does not know.

    What it knows counts for `KEY_SECONDS`: a key that was erased meanwhile must not be used for longer.

    Args:
        store: Keeps the wrapped keys.
        provider: Wraps and unwraps them.
        clock: Seconds, for tests.
    """

    def __init__(self, store: KeyStore, provider: KeyProvider, *, clock: Callable[[], float] = elapsed) -> None:
        self._store, self._provider, self._clock = store, provider, clock
        self._aead = cipher()
        self._by_subject: dict[Subject, tuple[DataKey, float]] = {}
        self._by_id: dict[bytes, tuple[Key, float]] = {}
        self._proposed: dict[Subject, tuple[DataKey, SubjectKey]] = {}

    async def for_sealing(self, subjects: Collection[Subject]) -> dict[Subject, DataKey]:
        """
        A key for each subject, committed in the store; new where there was none.

        Raises:
            ConfigurationError: One in use is under a master key that is not here.
            StoreUnavailable: Also where the provider fails.
        """
        found, unknown = self._known(subjects)
        for chunk in _chunks(unknown):
            found |= in_use(await self._take_in(await self._store.find_keys(chunk, ())))
        # More than once where one is erased between being made and being read back: its subject has another one then.
        while missing := [one for one in unknown if one not in found]:
            for chunk in _chunks(missing):
                found |= in_use(await self._take_in(await self._store.add_keys(await self._made(chunk))))
        return found

    async def for_opening(self, ids: Collection[bytes]) -> dict[bytes, Key]:
        """
        The keys by their ids.

        Raises:
            StoreUnavailable: Also where the provider fails.
        """
        now = self._clock()
        found = {one: known[0] for one in ids if (known := self._by_id.get(one)) is not None and known[1] > now}
        for chunk in _chunks([one for one in ids if one not in found]):
            taken = await self._take_in(await self._store.find_keys((), [UUID(bytes=one) for one in chunk]))
            # A row that is not there says nothing: a table may have come from an older backup than the log.
            found |= dict.fromkeys(chunk, Locked(erased=False)) | {row.id.bytes: key for row, key in taken}
        return found

    # Where somebody's transaction keeps every other one from writing, on SQLite

    async def for_guest(self, subjects: Collection[Subject], *, may_look: bool) -> dict[Subject, DataKey]:
        """
        A key for each subject; one that is new is proposed, and written by that transaction itself: see `proposed`.

        Args:
            may_look: False: the tables may not be there yet.
        """
        found, unknown = self._known(subjects)
        for chunk in _chunks(unknown):
            try:
                found |= in_use(await self._take_in(await self._store.find_keys(chunk, ())))
            except HoldfastError:
                if may_look:
                    raise
        for chunk in _chunks([one for one in unknown if one not in found and one not in self._proposed]):
            made = await self._made(chunk)
            keys = in_use(list(zip(made, await self._opened(made), strict=True)))
            _remember(self._proposed, {row.subject: (keys[row.subject], row) for row in made})
        return found | {one: self._proposed[one][0] for one in unknown if one not in found}

    def proposed(self, subjects: Collection[Subject]) -> list[SubjectKey]:
        """What has to be written together with events of *subjects*. The same again until the store is seen to have it."""
        return [self._proposed[one][1] for one in subjects if one in self._proposed]

    def forget_proposed(self, subjects: Collection[Subject]) -> None:
        """The store has another key for one of them by now."""
        for subject in subjects:
            self._proposed.pop(subject, None)

    # Asking

    def _known(self, subjects: Collection[Subject]) -> tuple[dict[Subject, DataKey], list[Subject]]:
        now, known = self._clock(), self._by_subject
        found = {one: known[one][0] for one in subjects if one in known and known[one][1] > now}
        return found, [one for one in dict.fromkeys(subjects) if one not in found]

    async def _made(self, subjects: Sequence[Subject]) -> list[SubjectKey]:
        new = [(random_bytes(KEY_BYTES), text_of(one)) for one in subjects]
        return [
            SubjectKey(uuid4(), subject.tenant_id, subject.key, one.master, one.wrapped)
            for subject, one in zip(subjects, await asked(self._provider.wrap(new)), strict=True)
        ]

    async def _take_in(self, rows: Sequence[SubjectKey]) -> Taken:
        """Open what the store has just said, and remember it."""
        until = self._clock() + KEY_SECONDS
        # Of a key that was opened before, it is enough to know that it is still there.
        keys = [self._opened_before(row) for row in rows]
        opened = iter(await self._opened([row for row, key in zip(rows, keys, strict=True) if key is None]))
        taken = [(row, next(opened) if key is None else key) for row, key in zip(rows, keys, strict=True)]
        _remember(self._by_id, {row.id.bytes: (key, until) for row, key in taken})
        used = {row.subject: (key, until) for row, key in taken if row.is_in_use and isinstance(key, DataKey)}
        _remember(self._by_subject, used)
        self.forget_proposed(used)
        return taken

    def _opened_before(self, row: SubjectKey) -> DataKey | None:
        known = self._by_id.get(row.id.bytes)
        return known[0] if known is not None and isinstance(known[0], DataKey) and row.wrapped is not None else None

    async def _opened(self, rows: Sequence[SubjectKey]) -> list[Key]:
        wrapped = [WrappedKey(one.master, one.wrapped, text_of(one.subject)) for one in rows if one.wrapped is not None]
        keys = iter(await asked(self._provider.unwrap(wrapped)) if wrapped else ())
        return [Locked(erased=True) if row.wrapped is None else self._data_key(row.id, next(keys)) for row in rows]

    def _data_key(self, key_id: UUID, key: bytes | None) -> Key:
        if key is None:
            return Locked(erased=False)
        seal, content = (hmac.digest(key, purpose, "sha256") for purpose in (b"holdfast seal", b"holdfast content"))
        return DataKey(key_id.bytes, self._aead(seal), content)


def in_use(taken: Taken) -> dict[Subject, DataKey]:
    """Those to encrypt with."""
    found = {}
    for row, key in taken:
        if not row.is_in_use:
            continue
        if not isinstance(key, DataKey):
            raise ConfigurationError(
                f"data key {row.id} is under the master key {row.master!r}, which is not among those of this bus: add it "
                f"behind the current one, or run  holdfast keys rotate  where both are"
            )
        found[row.subject] = key
    return found


async def rewrapped(provider: KeyProvider, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
    """*keys* under the current master key; without those whose own is not here, and erased ones."""
    there = [one for one in keys if one.wrapped is not None]
    closed = [WrappedKey(one.master, one.wrapped or b"", text_of(one.subject)) for one in there]
    opened = await asked(provider.unwrap(closed))
    both = [(row, key) for row, key in zip(there, opened, strict=True) if key is not None]
    anew = await asked(provider.wrap([(key, text_of(row.subject)) for row, key in both]))
    return [row._replace(master=one.master, wrapped=one.wrapped) for (row, _), one in zip(both, anew, strict=True)]


def text_of(subject: Subject) -> bytes:
    """The subject as bytes that no other subject has: neither tenant nor key can have a NUL, and a key is not empty."""
    return f"{subject.tenant_id}\0{subject.key or ''}".encode()


def _remember(known: dict[T, Any], more: dict[T, Any]) -> None:
    """What comes again counts as new; the oldest go."""
    for one, value in more.items():
        known.pop(one, None)
        known[one] = value
    while len(known) > REMEMBERED:
        del known[next(iter(known))]


def _chunks(items: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(items), _CHUNK):
        yield items[start : start + _CHUNK]
