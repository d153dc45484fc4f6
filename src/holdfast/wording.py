"""How numbers, sizes and times read in sentences. Pure."""

from __future__ import annotations


def counted(count: int, one: str, many: str | None = None) -> str:
    """``1 event`` and ``2 events``; *many* where an s does not do: ``counted(n, "event waits", "events wait")``."""
    return f"{count} {one if count == 1 else many or f'{one}s'}"


def part_of(subscription: str, tenant_id: str | None) -> str:
    """What a verb is about that takes a subscription or one tenant of it."""
    return subscription if tenant_id is None else f"tenant {tenant_id} of {subscription}"


def sized(count: int) -> str:
    """Bytes in the unit that suits them."""
    size = float(count)
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size < 1024:
            return counted(count, "byte") if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:,.1f} TiB"


def lasted(seconds: float) -> str:
    """A length of time."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def roughly(count: int) -> int:
    """Of an estimate, the three digits that it may be good for."""
    unit: int = 10 ** max(0, len(str(count)) - 3)
    return round(count / unit) * unit
