"""Plots as SVG, by hand: a line over time, with the times of the faults shaded."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 960, 160, 70, 24, 24
_INK, _SHADE, _LINE = "#333", "#d9534f", "#1f6fb2"
_GAP = 26


def stacked(title: str, plots: Sequence[tuple[str, Sequence[tuple[float, float]]]],
            marks: Sequence[tuple[float, float, str]]) -> str:  # fmt: skip
    """One plot under the other over the same time: (label, points). A shaded time shows its fault when pointed at."""
    end = max([1.0, *(x for _, points in plots for x, _ in points), *(until for _, until, _ in marks)])
    height = _TOP + len(plots) * (_HEIGHT + _GAP) + _BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="16" font-size="14" fill="{_INK}">{escape(title)}</text>',
    ]
    for number, (label, points) in enumerate(plots):
        parts += _plot(label, points, marks, end, _TOP + number * (_HEIGHT + _GAP))
    parts.append(f'<text x="{_WIDTH - 8}" y="{height - 8}" text-anchor="end" fill="{_INK}">{end:.0f} s</text>')
    return "\n".join([*parts, "</svg>", ""])


def _plot(label: str, points: Sequence[tuple[float, float]], marks: Sequence[tuple[float, float, str]], end: float,
          top: float) -> list[str]:  # fmt: skip
    most = max([1.0, *(y for _, y in points)])
    width = _WIDTH - _LEFT - 10

    def x(at: float) -> float:
        return _LEFT + width * at / end

    parts = [
        f'<rect x="{x(since):.1f}" y="{top}" width="{max(1.0, x(until) - x(since)):.1f}" height="{_HEIGHT}" '
        f'fill="{_SHADE}" opacity="0.15"><title>{escape(name)}</title></rect>'
        for since, until, name in marks
    ]
    line = " ".join(f"{x(at):.1f},{top + _HEIGHT * (1 - y / most):.1f}" for at, y in points)
    return [
        *parts,
        f'<polyline points="{line}" fill="none" stroke="{_LINE}" stroke-width="1.3"/>',
        f'<path d="M{_LEFT} {top} V{top + _HEIGHT} H{_WIDTH - 10}" fill="none" stroke="{_INK}"/>',
        f'<text x="{_LEFT - 6}" y="{top + 10}" text-anchor="end" fill="{_INK}">{most:.0f}</text>',
        f'<text x="{_LEFT - 6}" y="{top + _HEIGHT}" text-anchor="end" fill="{_INK}">0</text>',
        f'<text x="{_LEFT + 6}" y="{top + 12}" fill="{_INK}">{escape(label)}</text>',
    ]


def per_second(times: Sequence[float], end: float) -> list[tuple[float, float]]:
    """How many of *times* lie in each second."""
    counts = [0] * (int(end) + 1)
    for at in times:
        if 0 <= at <= end:
            counts[int(at)] += 1
    return [(float(second), float(count)) for second, count in enumerate(counts)]
