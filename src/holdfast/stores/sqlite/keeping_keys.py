"""Data keys in the file: found, added, also through the connection of whoever keeps others from writing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.errors import StoreBusy
from holdfast.stores.keyrows import additions, as_key, question
from holdfast.stores.sqlite.rows import time_text
from holdfast.transactions import adapt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from uuid import UUID

    from holdfast.stores.sql import Statements
    from holdfast.stores.sqlite.session import Session
    from holdfast.stores.sqlite.threads import SessionThread
    from holdfast.stores.values import Subject, SubjectKey


class KeepingKeys:
    """The part of the SQLite store that keeps data keys; see `holdfast.encryption.keyring.KeyStore`."""

    _statements: Statements
    _writer: SessionThread
    _lookup: SessionThread
    _clock: Callable[[], datetime]
    _where: str

    async def find_keys(self, subjects: Sequence[Subject], ids: Sequence[UUID]) -> list[SubjectKey]:
        return await self._lookup.run(find_keys, subjects, ids)

    async def add_keys(self, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
        return await self._writer.run(add_keys, keys)

    async def add_keys_within(self, transaction: Any, keys: Sequence[SubjectKey]) -> None:
        caller = adapt(transaction, "sqlite")
        if not caller.is_async:
            self.add_keys_within_sync(transaction, keys)
            return
        caller.require_transaction()
        await caller.run(*self._addition(keys))
        self._require(keys, await caller.run(*self._check(keys)))

    def add_keys_within_sync(self, transaction: Any, keys: Sequence[SubjectKey]) -> None:
        caller = adapt(transaction, "sqlite")
        caller.require_transaction()
        caller.run_sync(*self._addition(keys))
        self._require(keys, caller.run_sync(*self._check(keys)))

    def _addition(self, keys: Sequence[SubjectKey]) -> tuple[str, dict[str, str]]:
        return self._statements["add_keys"], additions(keys) | {"now": time_text(self._clock())}

    def _check(self, keys: Sequence[SubjectKey]) -> tuple[str, dict[str, str]]:
        return self._statements["find_keys"], question((), [one.id for one in keys])

    def _require(self, keys: Sequence[SubjectKey], rows: Sequence[Sequence[Any]]) -> None:
        if sum(as_key(row).is_in_use for row in rows) < len(keys):
            raise StoreBusy(
                f"another process has made the data key of a subject, or erased it, in {self._where} meanwhile: nothing was "
                f"published; roll back and try again"
            )


def find_keys(session: Session, subjects: Sequence[Subject], ids: Sequence[UUID]) -> list[SubjectKey]:
    return [as_key(row) for row in session.rows("find_keys", **question(subjects, ids))]


def add_keys(session: Session, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
    with session.write():
        session.count("add_keys", additions(keys) | {"now": session.now()})
        return find_keys(session, [one.subject for one in keys], ())
