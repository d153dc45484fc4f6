"""Looking at an encrypted store: what has a payload in it is decrypted, for a reader that has the keys."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

import msgspec

from holdfast.encrypted import is_encrypted, is_sealed
from holdfast.event import Row
from holdfast.stores.columns import as_json
from holdfast.stores.inspector import make_inspector

if TYPE_CHECKING:
    from collections.abc import Sequence
    from uuid import UUID

    from holdfast.encryption.codec import Codec
    from holdfast.encryption.keyring import KeyStore
    from holdfast.encryption.providers import KeyProvider
    from holdfast.stores.base import Store
    from holdfast.stores.filters import DeadFilter
    from holdfast.stores.inspector import Inspector
    from holdfast.stores.operator import Operator
    from holdfast.stores.records import DeadLetter, EventDetail


def open_inspector(store: Store, provider: KeyProvider | None) -> tuple[Inspector, Operator]:
    """
    As `make_inspector`; with *provider*, payloads are shown decrypted, and what is published by correcting is encrypted.

    Raises:
        MissingExtra: ``cryptography`` is not installed.
    """
    inspector, operator = make_inspector(store)
    if provider is None:
        return inspector, operator
    from holdfast.encryption.codec import Codec

    codec = Codec(cast("KeyStore", store), provider)
    operator.sealed = codec.sealed
    return cast("Inspector", OpenInspector(inspector, codec)), operator


class OpenInspector:
    """`Inspector`, with payloads decrypted. What is not here is asked of *inspector* as it is."""

    def __init__(self, inspector: Inspector, codec: Codec) -> None:
        self._inspector, self._codec = inspector, codec

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inspector, name)

    async def event(self, event_id: UUID, *, tenant_id: str | None = None) -> EventDetail:
        found = await self._inspector.event(event_id, tenant_id=tenant_id)
        (payload,) = await self._opened([(found.id, found.tenant_id, found.name, found.key, found.payload)])
        return replace(found, payload=payload)

    async def dead(self, filter: DeadFilter, *, limit: int = 50, before: int | None = None) -> list[DeadLetter]:
        found = await self._inspector.dead(filter, limit=limit, before=before)
        payloads = await self._opened([(one.event_id, one.tenant_id, one.name, one.key, one.payload) for one in found])
        return [replace(one, payload=payload) for one, payload in zip(found, payloads, strict=True)]

    async def _opened(self, contents: Sequence[tuple[UUID, str, str, str | None, Any]]) -> list[Any]:
        """The payloads; one that cannot be decrypted stays as it is stored."""
        closed = [(place, one) for place, one in enumerate(contents) if is_sealed(one[-1])]
        rows = [
            Row(0, event_id.bytes, 0, 0, 0, tenant_id, name, key, msgspec.json.encode(payload), None)
            for _, (event_id, tenant_id, name, key, payload) in closed
        ]
        payloads = [one[-1] for one in contents]
        for (place, _), row in zip(closed, await self._codec.opened(rows), strict=True):
            if not is_encrypted(row.payload):
                payloads[place] = as_json(row.payload)
        return payloads
