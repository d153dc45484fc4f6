"""SQL lives in files, one statement each, named after the verb. This reads them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from holdfast.errors import ConfigurationError
from holdfast.names import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA_TOKEN = ':"schema".'  # noqa: S105 - no password, in spite of its name
_SCHEMA_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")
_MIGRATION_NAME = re.compile(r"(\d{4})_(pre|post)_(\w+)\.sql")


class Migration(NamedTuple):
    """One numbered step of a schema. ``phase``: ``pre`` runs before the new release starts, ``post`` after."""

    version: int
    phase: str
    name: str
    sql: str

    @property
    def title(self) -> str:
        """What people are told of it."""
        return f"{self.version:04d} {self.name}"


def check_schema_name(schema: str) -> str:
    """Return *schema* if it is a plain lower-case identifier of at most 48 characters, which needs no quoting.

    Raises:
        ConfigurationError: It is not.
    """
    if not _SCHEMA_NAME.fullmatch(schema):
        raise ConfigurationError(
            f"schema name {shown(schema)} is not usable: lower-case letters, digits and underscores, not beginning "
            f"with a digit, at most 48 characters"
        )
    return schema


class Statements:
    """The statements of one store, by file name without ``.sql``, with the schema token filled in.

    Args:
        package: Dotted name of the store's package, with folders ``queries`` and ``schema``.
        schema: Name that replaces ``:"schema"``; None removes the token (SQLite has no schemas).
    """

    def __init__(self, package: str, schema: str | None) -> None:
        from importlib.resources import files  # slow to import, and only a store needs it

        self._folder = files(package)
        self._qualifier = "" if schema is None else f'"{check_schema_name(schema)}".'
        self._schema = schema or ""
        self._texts: dict[str, str] = {}

    def __getitem__(self, name: str) -> str:
        """Read when it is first asked for: most programs use a few of them, and a start should not wait for all."""
        if (text := self._texts.get(name)) is None:
            text = self._texts[name] = self._fill(self._folder.joinpath("queries", f"{name}.sql").read_text("utf-8"))
        return text

    def migrations(self) -> Iterator[Migration]:
        """All migrations in the order of their numbers."""
        for entry in sorted(self._folder.joinpath("schema").iterdir(), key=lambda entry: entry.name):
            if match := _MIGRATION_NAME.fullmatch(entry.name):
                version, phase, name = match.groups()
                yield Migration(int(version), phase, name, self._fill(entry.read_text("utf-8")))

    def script(self, name: str) -> str:
        """A text of several statements that lies beside the folders."""
        return self._fill(self._folder.joinpath(f"{name}.sql").read_text("utf-8"))

    def _fill(self, text: str) -> str:
        return text.replace(SCHEMA_TOKEN, self._qualifier).replace(':"schema"', self._schema)
