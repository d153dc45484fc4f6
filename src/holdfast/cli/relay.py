"""Relays and ingests: which a program declares, and whether their brokers can be reached. Workers run them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

import click

from holdfast.cli.options import duration, json_option, store_options
from holdfast.cli.output import show_json, show_table
from holdfast.cli.table import Column
from holdfast.errors import HoldfastError
from holdfast.printable import clean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from holdfast import EventBus
    from holdfast.cli.options import Target
    from holdfast.relay.ingesting import Ingest
    from holdfast.relay.relaying import Relay

_place = click.argument("place", metavar="MODULE:BUS")
_timeout = click.option(
    "--timeout", default="10s", show_default=True, type=duration, metavar="TIME", help="Give each broker so long."
)


class Checked(NamedTuple):
    """What became of the try to reach a broker; no problem: it answered."""

    name: str
    where: str
    problem: str | None


@click.group("relay", short_help="Relays to brokers: list them, try their connections.")
def relay_command() -> None:
    """Relays are subscriptions: holdfast worker runs them, status, pause and replay know them by name."""


@relay_command.command("list", short_help="The relays that a program declares.")
@_place
@store_options
@json_option
def list_relays(place: str, target: Target, as_json: bool) -> None:
    """List relays with what they match and where they lead."""
    bus = _bus(place, target)
    patterns = {consumer.name: consumer.patterns for consumer in bus.consumers}
    rows = [(name, ", ".join(patterns[name]), relay.where) for name, relay in bus.relays.items()]
    _show(("name", "patterns", "to"), rows, as_json=as_json, empty="No relay is declared.")


@relay_command.command("check", short_help="Try the connections of a program's relays.")
@_place
@store_options
@_timeout
@json_option
def check_relays(place: str, target: Target, timeout: float, as_json: bool) -> None:
    """Connect as the relays would, and hand over nothing. Exit code 1 where one cannot."""
    _check(_bus(place, target).relays, timeout, as_json=as_json, empty="No relay is declared.")


@click.group("ingest", short_help="Ingests from brokers: list them, try their connections.")
def ingest_command() -> None:
    """Ingests run in the workers of their bus: holdfast worker MODULE:BUS."""


@ingest_command.command("list", short_help="The ingests that a program declares.")
@_place
@store_options
@json_option
def list_ingests(place: str, target: Target, as_json: bool) -> None:
    """List ingests with where they take from."""
    rows = [(name, ingest.where) for name, ingest in _bus(place, target).ingests.items()]
    _show(("name", "from"), rows, as_json=as_json, empty="No ingest is declared.")


@ingest_command.command("check", short_help="Try the connections of a program's ingests.")
@_place
@store_options
@_timeout
@json_option
def check_ingests(place: str, target: Target, timeout: float, as_json: bool) -> None:
    """Connect as the ingests would, and take nothing. Exit code 1 where one cannot."""
    _check(_bus(place, target).ingests, timeout, as_json=as_json, empty="No ingest is declared.")


def _bus(place: str, target: Target) -> EventBus:
    from holdfast.cli.load import bus_for

    return bus_for(place, target)


def _show(columns: Sequence[str], rows: Sequence[Sequence[str]], *, as_json: bool, empty: str) -> None:
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        show_table([Column(column, cut=column == "patterns") for column in columns], rows, empty=empty)


def _check(declared: Mapping[str, Relay] | Mapping[str, Ingest], timeout: float, *, as_json: bool, empty: str) -> None:
    found = asyncio.run(_try_all(declared, timeout))
    if as_json:
        show_json([one._asdict() for one in found])
    elif not found:
        click.echo(empty)
    for one in () if as_json else found:
        click.echo(f"{clean(one.name)}: {clean(one.where)} {'answers' if one.problem is None else clean(one.problem)}")
    if any(one.problem is not None for one in found):
        click.get_current_context().exit(1)


async def _try_all(declared: Mapping[str, Relay] | Mapping[str, Ingest], timeout: float) -> list[Checked]:
    return list(await asyncio.gather(*(_try(name, one, timeout) for name, one in declared.items())))


async def _try(name: str, one: Relay | Ingest, timeout: float) -> Checked:
    try:
        async with asyncio.timeout(timeout):
            await one.check()
    except TimeoutError:
        return Checked(name, one.where, f"does not answer within {timeout:g} s")
    except HoldfastError as error:
        return Checked(name, one.where, f"is no use: {error}")
    return Checked(name, one.where, None)
