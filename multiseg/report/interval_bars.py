"""Intervals as small drawings inside tables: inline SVG, with their numbers as text for those who do not see them."""

from __future__ import annotations

import html

import numpy as np

from .table_files import number

WIDTH, HEIGHT = 150, 20
"""Of a bar, in pixels."""


def interval_bar(value: float, low: float, high: float, margin: float = float("nan"), threshold: float = 0.0) -> str:
    """Return a value and its interval as SVG: a line at `threshold`, a grey band of the margin around it.

    Empty without an interval. The numbers are its title, which browsers show and screen readers read.
    """
    if not np.isfinite([value, low, high]).all():
        return ""
    band = abs(margin) if np.isfinite(margin) else 0.0
    reach = 1.1 * max(abs(value - threshold), abs(low - threshold), abs(high - threshold), band, 1e-9)

    def x(v: float) -> str:
        return f"{WIDTH / 2 * (1 + (v - threshold) / reach):.1f}"

    text = f"95 % interval {number(low)} to {number(high)}" + (f", margin {number(band)}" if band else "")
    middle = HEIGHT // 2
    wide = f"{WIDTH * band / reach:.1f}"
    shade = f'<rect x="{x(threshold - band)}" width="{wide}" height="{HEIGHT}" fill="#e2e2e2"/>' if band else ""
    return (
        f'<svg class="interval" role="img" aria-label="{html.escape(text)}" width="{WIDTH}" height="{HEIGHT}" '
        f'viewBox="0 0 {WIDTH} {HEIGHT}"><title>{html.escape(text)}</title>{shade}'
        f'<path d="M{x(threshold)} 0V{HEIGHT}" stroke="#666"/>'
        f'<path d="M{x(low)} {middle}H{x(high)}" stroke="#0b5394" stroke-width="3"/>'
        f'<circle cx="{x(value)}" cy="{middle}" r="4" fill="#0b5394"/></svg>'
    )
