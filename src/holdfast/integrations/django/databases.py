"""From a database of a project to the DSN of the store in it."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

from holdfast.errors import ConfigurationError, MissingExtra

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_PLACES = {"user": "USER", "password": "PASSWORD", "host": "HOST", "port": "PORT"}


def dsn_of(connection: Any) -> str:
    """
    The DSN that leads where a connection of Django does, at the moment: tests have databases of their own.

    Raises:
        ConfigurationError: It is in memory, or of a kind that is no store.
    """
    if connection.vendor == "postgresql":
        return postgres_dsn(connection.settings_dict, known_to_libpq())
    if connection.vendor == "sqlite":
        return sqlite_dsn(connection.settings_dict["NAME"], connection.alias)
    raise ConfigurationError(
        f"the database {connection.alias!r} is {connection.display_name}, which keeps no events: name one in PostgreSQL "
        f"or SQLite by HOLDFAST['DATABASE'], or a store of its own by HOLDFAST['DSN'], with 'DATABASE': None"
    )


def postgres_dsn(settings: Mapping[str, Any], known: Collection[str]) -> str:
    """
    Args:
        settings: An entry of ``DATABASES``.
        known: Names of the parameters of libpq; other ``OPTIONS`` are Django's own.
    """
    options = settings["OPTIONS"]
    parameters = {name: settings[key] for name, key in _PLACES.items() if settings[key]}
    parameters |= {name: value for name, value in options.items() if name in known}
    if role := options.get("assume_role"):
        escaped = role.replace("\\", "\\\\").replace(" ", "\\ ")
        parameters["options"] = f"{parameters.get('options', '')} -c role={escaped}".strip()
    query = urlencode(parameters, quote_via=quote, safe="")
    return f"postgresql:///{quote(settings['NAME'] or '', safe='')}" + (f"?{query}" if query else "")


def sqlite_dsn(name: str | Path, alias: str) -> str:
    """Raises ConfigurationError: It is in memory, or a URI."""
    text = str(name)
    if text == ":memory:" or text.startswith("file:"):
        raise ConfigurationError(
            f"the database {alias!r} is {text}, which no other connection shares: give it the path of a file; for tests "
            f"in DATABASES[{alias!r}]['TEST']['NAME']"
        )
    return f"sqlite:///{quote(str(Path(text).absolute()))}"


@cache
def known_to_libpq() -> frozenset[str]:
    try:
        from psycopg import pq
    except ImportError as error:
        raise MissingExtra("psycopg", "postgres", "a PostgreSQL store") from error
    return frozenset(one.keyword.decode() for one in pq.Conninfo.get_defaults())
