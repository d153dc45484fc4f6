"""How PostgreSQL carries a statement out: what its plan looked at, by ``explain (analyze)``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import psycopg

GROWING = re.compile(r"(event_log|receipts|deliveries)(_\w+)?")
_PARAMETER = re.compile(r"%\((\w+)\)[sbt]|(?<![:\w]):([a-z]\w*)")


class Looked(NamedTuple):
    """
    What one execution looked at in the tables that grow.

    Attributes:
        at: Rows read, the ones thrown away included.
        whole: Tables of which it read everything.
        sorted: The most rows that it put in order at once.
    """

    at: int
    whole: list[str]
    sorted: int
    plan: str


def looked(connection: psycopg.Connection[Any], sql: str, values: Mapping[str, str], mode: str) -> Looked:
    """
    Carry *sql* out as a prepared statement with *values*, and take it back.

    Args:
        mode: ``force_generic_plan``, which the server may settle on after five executions, or ``force_custom_plan``.
    """
    names: list[str] = []

    def number(match: re.Match[str]) -> str:
        name = match[1] or match[2]
        if name not in names:
            names.append(name)
        return f"${names.index(name) + 1}"

    text = _PARAMETER.sub(number, sql.rstrip().rstrip(";")).replace("%%", "%")
    given = f"({', '.join(values[name] for name in names)})" if names else ""
    with connection.transaction(force_rollback=True):
        connection.execute(f"set local plan_cache_mode = {mode}")
        connection.execute("deallocate all")  # also what was prepared before an error
        connection.execute(f"prepare hot as {text}")
        explained = connection.execute(f"explain (analyze, format json) execute hot {given}").fetchone()
    assert explained is not None
    nodes = list(_nodes(explained[0][0]["Plan"]))
    scans = [node for node in nodes if GROWING.fullmatch(node.get("Relation Name", "")) and "Scan" in node["Node Type"]]
    return Looked(
        sum(map(_rows, scans)),
        [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan" and _rows(node) > 0],
        max((node["Plans"][0]["Actual Rows"] for node in nodes if "Sort" in node["Node Type"]), default=0),
        "\n".join(map(_line, nodes)),
    )


def _nodes(node: dict[str, Any], depth: int = 0) -> Iterator[dict[str, Any]]:
    yield {**node, "depth": depth}
    for child in node.get("Plans", ()):
        yield from _nodes(child, depth + 1)


def _rows(node: dict[str, Any]) -> int:
    each = node["Actual Rows"] + node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Index Recheck", 0)
    return round(each * node["Actual Loops"])


def _line(node: dict[str, Any]) -> str:
    of = node.get("Index Name") or node.get("Relation Name") or node.get("CTE Name") or ""
    return f"{'  ' * node['depth']}{node['Node Type']} {of} {_rows(node)}"
