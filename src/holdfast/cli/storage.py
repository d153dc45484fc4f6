"""What the store takes up."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from holdfast.cli.desk import look
from holdfast.cli.options import json_option, store_options
from holdfast.cli.output import show_json, show_sentence, show_table
from holdfast.cli.table import Column
from holdfast.wording import lasted, sized

if TYPE_CHECKING:
    from holdfast.cli.options import Target
    from holdfast.stores.storage import OpenTransaction, Storage


@click.command("storage", short_help="Show what tables, days and indexes take up.")
@store_options
@click.option("--indexes", is_flag=True, help="Show the indexes in place of the tables.")
@json_option
def storage_command(target: Target, indexes: bool, as_json: bool) -> None:
    """Show what tables, the log's days and indexes take up. Rows are estimates of the database."""
    found = look(target, lambda inspector: inspector.storage())
    if as_json:
        show_json(found)
        return
    show_sentence("", in_short(found))
    click.echo()
    if indexes:
        show_indexes(found)
    else:
        show_tables(found)


def in_short(found: Storage) -> str:
    parts = [f"{sized(found.bytes)} in all"]
    for what, size in (
        ("free to be used again", found.reusable_bytes), ("in the write-ahead log", found.write_ahead_bytes),
        ("left on the disk", found.disk_free_bytes),
    ):  # fmt: skip
        if size is not None:
            parts.append(f"{sized(size)} {what}")
    if found.oldest_transaction is not None:
        parts.append(f"oldest open transaction: {transaction(found.oldest_transaction)}")
    return ", ".join(parts)


def transaction(found: OpenTransaction) -> str:
    who = f"{found.application or 'unnamed'} of {found.owner or '?'}"
    pid = "" if found.pid is None else f", pid {found.pid}"
    return f"{lasted(found.seconds)}, {who}{pid}, {found.state or '?'}"


def show_tables(found: Storage) -> None:
    columns = (
        "table", Column("day", quiet=True), "rows", Column("dead rows", spare=1, quiet=True),
        Column("size", quiet=True), Column("indexes", spare=2, quiet=True),
    )  # fmt: skip
    rows = [
        (
            one.table, one.since or ("other days" if one.partition else None), one.rows, one.dead_rows or None,
            *(None if size is None else sized(size) for size in (one.bytes, one.index_bytes)),
        )
        for one in found.tables
    ]  # fmt: skip
    show_table(columns, rows, empty="No tables.")


def show_indexes(found: Storage) -> None:
    columns = (
        "index",
        "table",
        Column("size", quiet=True),
        Column("used", spare=1, quiet=True),
        Column("valid", spare=2),
    )
    rows = [
        (one.name, one.table, None if one.bytes is None else sized(one.bytes), one.scans, one.valid)
        for one in found.indexes
    ]
    show_table(columns, rows, empty="No indexes.")
