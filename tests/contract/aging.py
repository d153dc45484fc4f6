"""Making what is stored old: as if all of it had been stored three days ago."""

from __future__ import annotations

A_DAY = 86_400.0
_TODAY = "(clock_timestamp() at time zone 'UTC')::date"


def aging(*, is_sqlite: bool, schema: str = "") -> list[str]:
    """Statements that make the events stored so far three days old; *schema* with a dot."""
    if is_sqlite:
        return [
            (
                "insert or replace into snapshots (at, horizon) select strftime('%Y-%m-%dT%H:%M:%f000Z', 'now', '-3 days'), "
                "max(position) from event_log"
            )
        ]
    return [
        f"select {schema}make_day({_TODAY} - 3)",
        f"update {schema}event_log set day = {_TODAY} - 3 where day = {_TODAY}",
    ]
