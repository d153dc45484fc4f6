"""Statements as a database saw them, under the names that they have in the source."""

from __future__ import annotations

import re
from collections import Counter
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from holdfast.stores.sql import Statements

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_PARAMETER = re.compile(r"%\(\w+\)[sbt]|(?<![:\w]):[a-z]\w*")
_SEEN = r"(?:\$\d+|'(?:[^']|'')*'|NULL|-?[\d.]+)"  # PostgreSQL numbers parameters, SQLite's trace shows their values
_WORDS = ("begin immediate", "begin", "commit", "rollback")
_UNKNOWN_LENGTH = 80


class Sent(NamedTuple):
    """A statement that a database began to execute; several that were sent as one text are one."""

    name: str
    time: float
    session: str


def namer(kind: str, schema: str | None) -> Callable[[str], str]:
    """
    Tells of a text which of the store's files it comes from.

    Transactions go by their verb. What comes from no file is its own name: an unknown statement counts as well.
    """
    package = f"holdfast.stores.{kind}"
    statements = Statements(package, schema)
    files_of_all = files(package).joinpath("queries").iterdir()
    names = sorted(file.name.removesuffix(".sql") for file in files_of_all if file.name.endswith(".sql"))
    patterns = {name: re.compile(_pattern(statements[name])) for name in names}

    def name(text: str) -> str:
        flat = _flat(text)
        return next((name for name, pattern in patterns.items() if pattern.fullmatch(flat)), _verb(flat))

    return name


def _pattern(text: str) -> str:
    return _SEEN.join(re.escape(part.replace("%%", "%")) for part in _PARAMETER.split(_flat(text)))


def _flat(text: str) -> str:
    return " ".join(text.split()).removesuffix(";")


def _verb(flat: str) -> str:
    return next((word for word in _WORDS if flat.lower().startswith(word)), flat[:_UNKNOWN_LENGTH])


def counted(names: Iterable[str]) -> dict[str, int]:
    """How often each name occurs, most often first."""
    return dict(Counter(names).most_common())
