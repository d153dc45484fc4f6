"""How far a follower of the feed has got, as a text that it gives back. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from holdfast.errors import InvalidInput
from holdfast.stores.values import Cursor

if TYPE_CHECKING:
    from holdfast.event import Row
    from holdfast.stores.values import Page

LENGTH_MAX = 32_768

_Parts = tuple[str, str | None, int, str | None, int]

_POSITION = re.compile(r"\d{1,18}", re.ASCII)
_SNAPSHOT = re.compile(r"\d{1,19}:\d{1,19}:(\d{1,19}(,\d{1,19})*)?", re.ASCII)
_RULE = "give back the id of an event of this feed, whole, or none to begin at what comes next"


_REISSUED_MAX = 1_000_000
"""A crashed server hands out transaction ids again: far fewer than this, as it had not written them down yet."""


class Place(NamedTuple):
    """A cursor, and the incarnation of the server that its horizons are of; see `holdfast.stores.base`.

    ``reached``: the highest position that was seen on the way; 0: none.
    """

    cursor: Cursor
    incarnation: str | None = None
    reached: int = 0

    def behind(self, page: Page, row: Row) -> Place:
        """Right behind *row* of the *page* that was read from here."""
        reached = max(self.reached, row.position)
        return Place(Cursor(self.cursor.done, page.horizon, row.position + 1), page.incarnation, reached)

    def onward(self, page: Page) -> Place:
        """Behind the whole *page* that was read from here."""
        return Place(page.cursor, page.incarnation, max(self.reached, *(row.position for row in page.rows), 0))

    def so_far(self, row: Row) -> Place:
        """The same place, where what follows is sent in the order of positions, up to *row* now."""
        return self._replace(reached=max(self.reached, row.position))

    def across(self, now: str) -> tuple[Cursor, Cursor]:
        """
        Where to read on if the server has crashed since, with what can be seen *now*.

        What had committed before the crash is told by the horizons of then: from the first cursor, up to `reached`.
        What has come since has a higher position, as the sequence behind positions never goes back behind a committed
        one; but its transaction ids may be ones that those horizons show: from the second cursor, whatever its id.
        """
        oldest = max(int(self.cursor.done.partition(":")[0]) - _REISSUED_MAX, 3)
        return Cursor(self.cursor.done), Cursor(f"{oldest}:{oldest}:", now, self.reached + 1)

    @property
    def is_snapshot(self) -> bool:
        """Whether its horizons are snapshots, as PostgreSQL has them, and not positions, as SQLite has."""
        return ":" in self.cursor.done

    def is_of(self, page: Page) -> bool:
        """Whether the server that gave *page* knows this place: one that has crashed since does not."""
        return self.incarnation is None or self.incarnation == page.incarnation

    def text(self) -> str:
        """For an ``id:``."""
        raw = msgspec.json.encode((*self.cursor, self.incarnation, self.reached))
        return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def place_of(text: str) -> Place:
    """
    The place that a ``Last-Event-ID`` stands for.

    Raises:
        InvalidInput: It is none of ours.
    """
    try:
        if len(text) > LENGTH_MAX:
            raise ValueError("it is too long")
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        done, until, position, incarnation, reached = msgspec.json.decode(raw, type=_Parts)
        kind = _SNAPSHOT if ":" in done else _POSITION
        if (
            not all(kind.fullmatch(one) for one in (done, until) if one is not None)
            or not 0 <= min(position, reached) <= max(position, reached) < 2**63 - 1
        ):
            raise ValueError("it is none")
    except (ValueError, binascii.Error, msgspec.DecodeError) as error:
        raise InvalidInput("Last-Event-ID", "is no place in this feed", _RULE) from error
    return Place(Cursor(done, until, position), incarnation, reached)
