"""What the audit says of erased payloads: the place where erasing and verifying meet.

Whoever erases a payload for good puts `MASK` in its place, may change the headers to say so, and writes an audit row of
action ``erase`` whose detail names whose events: ``tenant_id``, with ``key`` only those of that key, up to the log's
``position``. The seal keeps the payload's digest, so the chain holds, and the event shows as erased by whom and when.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from holdfast.stores.inspecting import as_json, as_moment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from holdfast.sealing.chain import LoggedEvent

ACTION = "erase"
MASK = b'{"erased":true}'
MASK_DIGEST = sha256(MASK).digest()
EXPLAINED = {"payload", "headers"}


class Erasure(NamedTuple):
    """Who erased, when, and the events of which positions."""

    actor: str
    at: datetime
    position: int


class Erasures:
    """
    The erasures of the audit, by tenant and key.

    Args:
        rows: Of statement ``erasures``: time, actor, detail. A detail of another form explains nothing.
    """

    def __init__(self, rows: Iterable[tuple[Any, ...]]) -> None:
        self._known: dict[tuple[str, str | None], list[Erasure]] = {}
        for at, actor, detail in rows:
            match as_json(detail):
                case {"tenant_id": str(tenant), "position": int(position), **others}:
                    key = others.get("key")
                    whose = tenant, key if isinstance(key, str) else None
                    self._known.setdefault(whose, []).append(Erasure(actor, as_moment(at), position))

    def of(self, event: LoggedEvent) -> Erasure | None:
        """The first erasure that *event*, whose payload is the mask, falls under."""
        if event.payload != MASK_DIGEST:
            return None
        for whose in ((event.tenant_id, event.key), (event.tenant_id, None)):
            for one in self._known.get(whose, ()):
                if event.position <= one.position:
                    return one
        return None
