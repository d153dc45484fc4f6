"""Data keys in the database: found, added."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from holdfast.stores.keyrows import additions, as_key, question

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from holdfast.stores.postgres.session import Session
    from holdfast.stores.sql import Statements
    from holdfast.stores.values import Subject, SubjectKey


class KeepingKeys:
    """The part of the PostgreSQL store that keeps data keys; see `holdfast.encryption.keyring.KeyStore`."""

    _statements: Statements
    _work: Session

    async def find_keys(self, subjects: Sequence[Subject], ids: Sequence[UUID]) -> list[SubjectKey]:
        return [as_key(row) for row in await self._work.run(self._statements["find_keys"], question(subjects, ids))]

    async def add_keys(self, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
        await self._work.run(self._statements["add_keys"], additions(keys))
        return await self.find_keys([one.subject for one in keys], ())

    async def add_keys_within(self, transaction: Any, keys: Sequence[SubjectKey]) -> None:
        """Nothing to do: writers do not keep each other out here, so keys are committed before their events."""

    def add_keys_within_sync(self, transaction: Any, keys: Sequence[SubjectKey]) -> None:
        """As `add_keys_within`."""
