"""How places with deferred tenants are kept: beside the cursor, which says what is settled of everything.

The cursor's own columns say less than is true then, and nothing that goes by them errs: retention keeps what waits, counts
pass over what has a receipt. What is kept beside says exactly how far each part has got, and holds only while the cursor has
not been moved by anything else: a skip, a repair after a restore, a worker of an earlier release.
"""

from __future__ import annotations

import msgspec

from holdfast.stores.values import Cursor, Place

_OTHERS = ""  # no tenant's name: all that are not deferred


class _Kept(msgspec.Struct):
    cursor: Cursor
    places: dict[str, Cursor]


_decoder = msgspec.json.Decoder(_Kept)


def encode(cursor: Cursor, place: Place | None) -> str | None:
    """What is kept beside *cursor* as JSON; None where no tenant is deferred."""
    if place is None:
        return None
    return msgspec.json.encode(_Kept(cursor, {_OTHERS: place.cursor, **dict(place.deferred)})).decode()


def decode(cursor: Cursor, kept: str | bytes | None) -> Place:
    """The place that a row says, from the columns of its cursor and what is kept beside."""
    if kept is None:
        return Place(cursor)
    found = _decoder.decode(kept)
    if found.cursor != cursor:
        return Place(cursor)
    own = found.places.pop(_OTHERS)
    return Place(own, tuple(sorted(found.places.items())))
