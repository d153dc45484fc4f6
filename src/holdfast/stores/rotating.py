"""Another master key: data keys are wrapped anew, payloads stay as they are."""

from __future__ import annotations

from abc import ABC
from typing import TYPE_CHECKING

from holdfast.stores.keyrows import additions, as_key
from holdfast.stores.keys import Rotated
from holdfast.stores.refusing import Refusing, count_in_audit, record

if TYPE_CHECKING:
    from collections.abc import Callable

    from holdfast.encryption import KeyProvider
    from holdfast.stores.refusing import Action
    from holdfast.stores.values import SubjectKey

CHUNK = 500
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


class Rotating(Refusing, ABC):
    """The part of `holdfast.stores.operator.Operator` that rotates keys."""

    async def rotate_keys(
        self, provider: KeyProvider, *, actor: str, progress: Callable[[int], None] | None = None
    ) -> Rotated:
        from holdfast.encryption.keyring import rewrapped  # who has no keys is spared the import

        master = provider.current
        async with self.refusals(actor, "keys rotate", master):
            audit = await self.perform(record(actor, "keys rotate", master, count=0))
            after, wrapped, left = _BEFORE_ALL, 0, 0
            while found := await self._next_keys(master, after):
                renewed = await rewrapped(provider, found)
                await self.perform(rewrap(renewed, audit))
                wrapped, left, after = wrapped + len(renewed), left + len(found) - len(renewed), str(found[-1].id)
                if progress is not None:
                    progress(wrapped + left)
        return Rotated(wrapped, left)

    async def _next_keys(self, master: str, after: str) -> list[SubjectKey]:
        rows = await self._inspector.rows("keys_to_wrap", master=master, after=after, limit=CHUNK)
        return [as_key(row) for row in rows]


def rewrap(keys: list[SubjectKey], audit: int) -> Action[None]:
    yield "rewrap_keys", additions(keys)
    yield from count_in_audit(audit, len(keys))
