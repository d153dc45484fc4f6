"""Trying declared types on stored events: which of them could a handler not be given? Reads only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID  # noqa: TC003 - the annotations are read when results become JSON

import msgspec

from holdfast.encrypted import is_sealed
from holdfast.erased import MASK
from holdfast.errors import NotFound
from holdfast.event_types import VERSION_HEADER
from holdfast.stores.filters import EventFilter
from holdfast.typed.declared import version_in
from holdfast.typed.problems import Misfit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from holdfast.stores.inspector import Inspector
    from holdfast.typed.declared import Declared

PAGE = 100


class Refused(NamedTuple):
    """A stored event of which no value can be made. No part of its payload stands here."""

    event_id: UUID
    path: str
    problem: str


class Tried(NamedTuple):
    """What became of the newest events of a name.

    Attributes:
        events: How many were tried.
        refused: Those of them of which no value can be made.
        locked: Encrypted ones without a key here, which were left out. Erased ones are not counted at all.
    """

    name: str
    events: int
    refused: list[Refused]
    locked: int


async def try_stored(inspector: Inspector, declared: Declared, *, sample: int) -> Tried:
    """
    Try the newest *sample* events of a declared name. Cost: a search for them, and a look for each.

    Raises:
        StoreUnavailable, SchemaMismatch, PermissionDenied
    """
    tried, locked, refused = 0, 0, list[Refused]()
    async for event_id in _newest(inspector, declared.name, sample):
        try:
            found = await inspector.event(event_id)
        except NotFound:  # retention has dropped it since it was listed
            continue
        raw = msgspec.json.encode(found.payload)
        if is_sealed(found.payload):
            locked += 1
        elif raw != MASK:
            tried += 1
            try:
                _try(declared, raw, found.headers)
            except Misfit as misfit:
                refused.append(Refused(event_id, misfit.path, misfit.problem))
    return Tried(declared.name, tried, refused, locked)


async def _newest(inspector: Inspector, name: str, sample: int) -> AsyncIterator[UUID]:
    before: int | None = None
    while sample > 0:
        page = await inspector.events(EventFilter(name=name), limit=min(sample, PAGE), before=before)
        for event in page.events:
            yield event.id
        sample -= len(page.events)
        if (before := page.next_before) is None:
            return


def _try(declared: Declared, raw: bytes, headers: Any) -> None:
    said = headers.get(VERSION_HEADER) if isinstance(headers, dict) else None
    version = version_in(said if isinstance(said, str) else None)
    if not declared.knows(version):
        known = f"{declared.oldest} to {declared.version}"
        raise Misfit(f"headers.{VERSION_HEADER}", f"is {version}, and versions {known} are known here")
    declared.decode(raw, version)
