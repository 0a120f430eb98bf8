"""All pairs of models of a scenario at a glance: a matrix of their differences, framed where they are sure."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from .kinds import figure_kind
from .names import model_title, short_scenario
from .result_charts import describe_differences

STRONG = 0.1
"""A difference of Dice that has the strongest colour."""


@figure_kind("difference_matrix", describe_differences)
def difference_matrix(comparison: pd.DataFrame) -> Figure | None:
    """Draw the differences of all pairs of models, a panel per scenario; None without any.

    Parameters
    ----------
    comparison
        From `multiseg.results.model_comparison.paired_comparison`; pairs without a common value are left out.
    """
    shown = comparison[comparison["difference"].notna()]
    parts = {str(scenario): part for scenario, part in shown.groupby("scenario", sort=False)}
    if not parts:
        return None
    orders = {scenario: _best_first(part) for scenario, part in parts.items()}
    cells = [len(order) - 1 for order in orders.values()]
    figure, grid = plt.subplots(
        len(parts), 1, squeeze=False, height_ratios=[n + 3.5 for n in cells],
        figsize=(3.2 + 0.66 * max(cells), 0.37 * (sum(cells) + 3.5 * len(cells)) + 0.4), layout="constrained",
    )  # fmt: skip
    for axes, (scenario, part) in zip(grid.flat, parts.items(), strict=True):
        _panel(axes, part, orders[scenario], max(cells))
        title = short_scenario(scenario) if len(parts) > 1 else ""
        axes.set_title(title, fontsize=10.5, fontweight="bold", loc="left", pad=8)
    return figure


def _best_first(part: pd.DataFrame) -> list[str]:
    both = pd.concat([part[["model_a", "mean_a"]].set_axis(["model", "mean"], axis=1),
                      part[["model_b", "mean_b"]].set_axis(["model", "mean"], axis=1)])  # fmt: skip
    return list(both.groupby("model", sort=False)["mean"].mean().sort_values(ascending=False).index)


def _panel(axes: Axes, part: pd.DataFrame, order: list[str], width: int) -> None:
    """Fill the triangle above the diagonal: rows are the better ones."""
    place = {model: k for k, model in enumerate(order)}
    colours = plt.get_cmap("RdBu")
    for pair in part.itertuples():
        a, b = place[str(pair.model_a)], place[str(pair.model_b)]
        row, column, difference = (a, b, pair.difference) if a < b else (b, a, -pair.difference)
        shade = float(np.clip(0.5 + difference / (2 * STRONG) * 0.8, 0.1, 0.9))
        axes.add_patch(Rectangle((column - 1.5, row - 0.5), 1, 1, fc=colours(shade), ec="white", lw=1.5))
        if pair.significant:
            axes.add_patch(Rectangle((column - 1.46, row - 0.46), 0.92, 0.92, fill=False, ec="black", lw=1.8))
        colour = "white" if abs(shade - 0.5) > 0.3 else "black"
        text = f"{difference:+.3f}".replace("0.", ".", 1).replace("-", "−")
        axes.text(column - 1, row, text, ha="center", va="center", fontsize=8.5, color=colour)
    n = len(order) - 1
    axes.set(xlim=(-0.5, width - 0.5), ylim=(n - 0.5, -0.5))
    axes.set_yticks(range(n), [model_title(m) for m in order[:-1]], fontsize=9)
    axes.set_xticks(range(n), [model_title(m) for m in order[1:]], fontsize=9, rotation=35, ha="right")
    axes.tick_params(length=0)
    axes.grid(False)
    for side in axes.spines.values():
        side.set_visible(False)
