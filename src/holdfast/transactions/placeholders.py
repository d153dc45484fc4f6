"""From ``:name`` placeholders to those of a driver."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

# Literals, quoted names, comments and casts are matched so that a colon in them is passed over.
_TOKEN = re.compile(r"""'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/|::|:(?P<name>[a-z_]\w*)""", re.DOTALL)

_BY_NAME = {"pyformat": "%({})s", "named": ":{}"}
_BY_PLACE = {"format": "%s", "qmark": "?"}


class Rendered(NamedTuple):
    """A statement for one style. ``order``: the names of its positional parameters, None where they go by name."""

    text: str
    order: tuple[str, ...] | None

    def arguments(self, parameters: Mapping[str, str]) -> Mapping[str, str] | tuple[str, ...]:
        """*parameters* as the driver takes them."""
        return parameters if self.order is None else tuple(parameters[name] for name in self.order)


@lru_cache(maxsize=128)
def render(sql: str, style: str) -> Rendered:
    """*sql* in a DB-API ``paramstyle``, or in ``numeric_dollar`` (``$1``).

    Raises:
        KeyError: A style that no driver we know has.
    """
    order: list[str] = []

    def place(match: re.Match[str]) -> str:
        name = match["name"]
        if name is None:
            return match[0]
        if style in _BY_NAME:
            return _BY_NAME[style].format(name)
        if style == "numeric_dollar":
            if name not in order:
                order.append(name)
            return f"${order.index(name) + 1}"
        order.append(name)
        return _BY_PLACE[style]

    escaped = sql.replace("%", "%%") if style in {"pyformat", "format"} else sql
    text = _TOKEN.sub(place, escaped)
    return Rendered(text, None if style in _BY_NAME else tuple(order))
