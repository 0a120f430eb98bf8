"""The figure that carries a study: every model on every endpoint, with intervals, beside separate networks."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .kinds import figure_kind
from .language import say
from .names import endpoint_title, model_title, plain, short_scenario
from .style import model_styles

FAR = 3.0
"""Values so many times farther from the reference than the median one are arrows at the edge, with their value."""

LEAST_REACH = 0.04
"""A panel shows at least this much Dice to each side of its reference."""


def _reading(table: pd.DataFrame) -> str:
    parts = []
    for (scenario, endpoint), known in table[table["dice"].notna()].groupby(["scenario", "endpoint"], sort=False):
        best = known.loc[known["dice"].idxmax()]
        parts.append(
            f"{short_scenario(str(scenario))}, {endpoint}: best {plain(str(best['model']))} {best['dice']:.3f}"
        )
    return "; ".join(parts) + "."


@figure_kind("endpoints", _reading)
def endpoint_figure(table: pd.DataFrame) -> Figure | None:
    """Draw every model's Dice on every endpoint: a row of panels per scenario, best models on top.

    Parameters
    ----------
    table
        ``scenario, endpoint, model, dice, low, high`` and, for the line and the band, ``reference`` and ``margin``
        (NaN without). None is returned for an empty one.
    """
    table = table[table["dice"].notna()]
    if table.empty:
        return None
    scenarios = list(dict.fromkeys(table["scenario"]))
    columns = int(table.groupby("scenario")["endpoint"].nunique().max())
    heights = [table.loc[table["scenario"] == s, "model"].nunique() for s in scenarios]
    figure = plt.figure(
        figsize=(3.4 + 3.3 * columns, 0.5 + 0.29 * sum(heights) + 1.0 * len(heights)), layout="constrained"
    )
    blocks = figure.subfigures(len(scenarios), 1, squeeze=False, height_ratios=[h + 3.4 for h in heights])[:, 0]
    for block, scenario in zip(blocks, scenarios, strict=True):
        part = table[table["scenario"] == scenario]
        models = list(part.groupby("model")["dice"].mean().sort_values(ascending=False).index)
        endpoints = list(dict.fromkeys(part["endpoint"]))
        line = block.subplots(1, columns, squeeze=False)[0]
        for axes in line[len(endpoints) :]:
            axes.set_axis_off()
        for axes, endpoint in zip(line, endpoints, strict=False):
            _panel(axes, part[part["endpoint"] == endpoint].set_index("model"), models)
            axes.set_yticks(range(len(models)), map(model_title, models) if axes is line[0] else [""] * len(models))
            axes.tick_params(axis="y", labelsize=9.5)
            axes.set_title(endpoint_title(str(endpoint)), fontsize=10.5)
            axes.set_xlabel(say("Dice"), fontsize=9.5)
        if len(scenarios) > 1:
            block.suptitle(short_scenario(str(scenario)), fontsize=10.5, fontweight="bold", x=0.01, ha="left")
    return figure


def _panel(axes: Axes, part: pd.DataFrame, models: list[str]) -> None:
    reference, margin = float(part["reference"].iloc[0]), float(part["margin"].iloc[0])
    centre = reference if np.isfinite(reference) else float(part["dice"].median())
    ends = part[["low", "high"]].sub(centre).abs().max(axis=1).fillna(0)
    away = np.maximum((part["dice"] - centre).abs(), ends)
    reach = max(LEAST_REACH, min(1.15 * float(away.max()), FAR * max(float(away.median()), 0.02)))
    if np.isfinite(reference):
        if np.isfinite(margin):
            axes.axvspan(reference - margin, reference + margin, color="0.9", lw=0, zorder=0)
            reach = max(reach, 1.3 * margin)
        axes.axvline(reference, color="0.4", lw=1, zorder=1)
    styles = model_styles(models)
    for y, model in enumerate(models):
        if model not in part.index:
            continue
        row, style = part.loc[model], styles[model]
        colour, text = style.colour, f"{row['dice']:.3f}"
        side = np.sign(row["dice"] - centre) or 1
        if abs(row["dice"] - centre) > reach:
            at = centre + side * 0.95 * reach
            axes.plot(at, y, ">" if side > 0 else "<", color=colour, mec="0.2", mew=0.5, ms=7)
            axes.annotate(
                text, (at, y), (-side * 7, 0), textcoords="offset points", fontsize=8.5, va="center",
                ha="right" if side > 0 else "left",
            )  # fmt: skip
            continue
        low, high = max(row["low"], centre - reach), min(row["high"], centre + reach)
        if np.isfinite(row["low"]):
            axes.plot([low, high], [y, y], color=colour, lw=2.2, solid_capstyle="butt")
        axes.plot(row["dice"], y, style.marker, color=colour, mec="0.2", mew=0.5, ms=7, zorder=4)
        # a value stands beyond the interval, on the side with more room
        right = row["dice"] <= centre
        end = (high if right else low) if np.isfinite(row["low"]) else row["dice"]
        axes.annotate(
            text, (end, y), (6 if right else -6, 0), textcoords="offset points", fontsize=8.5, va="center",
            ha="left" if right else "right", color="0.25",
        )  # fmt: skip
    axes.set_xlim(centre - reach, min(centre + reach, 1.01))  # no Dice is above 1
    axes.set_ylim(len(models) - 0.5, -0.5)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(axis="x")
    axes.grid(axis="y", visible=False)
