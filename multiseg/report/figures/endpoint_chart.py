"""The figures that carry a study: every model on every endpoint, and how far each is from a reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from .kinds import figure_kind
from .language import say
from .names import endpoint_title, model_title, plain, short_scenario
from .style import edge_arrow, mark, model_styles, name_rows, note

FAR = 3.0
"""A Dice so many times farther from the reference than the median one is an arrow at the edge, with its value."""

FAR_DIFFERENCE = 4.0
"""The same of differences: a value so many times the median one."""

LEAST_REACH = 0.04
"""A panel shows at least this much Dice to each side of its reference."""


def _best(table: pd.DataFrame, value: str, form: str) -> str:
    parts = []
    for (scenario, endpoint), known in table[table[value].notna()].groupby(["scenario", "endpoint"], sort=False):
        best = known.loc[known[value].idxmax()]
        parts.append(f"{short_scenario(str(scenario))}, {endpoint}: best {plain(best['model'])} {best[value]:{form}}")
    return "; ".join(parts) + "."


def _scenarios(table: pd.DataFrame) -> tuple[dict[str, pd.DataFrame], list[int], int]:
    """Return the rows of each scenario, how many models each has, and the most endpoints of one."""
    parts = {str(scenario): part for scenario, part in table.groupby("scenario", sort=False)}
    counts = [part[["model", "endpoint"]].nunique() for part in parts.values()]
    return parts, [n["model"] for n in counts], max(n["endpoint"] for n in counts)


def _panels(line: np.ndarray, part: pd.DataFrame, models: Sequence[str]) -> Iterator[tuple[Axes, str, pd.DataFrame]]:
    """Yield the panels of a scenario, each with its endpoint and the rows of that by model; name the models."""
    endpoints = part.groupby("endpoint", sort=False)
    for axes in line[len(endpoints) :]:
        axes.set_axis_off()
    for axes, (endpoint, rows) in zip(line, endpoints, strict=False):
        name_rows(axes, [model_title(model) if axes is line[0] else "" for model in models])
        yield axes, str(endpoint), rows.set_index("model")
        axes.xaxis.set_major_locator(MaxNLocator(5))  # labels of narrow panels would run into each other


@figure_kind("endpoints", lambda table: _best(table, "dice", ".3f"))
def endpoint_figure(table: pd.DataFrame) -> Figure | None:
    """Draw every model's Dice on every endpoint: a row of panels per scenario, best models on top. None without rows.

    `table` has ``scenario, endpoint, model, dice, low, high`` and, for the line and the band, ``reference`` and
    ``margin`` (NaN without).
    """
    table = table[table["dice"].notna()]
    if table.empty:
        return None
    parts, heights, columns = _scenarios(table)
    size = (3.4 + 3.3 * columns, 0.5 + 0.29 * sum(heights) + 1.0 * len(heights))
    figure = plt.figure(figsize=size, layout="constrained")
    blocks = figure.subfigures(len(parts), 1, squeeze=False, height_ratios=[h + 3.4 for h in heights])[:, 0]
    for block, (scenario, part) in zip(blocks, parts.items(), strict=True):
        models = list(part.groupby("model")["dice"].mean().sort_values(ascending=False).index)
        line = block.subplots(1, columns, squeeze=False)[0]
        for axes, endpoint, rows in _panels(line, part, models):
            _draw_dice(axes, rows, models)
            axes.set_title(endpoint_title(endpoint), fontsize=10.5)
            axes.set_xlabel(say("Dice"), fontsize=9.5)
        if len(parts) > 1:
            block.suptitle(short_scenario(scenario), fontsize=10.5, fontweight="bold", x=0.01, ha="left")
    return figure


def _draw_dice(axes: Axes, rows: pd.DataFrame, models: list[str]) -> None:
    reference, margin = float(rows["reference"].iloc[0]), float(rows["margin"].iloc[0])
    centre = reference if np.isfinite(reference) else float(rows["dice"].median())
    ends = rows[["low", "high"]].sub(centre).abs().max(axis=1).fillna(0)
    away = np.maximum((rows["dice"] - centre).abs(), ends)
    reach = max(LEAST_REACH, min(1.15 * float(away.max()), FAR * max(float(away.median()), 0.02)))
    if np.isfinite(reference):
        if np.isfinite(margin):
            axes.axvspan(reference - margin, reference + margin, color="0.9", lw=0, zorder=0)
            reach = max(reach, 1.3 * margin)
        axes.axvline(reference, color="0.4", lw=1, zorder=1)
    styles = model_styles(models)
    for model, row in rows.iterrows():
        y, style, text = models.index(str(model)), styles[str(model)], f"{row['dice']:.3f}"
        left = bool(row["dice"] < centre)
        if abs(row["dice"] - centre) > reach:
            at = centre + (-0.95 if left else 0.95) * reach
            edge_arrow(axes, at, y, style, left)
            note(axes, text, (at, y), 7 if left else -7)
            continue
        low, high = max(row["low"], centre - reach), min(row["high"], centre + reach)
        if np.isfinite(row["low"]):
            axes.plot([low, high], [y, y], color=style.colour, lw=2.2, solid_capstyle="butt")
        mark(axes, row["dice"], y, style, ms=7, zorder=4)
        # a value stands beyond the interval, on the side with more room
        right = row["dice"] <= centre
        end = (high if right else low) if np.isfinite(row["low"]) else row["dice"]
        note(axes, text, (end, y), 6 if right else -6, color="0.25")
    axes.set_xlim(centre - reach, min(centre + reach, 1.01))  # no Dice is above 1
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(axis="y", visible=False)


@figure_kind("arms", lambda table: _best(table, "difference", "+.3f"))
def difference_figure(table: pd.DataFrame, reference: str) -> tuple[Figure, pd.DataFrame] | None:
    """Draw `report.model_differences.difference_table` from one reference: a panel per scenario and endpoint.

    The reference is one of `report.model_differences.AGAINST`; None is returned where no scenario has it.
    """
    if reference not in table or not table[reference].notna().any():
        return None
    shown = table.loc[table[reference].notna(), [reference, f"{reference} low", f"{reference} high", "dice"]]
    shown = shown.set_axis(["difference", "low", "high", "dice"], axis=1).reset_index()
    parts, heights, columns = _scenarios(shown)
    size = (3.6 + 3.4 * columns, 0.9 + 0.3 * sum(heights) + 0.75 * len(heights))
    layout = ConstrainedLayoutEngine(h_pad=0.12)  # titles keep away from the numbers above
    ratios = [h + 1 for h in heights]
    figure, grid = plt.subplots(len(parts), columns, squeeze=False, height_ratios=ratios, figsize=size, layout=layout)
    for line, (scenario, part) in zip(grid, parts.items(), strict=True):
        models = list(dict.fromkeys(part["model"]))
        for axes, endpoint, rows in _panels(line, part, models):
            _draw_differences(axes, rows, models)
            place = f"{short_scenario(scenario)}\n" if len(parts) > 1 and axes is line[0] else ""
            axes.set_title(f"{place}{endpoint_title(endpoint)}", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel(say("difference of Dice"), fontsize=10)
    return figure, shown


def _draw_differences(axes: Axes, rows: pd.DataFrame, models: list[str]) -> None:
    reach = max(0.06, FAR_DIFFERENCE * float(rows["difference"].abs().median()))
    styles = model_styles(models)
    for model, row in rows.iterrows():
        y, style, difference = models.index(str(model)), styles[str(model)], row["difference"]
        if abs(difference) > reach:  # far beside the others: an arrow, or these would be one point
            side = np.sign(difference)
            edge_arrow(axes, side * 0.96 * reach, y, style, left=side < 0)
            note(axes, f"{difference:+.2f}", (side * 0.9 * reach, y), 0, ha="left" if side < 0 else "right")
            continue
        if np.isfinite(row["low"]):
            axes.plot([row["low"], row["high"]], [y, y], color=style.colour, lw=2)
        mark(axes, difference, y, style, ms=7)
    axes.axvline(0, color="0.4", lw=1)
    axes.set_xlim(-reach, reach)
