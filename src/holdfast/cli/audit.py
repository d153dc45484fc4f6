"""What operators did."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from holdfast.cli.desk import look
from holdfast.cli.options import (
    before_option,
    json_option,
    limit_option,
    moment,
    store_options,
    tenant_option,
)
from holdfast.cli.output import show_json, show_table
from holdfast.cli.table import Column

if TYPE_CHECKING:
    from holdfast.cli.options import Target


@click.command("audit", short_help="List what operators did.")
@store_options
@click.option("--who", "actor", metavar="NAME", help="Only what this one did.")
@click.option("--action", metavar="ACTION", help="Only this action, such as pause or 'dead retry'.")
@click.option("--subscription", metavar="NAME", help="Only what was done to this subscription.")
@tenant_option
@click.option("--allowed/--refused", "allowed", default=None, help="Only what was allowed, or only what was refused.")
@click.option("--since", type=moment, help="Only from this time on: 2030-01-31T12:00:00 (UTC), or 2h (ago).")
@click.option("--until", type=moment, help="Only before this time.")
@limit_option
@before_option
@json_option
def audit_command(
    target: Target, subscription: str | None, limit: int, before: int | None, as_json: bool, **filters: Any
) -> None:
    """List what operators did, the latest first: who, when, what, how many."""
    import msgspec

    from holdfast.stores.filters import AuditFilter

    chosen = AuditFilter(target=subscription, **filters)
    found = look(target, lambda inspector: inspector.audit(chosen, limit=limit, before=before))
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
    show_table(columns, rows, empty="Nothing was done yet." if chosen == AuditFilter() else "Nothing of that was done.")
