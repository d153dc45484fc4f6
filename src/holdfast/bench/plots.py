"""The results as plots: plain SVG."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

from holdfast.bench.workload import PERCENTILES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

Point = tuple[float, float]

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM, _LEGEND = 960, 320, 70, 40, 40, 260
_INK, _BAR, _RAW = "#333", "#1f6fb2", "#b0b7be"
_COLOURS = ("#1f6fb2", "#d9534f", "#3a9a5c", "#8e5bb5", "#d98f2b", "#5bb0c9", "#a0522d", "#777")
_BAR_LEFT, _BAR_HEIGHT = 270, 20
_PLAIN = "drain, no-op async handler"


def plots(stores: Mapping[str, Any]) -> dict[str, str]:
    """The images by name; of what was not measured there is none."""
    made = {}
    for store, found in stores.items():
        figures = found["figures"]
        rates = {
            name: one["median"]["events_per_s"] for name, one in figures.items() if "events_per_s" in one["median"]
        }
        if rates:
            made[f"{store}-rates"] = bars(f"{store}: events a second", rates)
        if latencies := {name: points for name, one in figures.items() if (points := _distribution(one["median"]))}:
            title = f"{store}: percent of times that are at most so many milliseconds"
            made[f"{store}-latency"] = curves(title, latencies, log=True)
        for by, title in (("events", "backlog"), ("history", "history")):
            if len(points := _costs(figures, by)) > 1:
                made[f"{store}-{title}"] = curves(f"{store}: µs for an event, by events of {title}", {"drain": points})
    return made


def _distribution(median: Mapping[str, float]) -> list[Point]:
    """Percentiles as points of the distribution function."""
    if "max_ms" not in median:
        return []
    points = [*((median[f"p{one}_ms"], float(one)) for one in PERCENTILES), (median["max_ms"], 100.0)]
    return [(max(at, 0.01), percent) for at, percent in points]  # an event may be handled before its publish returns


def _costs(figures: Mapping[str, Any], by: str) -> list[Point]:
    """What a drained event took, over what lay in the log: all drains by one worker that differ in nothing else."""
    points = []
    for name, one in figures.items():
        is_alike = name == _PLAIN or name.startswith("drain of" if by == "events" else "drain with")
        if is_alike and "events_per_s" in one["median"]:
            points.append((float(one["load"][by]), 1e6 / one["median"]["events_per_s"]))
    return sorted(points)


def bars(title: str, values: Mapping[str, float]) -> str:
    """One bar under the other; those of raw SQL are grey."""
    most = max(values.values())
    parts = []
    for row, (name, value) in enumerate(values.items()):
        top, width = _TOP + row * _BAR_HEIGHT, (_WIDTH - _BAR_LEFT - 90) * value / most
        colour = _RAW if name.startswith("raw") else _BAR
        parts += [
            _text(_BAR_LEFT - 8, top + 13, name, anchor="end"),
            f'<rect x="{_BAR_LEFT}" y="{top}" width="{width:.1f}" height="{_BAR_HEIGHT - 5}" fill="{colour}"/>',
            _text(_BAR_LEFT + width + 6, top + 13, f"{value:,.0f}"),
        ]
    return _image(title, _TOP + len(values) * _BAR_HEIGHT + 10, parts)


def curves(title: str, lines: Mapping[str, Sequence[Point]], *, log: bool = False) -> str:
    """Lines over one axis, from 0 or (*log*) by powers of ten."""
    points = [point for line in lines.values() for point in line]
    along: Callable[[float], float] = math.log10 if log else float
    low = math.floor(min(along(x) for x, _ in points)) if log else 0.0
    high = math.ceil(max(along(x) for x, _ in points)) if log else max(x for x, _ in points)
    most = max(y for _, y in points)
    width, bottom = _WIDTH - _LEFT - _LEGEND, _TOP + _HEIGHT

    def place(x: float, y: float) -> Point:
        return _LEFT + width * (along(x) - low) / (high - low or 1), bottom - _HEIGHT * y / most

    parts = [f'<path d="M{_LEFT} {_TOP} V{bottom} H{_LEFT + width}" fill="none" stroke="{_INK}"/>']
    parts += [
        _text(_LEFT - 6, place(1, most * part)[1] + 4, f"{most * part:,.3g}", anchor="end") for part in (0, 0.5, 1)
    ]
    ticks = [10.0**power for power in range(int(low), int(high) + 1)] if log else [high * part for part in (0, 0.5, 1)]
    parts += [_text(place(x, 0)[0], bottom + 16, f"{x:,g}", anchor="middle") for x in ticks]
    for number, (name, line) in enumerate(lines.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*point) for point in line))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        parts.append(_text(_LEFT + width + 12, _TOP + 14 + 16 * number, name, colour=colour))
    return _image(title, bottom + _BOTTOM, parts)


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = _INK) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _image(title: str, height: int, parts: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">'
    ground = f'<rect width="{_WIDTH}" height="{height}" fill="white"/>'
    return "\n".join([head, ground, _text(10, 20, title), *parts, "</svg>", ""])
