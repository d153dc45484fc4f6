"""The setting ``HOLDFAST`` of a project, read once and checked at the door."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS
from django.utils.module_loading import import_string

from holdfast.bus import EventBus
from holdfast.errors import ConfigurationError
from holdfast.names import shown_value, type_name

# What a settings module cannot import, because it comes before the applications: a dotted name may stand in its place.
_BY_NAME = ("around", "encryption", "quota")


class Conf(NamedTuple):
    """
    What ``HOLDFAST`` says.

    Attributes:
        database: Alias of the database whose transactions publishing joins, and which has the tables unless `dsn` is
            given; None joins none.
        dsn: A store that is named by itself.
        schema: Schema of the tables in PostgreSQL.
        options: The other options of the bus.
    """

    database: str | None
    dsn: str | None
    schema: str
    options: dict[str, Any]

    def loaded(self) -> dict[str, Any]:
        """`options`, with what is given by name imported: not before the models are there that it may need.

        Raises:
            ImportError: There is nothing of a name.
        """
        named = {name: self.options[name] for name in _BY_NAME if isinstance(self.options.get(name), str)}
        return self.options | {name: import_string(place) for name, place in named.items()}


@cache
def conf() -> Conf:
    """
    Raises:
        ConfigurationError: A setting that there is not, or without a store.
    """
    return read(getattr(settings, "HOLDFAST", {}))


def read(given: Any) -> Conf:
    """What a project has set; the values are checked by the bus that is made with them."""
    if not isinstance(given, Mapping):
        raise ConfigurationError(f"the setting HOLDFAST is of type {type_name(given)}: give a dict")
    known = {"DATABASE", *(name.upper() for name in inspect.signature(EventBus).parameters)}
    for name in given:
        if name not in known:
            raise ConfigurationError(f"HOLDFAST has {shown_value(name)}, which is none of {', '.join(sorted(known))}")
    options = {name.lower(): value for name, value in given.items()}
    database = options.pop("database", DEFAULT_DB_ALIAS)
    dsn, schema = options.pop("dsn", None) or None, options.pop("schema", "holdfast")
    if database is None and dsn is None:
        raise ConfigurationError("HOLDFAST has DATABASE None and no DSN: name the store by one of them")
    return Conf(database, dsn, schema, options)
