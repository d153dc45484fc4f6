"""What the audit says of erased payloads: the place where erasing and verifying meet.

`Operator.erase` puts the mask in place of payloads, says so in the headers, and at its end writes an audit row of action
``erased`` whose detail names whose events: ``tenant_id``, ``key`` or both, up to the log's ``position``. The seal keeps the
payload's digest, so the chain holds, and the event shows as erased by whom and when. What a run that was broken off has
masked is explained by the run that ends it.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from holdfast.erased import MASK
from holdfast.stores.columns import as_json, as_moment

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from typing import Any

    from holdfast.sealing.chain import LoggedEvent

ACTION = "erased"
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
        self._known: dict[tuple[str | None, str | None], list[Erasure]] = {}
        for at, actor, detail in rows:
            match as_json(detail):
                case {"tenant_id": str() | None as tenant, "key": str() | None as key, "position": int(position)}:
                    self._known.setdefault((tenant, key), []).append(Erasure(actor, as_moment(at), position))

    def of(self, event: LoggedEvent) -> Erasure | None:
        """The first erasure that *event*, whose payload is the mask, falls under."""
        if event.payload != MASK_DIGEST:
            return None
        tenant_id, key = event.tenant_id, event.key
        for whose in {(tenant_id, key), (tenant_id, None), (None, key)} - {(None, None)}:
            for one in self._known.get(whose, ()):
                if event.position <= one.position:
                    return one
        return None
