"""The thesis's figures once more, zoomed in where its axes hide what differs, with names at the marks."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .kinds import figure_kind
from .names import label_title, model_title
from .result_charts import describe_dice, describe_significance, significance_axis
from .style import ModelStyle, model_styles

NEAR = 0.15
"""Models whose median is within this much Dice of the best one's are drawn; the others are arrows at the edge."""


@figure_kind("dice_zoomed", describe_dice)
def dice_zoomed(metrics: pd.DataFrame, labels: Sequence[str]) -> Figure | None:
    """Draw the Dice of each label in a panel, a row per model, on the range where the better models lie.

    Parameters
    ----------
    metrics, labels
        As for `result_charts.dice_boxes`. None is returned without any Dice.
    """
    known = metrics[metrics["dice"].notna() & metrics["label"].isin(list(labels))]
    labels = [label for label in labels if (known["label"] == label).any()]
    if not labels:
        return None
    models = list(dict.fromkeys(known["model"]))
    styles = model_styles(models)
    columns = 2 if len(labels) == 4 else min(len(labels), 3)
    lines = -(-len(labels) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(2.3 + 2.9 * columns, lines * (0.8 + 0.31 * len(models))), squeeze=False,
        layout="constrained", sharey=True,
    )  # fmt: skip
    for axes in grid.flat[len(labels) :]:
        axes.set_axis_off()
    for axes, label in zip(grid.flat, labels, strict=False):
        _zoomed_label(axes, known[known["label"] == label], models, styles)
        axes.set_title(label_title(label), fontsize=10.5)
    for line in grid:
        line[0].set_yticks(range(len(models)), [model_title(m) for m in models], fontsize=9.5)
    return figure


def _zoomed_label(axes: Axes, part: pd.DataFrame, models: Sequence[str], styles: dict[str, ModelStyle]) -> None:
    values = {m: part.loc[part["model"] == m, "dice"].to_numpy(float) for m in models}
    medians = {m: float(np.median(v)) for m, v in values.items() if len(v)}
    near = [m for m, median in medians.items() if median >= max(medians.values()) - NEAR]
    drawn = np.concatenate([values[m] for m in near])
    low, high = float(np.quantile(drawn, 0.02)), float(drawn.max())
    room = max(high - low, 0.02)
    low, high = low - 0.08 * room, high + 0.08 * room
    for y, model in enumerate(models):
        style = styles[model]
        if model not in medians:
            continue
        if model not in near and medians[model] < low:
            axes.plot(low + 0.05 * room, y, "<", color=style.colour, mec="0.2", mew=0.5, ms=7)
            axes.annotate(
                f"{medians[model]:.2f}", (low + 0.05 * room, y), (8, 0), textcoords="offset points", va="center",
                fontsize=8.5,
            )  # fmt: skip
            continue
        axes.boxplot(
            values[model], positions=[y], widths=0.62, orientation="horizontal", patch_artist=True, showfliers=False,
            manage_ticks=False,
            boxprops={"facecolor": style.colour, "hatch": style.hatch, "edgecolor": "0.2", "linewidth": 0.9},
            medianprops={"color": "black", "linewidth": 1.6}, whiskerprops={"color": "0.2"}, capprops={"color": "0.2"},
        )  # fmt: skip
        shift = (np.arange(len(values[model])) * 0.618 % 1 - 0.5) * 0.35
        axes.plot(values[model], y + shift, "o", ms=2.6, color="0.15", mfc="white", mew=0.6, zorder=3)
    axes.set(xlim=(low, high), ylim=(len(models) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(axis="x")
    axes.grid(axis="y", visible=False)


@figure_kind("significance_zoomed", describe_significance)
def significance_zoomed(tests: pd.DataFrame, summary: pd.Series) -> Figure | None:
    """Draw `result_charts.significance_axis` for the models within `NEAR` of the best mean; None if these are all."""
    means = summary.dropna()
    near = means[means >= means.max() - NEAR] if len(means) else means
    if len(near) in (len(means), 0, 1):
        return None
    both = tests["model_a"].isin(near.index) & tests["model_b"].isin(near.index)
    return significance_axis(tests[both], near)
