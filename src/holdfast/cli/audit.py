"""What operators did."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import look
from holdfast.cli.options import before_option, json_option, limit_option, store_options
from holdfast.cli.output import show_json, show_table
from holdfast.cli.table import Column

if TYPE_CHECKING:
    from holdfast.cli.options import Target


@click.command("audit", short_help="List what operators did.")
@store_options
@limit_option
@before_option
@json_option
def audit_command(target: Target, limit: int, before: int | None, as_json: bool) -> None:
    """List what operators did, the latest first: who, when, what, how many."""
    import msgspec

    found = look(target, lambda inspector: inspector.audit(limit=limit, before=before))
    if as_json:
        show_json(found)
        return
    columns = (
        "number", "at", Column("actor", cut=True), "action", Column("target", cut=True), Column("count", spare=2),
        Column("allowed", spare=1), Column("detail", spare=3, cut=True),
    )  # fmt: skip
    rows = [
        (
            one.id, one.at, one.actor, one.action, one.target, one.count, one.allowed,
            msgspec.json.encode(one.detail).decode() if one.detail else None,
        )
        for one in found
    ]  # fmt: skip
    show_table(columns, rows, empty="Nothing was done yet.")
