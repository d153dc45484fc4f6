"""The DSN of a PostgreSQL store, read once. No error shows a part of it: a mistake can make any part of a password."""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from holdfast.errors import ConfigurationError
from holdfast.stores.postgres.errors import first_line

_QUOTED = re.compile(r'"[^"]*"?')


def read(dsn: str) -> dict[str, Any]:
    """
    The parameters that *dsn* names.

    Raises:
        ConfigurationError: It cannot be read, reads as something that nobody meant, or has a port that is none.
            libpq would say the last on every connection anew, as if the server were away.
    """
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.Error as error:
        problem = _QUOTED.sub('"..."', first_line(error))
        raise ConfigurationError(f"the PostgreSQL DSN cannot be read: {problem}") from None
    # What libpq takes for a host, a port and a database is then the rest of a password.
    path = dsn.partition("://")[2].partition("?")[0].partition("/")[2]
    if "@" in path or "@" in str(parts.get("host") or "")[1:]:
        raise ConfigurationError(
            "the PostgreSQL DSN has an @ where host or database stand: in user and password write @ as %40 and / as %2F"
        )
    for port in str(parts.get("port") or "").split(","):
        if port and not (port.isdecimal() and 0 < int(port) < 65_536):
            raise ConfigurationError("the PostgreSQL DSN has a port that is not a number from 1 to 65535")
    return parts
