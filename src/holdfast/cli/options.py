"""Options that many commands share, and what they are made into."""

from __future__ import annotations

import functools
import getpass
import os
import platform
import shlex
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from uuid import UUID

import click
from click.core import ParameterSource

from holdfast import moments
from holdfast.cli.output import without_password
from holdfast.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DEFAULT_DSN = "sqlite:///holdfast.db"
DEFAULT_SCHEMA = "holdfast"


class Target(NamedTuple):
    """The store that a command works on. `given`: those of ``--dsn`` and ``--schema`` that stand on the command line."""

    dsn: str
    schema: str
    given: frozenset[str] = frozenset()

    def __str__(self) -> str:
        store = without_password(self.dsn)
        return store if store.startswith("sqlite:") else f"{store}, schema {self.schema}"

    @property
    def options(self) -> str:
        """What has to be given again so that another command works on this store."""
        usual = {"dsn": os.environ.get("HOLDFAST_DSN") or DEFAULT_DSN, "schema": DEFAULT_SCHEMA}
        values = {name: getattr(self, name) for name in ("dsn", "schema") if name in self.given}
        return "".join(
            f" --{name} {shlex.quote(without_password(value))}"
            for name, value in values.items()
            if value != usual[name]
        )


def duration(text: str) -> float:
    """Seconds, from texts such as 90s, 15m, 2h, 30d, 1w."""
    with _as_parameter():
        return moments.duration(text)


def moment(text: str) -> datetime:
    """An aware datetime: ISO 8601 (UTC where no offset is given), or how long ago, as a duration."""
    with _as_parameter():
        return moments.moment(text, now=datetime.now(UTC))


def later(text: str) -> datetime:
    """An aware datetime: ISO 8601 (UTC where no offset is given), or in how long, as a duration."""
    with _as_parameter():
        return moments.moment(text, now=datetime.now(UTC), is_later=True)


@contextmanager
def _as_parameter() -> Iterator[None]:
    try:
        yield
    except InvalidInput as error:
        raise click.BadParameter(f"{error.problem}: {error.rule}") from error


def event_id(text: str) -> UUID:
    """The UUID of an event."""
    try:
        return UUID(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no UUID") from error


_dsn = click.option(
    "--dsn", envvar="HOLDFAST_DSN", default=DEFAULT_DSN, metavar="URL",
    help=f"The store: postgresql://host/database or sqlite:///file.db. [env HOLDFAST_DSN; default {DEFAULT_DSN}]",
)  # fmt: skip
_schema = click.option(
    "--schema", default=DEFAULT_SCHEMA, show_default=True, help="Schema of the tables in PostgreSQL."
)


def store_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--dsn`` and ``--schema``, given to the command as ``target``."""

    @_dsn
    @_schema
    @functools.wraps(command)
    def wrapped(*args: Any, dsn: str, schema: str, **kwargs: Any) -> Any:
        context = click.get_current_context()
        source = context.get_parameter_source
        given = frozenset(name for name in ("dsn", "schema") if source(name) is ParameterSource.COMMANDLINE)
        target = context.find_root().obj = Target(dsn, schema, given)
        return command(*args, target=target, **kwargs)

    return wrapped


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
yes_option = click.option("-y", "--yes", is_flag=True, help="Do not ask.")
limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 10_000), help="Show at most so many."
)
tenant_option = click.option("--tenant", "tenant_id", metavar="TENANT", help="Only this tenant.")
before_option = click.option(
    "--before",
    type=click.IntRange(1, 2**63 - 1),
    metavar="N",
    help="Go on with what is older: the number that the page before ended with.",
)


def actor_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add ``--actor``: who acts, for the audit."""
    return click.option(
        "--actor", default=default_actor, metavar="NAME", help="Who acts, for the audit. [default: you@this-host]"
    )(command)


def default_actor() -> str:
    """User and host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError, ImportError):  # no such user in the system's records
        user = "unknown"
    return f"{user}@{platform.node()}"


def event_filter_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options that say which events are meant; given as in `holdfast.stores.records.EventFilter`."""
    for option in (
        click.option("--until", type=moment, help="Only before this time."),
        click.option("--since", type=moment, help="Only from this time on: 2030-01-31T12:00:00 (UTC), or 2h (ago)."),
        click.option("--key", help="Only this key."),
        tenant_option,
        click.option("--name", metavar="PATTERN", help="Only events of this name, such as order.placed or order.*."),
    ):
        command = option(command)
    return command
