"""Plot the course of a training as an SVG, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

WIDTH, HEIGHT, LEFT, TOP, RIGHT, BOTTOM = 720, 320, 56, 24, 16, 40
COLOURS = ("#2a6fdb", "#d9480f", "#2b8a3e")


def course(curves: Mapping[str, Sequence[tuple[float, float]]], title: str) -> str:
    """Draw an SVG of curves of (iteration, value); values that are no numbers are left out."""
    kept = {name: [p for p in points if math.isfinite(p[1])] for name, points in curves.items()}
    kept = {name: points for name, points in kept.items() if points}
    x_end = max((p[0] for points in kept.values() for p in points), default=1.0) or 1.0
    y_end = max((p[1] for points in kept.values() for p in points), default=1.0) or 1.0

    def place(point: tuple[float, float]) -> str:
        x = LEFT + (WIDTH - LEFT - RIGHT) * point[0] / x_end
        return f"{x:.1f},{HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * max(point[1], 0.0) / y_end:.1f}"

    lines = [_text(LEFT, 16, title)]
    for share in (0.0, 0.5, 1.0):
        y = HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)
        lines.append(f'<path d="M{LEFT} {y:.0f}H{WIDTH - RIGHT}" stroke="#ccc"/>')
        lines.append(_text(8, y + 4, f"{share * y_end:.3g}"))
        lines.append(_text(LEFT + share * (WIDTH - LEFT - RIGHT - 30), HEIGHT - BOTTOM + 16, f"{share * x_end:.0f}"))
    for colour, (number, (name, points)) in zip(COLOURS, enumerate(kept.items()), strict=False):
        path = " ".join(map(place, points))
        lines.append(f'<polyline fill="none" stroke="{colour}" stroke-width="1.5" points="{path}"/>')
        lines.append(_text(LEFT + 130 * number, HEIGHT - 8, name, colour))
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
    return f'{head}font-size="12"><rect width="100%" height="100%" fill="#fff"/>{"".join(lines)}</svg>\n'


def _text(x: float, y: float, text: str, colour: str = "#333") -> str:
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="{colour}">{safe}</text>'
