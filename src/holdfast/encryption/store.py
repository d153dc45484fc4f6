"""A store whose payloads are encrypted: it stands round another one, and the engine sees no difference."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, cast

from holdfast.encryption.codec import Codec, subjects_of
from holdfast.encryption.keyring import KeyStore
from holdfast.errors import ConfigurationError, KeysUnavailable, StoreBusy
from holdfast.stores.base import Reader, Store

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from holdfast.encryption.providers import KeyProvider
    from holdfast.event import NewEvent, Row
    from holdfast.schedule import Firing
    from holdfast.stores.scheduling import Standing
    from holdfast.stores.values import (
        Appended,
        Claim,
        Cursor,
        Declaration,
        Due,
        Page,
        Settlement,
        Slice,
        SubjectKey,
    )


class Whole(Store, KeyStore, Protocol):
    """A store that keeps data keys, too; both of ours do."""

    async def add_keys_within(self, transaction: Any, keys: Sequence[SubjectKey]) -> None:
        """
        Write *keys* through the caller's connection, as `Store.append_within` writes events.

        Raises:
            StoreBusy: A subject has another key in use by now: roll back and try again.
        """
        ...

    def add_keys_within_sync(self, transaction: Any, keys: Sequence[SubjectKey]) -> None:
        """The same for synchronous connections and sessions."""
        ...


def encrypted_store(store: Store, provider: KeyProvider) -> EncryptedStore:
    """*store*, encrypted."""
    return EncryptedStore(cast(Whole, store), provider)


class EncryptedStore:
    """
    `Store`, with payloads encrypted on their way in and decrypted on their way out.

    What is not here goes to *store* as it is: it has no payload in it.
    """

    def __init__(self, store: Whole, provider: KeyProvider) -> None:
        self._store = store
        self.codec = Codec(store, provider)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    @property
    def face(self) -> Store:
        """Itself, as the engine knows it."""
        return cast(Store, self)

    # In

    async def append(self, events: Sequence[NewEvent], *, atomic: bool) -> list[Appended]:
        return await self._store.append(await self.codec.sealed(events), atomic=atomic)

    async def sealed_within(self, events: Sequence[NewEvent], *, stands: bool) -> list[NewEvent]:
        """
        What `append_within` takes: *events*, encrypted. In the loop that the store lives in.

        Args:
            stands: As `Store.stands` said.
        """
        if self._store.is_remote:
            return await self.codec.sealed(events)
        return await self.codec.sealed_for_guest(events, may_look=stands)

    async def append_within(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        with self._proposing(events) as keys:
            if keys and first is None:
                await self._store.add_keys_within(transaction, keys)
            results = await self._store.append_within(transaction, events, first=first)
            if keys and first is not None:  # only now there is a table for them
                await self._store.add_keys_within(transaction, keys)
        return results

    def append_within_sync(
        self, transaction: Any, events: Sequence[NewEvent], *, first: Sequence[Declaration] | None = None
    ) -> list[Appended]:
        with self._proposing(events) as keys:
            if keys and first is None:
                self._store.add_keys_within_sync(transaction, keys)
            results = self._store.append_within_sync(transaction, events, first=first)
            if keys and first is not None:
                self._store.add_keys_within_sync(transaction, keys)
        return results

    @contextmanager
    def _proposing(self, events: Sequence[NewEvent]) -> Iterator[list[SubjectKey]]:
        """The keys to be written with *events*; one whose subject has another by now is not proposed again."""
        try:
            yield self.codec.proposed(events)
        except StoreBusy:
            self.codec.keyring.forget_proposed(subjects_of(events, done=True))
            raise

    async def advance_schedule(self, standing: Standing, firing: Firing, events: Sequence[NewEvent]) -> bool:
        return await self._store.advance_schedule(standing, firing, await self.codec.sealed(events))

    async def settle(self, settlement: Settlement) -> set[Slice]:
        if not settlement.events:
            return await self._store.settle(settlement)
        try:
            events = await self.codec.sealed([event for _, event in settlement.events])
        except ConfigurationError as error:  # outcomes wait for whoever gives it the keys, they are not lost for it
            raise KeysUnavailable(str(error)) from error
        places = [place for place, _ in settlement.events]
        return await self._store.settle(replace(settlement, events=list(zip(places, events, strict=True))))

    # Out

    async def reader(self) -> Reader:
        return EncryptedReader(await self._store.reader(), self.codec)

    async def claim(self, leases: Mapping[Slice, int], *, limit: int) -> Claim:
        claim = await self._store.claim(leases, limit=limit)
        return claim._replace(due=await self._opened(claim.due))

    async def suspects(self, slices: Collection[Slice]) -> list[Due]:
        return await self._opened(await self._store.suspects(slices))

    async def take_in(self, lease: Slice, epoch: int, rows: Sequence[Row]) -> list[Due]:
        return await self._opened(await self._store.take_in(lease, epoch, rows))

    async def _opened(self, due: Sequence[Due]) -> list[Due]:
        rows = await self.codec.opened([one.row for one in due])
        return [one._replace(row=row) for one, row in zip(due, rows, strict=True)]


class EncryptedReader:
    """`Reader`, with the payloads of what it reads decrypted."""

    def __init__(self, reader: Reader, codec: Codec) -> None:
        self._reader, self._codec = reader, codec

    async def read(
        self, cursor: Cursor, *, horizon: str | None = None, before: int | None = None, without: Collection[str] = (),
        limit: int, max_bytes: int,
    ) -> Page:  # fmt: skip
        page = await self._reader.read(
            cursor, horizon=horizon, before=before, without=without, limit=limit, max_bytes=max_bytes
        )
        return page._replace(rows=await self._codec.opened(page.rows)) if page.rows else page

    async def horizon(self) -> str:
        return await self._reader.horizon()

    async def generation(self) -> int:
        return await self._reader.generation()

    async def close(self) -> None:
        await self._reader.close()
