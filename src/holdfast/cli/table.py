"""What fits its terminal: tables, whose rows become blocks at last, and sentences. Pure."""

from __future__ import annotations

import textwrap
import unicodedata
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

_GAP = "  "
_COMFORT, _LEAST = 20, 12
_SAYS_NOTHING = {"-", "0"}


class Column(NamedTuple):
    """A column of a table.

    Attributes:
        spare: Where the table is too wide, the column of the highest number goes first; 0 stays.
        cut: Its texts may be cut, to 20 characters, to 12 when no spare column is left. Never ids, names or times.
        quiet: Left out while no row has anything to say in it.
    """

    heading: str
    spare: int = 0
    cut: bool = False
    quiet: bool = False


class _Filled(NamedTuple):
    column: Column
    texts: tuple[str, ...]  # the heading first

    def width(self, limit: int | None = None) -> int:
        """What it takes, where texts that may be cut take *limit* at most."""
        natural = max(map(display_width, self.texts))
        if limit is None or not self.column.cut:
            return natural
        return min(natural, max(limit, display_width(self.texts[0])))


def table_lines(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """The lines of a table of at most *width*; None: as wide as it comes."""
    filled = [
        _Filled(column, (column.heading.upper(), *texts))
        for column, *texts in zip(columns, *rows, strict=True)
        if not column.quiet or set(texts) - _SAYS_NOTHING
    ]
    if width is None:
        return _lines(filled, [one.width() for one in filled])
    chosen = _chosen(filled, width)
    return _blocks(filled, width) if chosen is None else _lines(chosen, _widths(chosen, width))


def _chosen(filled: Sequence[_Filled], width: int) -> list[_Filled] | None:
    """The columns that there is room for; None where even those that must stay do not fit."""
    chosen = list(filled)
    while _total(chosen, _COMFORT) > width:
        spare = max(chosen, key=lambda one: one.column.spare)
        if not spare.column.spare:
            return chosen if _total(chosen, _LEAST) <= width else None
        chosen.remove(spare)
    return chosen


def _widths(chosen: Sequence[_Filled], width: int) -> list[int]:
    """What each column gets: texts that may be cut share what is left, up to their comfort first."""
    widths = [one.width(_LEAST) for one in chosen]
    left = width - _total(chosen, _LEAST)
    for limit in (_COMFORT, None):
        for place, one in enumerate(chosen):
            more = min(left, one.width(limit) - widths[place])
            widths[place] += more
            left -= more
    return widths


def _total(filled: Sequence[_Filled], limit: int) -> int:
    return sum(one.width(limit) for one in filled) + len(_GAP) * (len(filled) - 1)


def _lines(filled: Sequence[_Filled], widths: Sequence[int]) -> list[str]:
    rows = zip(*(one.texts for one in filled), strict=True)
    return [
        _GAP.join(padded(shortened(text, width), width) for text, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _blocks(filled: Sequence[_Filled], width: int) -> list[str]:
    """A line for each cell, an empty one between rows."""
    label = max(display_width(one.texts[0]) for one in filled)
    room = max(_LEAST, width - label - len(_GAP))
    lines: list[str] = []
    for row in range(1, len(filled[0].texts)):
        lines += [""] if lines else []
        for column, (heading, *texts) in filled:
            text = texts[row - 1]
            lines.append(f"{padded(heading, label)}{_GAP}{shortened(text, room) if column.cut else text}")
    return lines


def display_width(text: str) -> int:
    """Cells that *text* takes on a terminal: two for wide characters, none for combining marks."""
    if text.isascii():
        return len(text)
    return sum(_cells(character) for character in text)


def _cells(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def padded(text: str, width: int) -> str:
    return text + " " * (width - display_width(text))


def shortened(text: str, width: int) -> str:
    """*text* in *width* cells, with an ellipsis where something is missing."""
    if display_width(text) <= width:
        return text
    kept, room = "", width - 1
    for character in text:
        room -= _cells(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…"


def sentence_lines(text: str, width: int | None, *, indent: int) -> list[str]:
    """
    *text* in lines of at most *width*: the first one to be printed behind *indent* cells, the others with them. None:
    in one line.

    A command, which two spaces set off on each side, stays in one piece, so that it can be copied.
    """
    if width is None:
        return [text]
    parts = text.split(_GAP)
    parts[1::2] = [f" {part} ".replace(" ", "\0") for part in parts[1::2]]
    space = " " * indent
    found = textwrap.wrap(
        " ".join(parts), max(width, 2 * indent), initial_indent=space, subsequent_indent=space, break_long_words=False,
        break_on_hyphens=False,
    )  # fmt: skip
    lines = [line[indent:].strip("\0").replace("\0", " ") for line in found] or [""]
    return [lines[0], *(space + line for line in lines[1:])]
