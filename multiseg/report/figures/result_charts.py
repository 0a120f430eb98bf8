"""Charts of results: box plots of Dice, means and their significance, and both closely; curves of training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ...settings.models import SINGLE_TASK, NamedModel
from .kinds import figure_kind, listed
from .language import say
from .names import drawn_name, label_title, model_title, plain
from .style import box, edge_arrow, legend_below, mark, model_patch, model_styles, name_rows, note, panels, wrapped

NEAR = 0.15
"""Closely, models within this much Dice of the best one's median or mean are drawn; others are arrows at the edge."""


# -- box plots -----------------------------------------------------------------------------------------------------


def describe_dice(table: pd.DataFrame) -> str:
    """Return which model has the highest mean Dice, and which the lowest."""
    means = table[table["model"] != SINGLE_TASK].groupby("model", sort=False)["dice"].mean().dropna()
    if means.empty:
        return ""
    best, worst = means.idxmax(), means.idxmin()
    if len(means) == 1:
        return f"Mean of {plain(best)}: {means[best]:.3f}."
    return f"Highest mean: {plain(best)}, {means[best]:.3f}; lowest: {plain(worst)}, {means[worst]:.3f}."


@figure_kind("dice", describe_dice, thesis=(17, 20, 23, 26, 29, 34))
def dice_boxes(metrics: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Draw box plots of Dice per label and model (figures 17, 20, 23, 26, 29, 34), with a point per case and seed.

    `metrics` has tidy rows with ``model, label, dice``, such as `with_single_task` returns; undefined values are left
    out, and so are labels, from left to right, without any Dice. Many boxes are drawn in two rows of labels.
    """
    labels = [label for label in labels if metrics.loc[metrics["label"] == label, "dice"].notna().any()] or labels
    groups = {str(model): part for model, part in metrics.groupby("model", sort=False)}
    styles = model_styles(list(groups))
    per_line = len(labels) if len(labels) * len(groups) <= 24 else -(-len(labels) // 2)
    wide = min(11.0, 2.0 + per_line * (0.5 + 0.34 * len(groups)))
    figure, grid = panels(-(-len(labels) // per_line), 1, wide, 3.5, margin=(0, 0.9))
    width = 0.84 / len(groups)
    for line, axes in enumerate(grid.flat):
        drawn = labels[line * per_line : (line + 1) * per_line]
        for place, label in enumerate(drawn):
            for k, (model, part) in enumerate(groups.items()):
                values = part.loc[part["label"] == label, "dice"].dropna().to_numpy(dtype=float)
                if len(values):
                    x = place + (k - (len(groups) - 1) / 2) * width
                    box(axes, x, values, styles[model], (0.8 * width, 0.35 * width))
        axes.set(ylim=(-0.03, 1.03), xlim=(-0.5, per_line - 0.5), ylabel=say("Dice"))
        axes.set_xticks(range(len(drawn)), list(map(label_title, drawn)))
        axes.set_xticks(np.arange(len(drawn) - 1) + 0.5, minor=True)
        axes.grid(axis="x", which="minor", color="0.8")
    columns = min(len(styles), max(2, int(figure.get_figwidth() // 2.3)))
    columns = -(-len(styles) // -(-len(styles) // columns))  # lines of equal length
    legend_below(figure, list(itertools.starmap(model_patch, styles.items())), columns, 10)
    return figure


@figure_kind("dice_zoomed", describe_dice)
def dice_zoomed(metrics: pd.DataFrame, labels: Sequence[str]) -> Figure | None:
    """Draw the Dice of each label in a panel, a row per model, on the range where the better models lie.

    From what `dice_boxes` takes; None without any Dice.
    """
    known = metrics[metrics["dice"].notna() & metrics["label"].isin(list(labels))]
    labels = [label for label in labels if (known["label"] == label).any()]
    if not labels:
        return None
    styles = model_styles(list(dict.fromkeys(known["model"])))
    most, tall = 2 if len(labels) == 4 else 3, 0.8 + 0.31 * len(styles)
    figure, grid = wrapped(len(labels), most, 2.9, tall, margin=(2.3, 0), sharey=True)
    for axes, label in zip(grid.flat, labels, strict=False):
        _draw_label(axes, known[known["label"] == label], styles)
        axes.set_title(label_title(label), fontsize=10.5)
    for line in grid:
        name_rows(line[0], list(map(model_title, styles)))
    return figure


def _draw_label(axes: Axes, part: pd.DataFrame, styles: Mapping[str, NamedModel]) -> None:
    values = {str(m): dice.to_numpy(float) for m, dice in part.groupby("model", sort=False)["dice"]}
    medians = {m: float(np.median(v)) for m, v in values.items()}
    near = [m for m, median in medians.items() if median >= max(medians.values()) - NEAR]
    drawn = np.concatenate([values[m] for m in near])
    low, high = float(np.quantile(drawn, 0.02)), float(drawn.max())
    room = max(high - low, 0.02)
    low, high = low - 0.08 * room, high + 0.08 * room
    for y, (model, style) in enumerate(styles.items()):
        if model in medians and model not in near and medians[model] < low:
            edge_arrow(axes, low + 0.05 * room, y, style, left=True)
            note(axes, f"{medians[model]:.2f}", (low + 0.05 * room, y), 8)
        elif model in medians:
            box(axes, y, values[model], style, (0.62, 0.35), across=True)
    axes.set(xlim=(low, high), ylim=(len(styles) - 0.5, -0.5))
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(axis="x", labelsize=9)
    axes.grid(visible=True, axis="x")
    axes.grid(axis="y", visible=False)


# -- means ---------------------------------------------------------------------------------------------------------


def describe_significance(table: pd.DataFrame) -> str:
    """Return how many pairs differ, and which do not."""
    alike = [f"{plain(r.model_a)} and {plain(r.model_b)}" for r in table[~table["significant"]].itertuples()]
    text = f"{len(table) - len(alike)} of {len(table)} pairs differ significantly"
    return f"{text}; not so {', '.join(alike)}." if 0 < len(alike) < 6 else f"{text}."


@figure_kind("significance", describe_significance, thesis=(19, 22, 24, 27, 30, 35))
def significance_axis(tests: pd.DataFrame, summary: pd.Series) -> Figure | None:
    """Draw the models' means on an axis; bars join models that do not differ significantly (figures 19, 22, 27, ...).

    Names stand left and right below the axis with a line to their value, as in Demšar's diagrams (2006, JMLR 7, 1-30),
    so that they stay readable however close the means are. `tests` are all pairs of models of one scenario, from
    `multiseg.results.thesis_test`; `summary` maps models to their mean Dice. Those without one are left out, and None
    is returned if all are.
    """
    means = {str(model): float(mean) for model, mean in summary.dropna().items()}
    if not means:
        return None
    order = sorted(means, key=lambda model: means[model])
    bars = joined(order, {frozenset(p) for p in tests.loc[tests["significant"], ["model_a", "model_b"]].to_numpy()})
    low, high = min(means.values()), max(means.values())
    room = max(high - low, 0.05)
    styles = model_styles(order)
    left = -(-len(order) // 2)
    top = 0.7 + 0.4 * len(bars)  # rows of names begin below the bars
    depth = top + 0.8 * (left - 1)
    figure, axes = plt.subplots(figsize=(9, 1.2 + 0.5 * depth))
    for place, model in enumerate(order):
        on_left = place < left
        y = -top - 0.8 * (place if on_left else len(order) - 1 - place)
        end = low - 0.12 * room if on_left else high + 0.12 * room
        mean = means[model]
        axes.plot([mean, mean, end], [0, y, y], color=styles[model].colour, lw=1.6)
        mark(axes, mean, 0, styles[model], ms=9, mew=0.6, zorder=4, clip_on=False)
        text = f"{model_title(model)}  {mean:.3f}" if on_left else f"{mean:.3f}  {model_title(model)}"
        note(axes, text, (end, y), -5 if on_left else 5, annotation_clip=False, fontsize=10.5)
    for level, (first, last) in enumerate(bars):
        ends = [means[first] - 0.008 * room, means[last] + 0.008 * room]
        axes.plot(ends, [-0.4 - 0.4 * level] * 2, color="0.2", lw=5, solid_capstyle="round", zorder=3)
    axes.set(ylim=(-depth - 0.5, 0), yticks=[], xlim=(low - 0.12 * room, high + 0.12 * room))
    axes.set_xlabel(say("mean Dice over images and labels"), labelpad=8, fontsize=11)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.tick_params(axis="x", top=True, pad=6, labelsize=10)
    axes.locator_params(axis="x", nbins=5)
    axes.grid(False)
    sns.despine(ax=axes, left=True, right=True, top=False, bottom=True)
    figure.subplots_adjust(left=0.28, right=0.72, top=0.75, bottom=0.02)
    return figure


def joined(order: Sequence[str], different: set[frozenset[str]]) -> list[tuple[str, str]]:
    """Return the longest runs of neighbouring models of which no two differ, as (first, last), runs of one left out."""
    runs = []
    reached = 0
    for start in range(len(order)):
        stop = start + 1
        while stop < len(order) and not any(frozenset((order[stop], m)) in different for m in order[start:stop]):
            stop += 1
        if stop - 1 > max(start, reached):
            runs.append((order[start], order[stop - 1]))
            reached = stop - 1
    return runs


@figure_kind("significance_zoomed", describe_significance)
def significance_zoomed(tests: pd.DataFrame, summary: pd.Series) -> Figure | None:
    """Draw `significance_axis` for the models within `NEAR` of the best mean; None if these are all."""
    means = summary.dropna()
    near = means[means >= means.max() - NEAR] if len(means) else means
    if len(near) in (len(means), 0, 1):
        return None
    both = tests["model_a"].isin(near.index) & tests["model_b"].isin(near.index)
    return significance_axis(tests[both], near)


# -- training ------------------------------------------------------------------------------------------------------


def _training(table: pd.DataFrame) -> str:
    lowest = table.groupby("model", sort=False)["validation_loss"].min()
    return f"Lowest validation loss: {listed(lowest, '.3f')}."


@figure_kind("training", _training)
def training_curves(history: pd.DataFrame) -> Figure:
    """Draw training and validation loss by step: one panel per model, one line per network and seed.

    `history` has rows of the runs' ``history.csv`` with ``model`` and ``seed``.
    """
    models = list(dict.fromkeys(history["model"]))
    styles = model_styles(models)
    figure, grid = wrapped(len(models), 5, 2.3 if len(models) > 1 else 4, 2.7)
    for axes, model in zip(grid.flat, models, strict=False):
        part = history[history["model"] == model]
        for _, line in part.groupby(["network", "seed"], sort=False):
            axes.plot(line["step"], line["training_loss"], color="0.6")
            axes.plot(line["step"], line["validation_loss"], color=styles[model].colour)
        axes.set_title(drawn_name(model), fontsize=10)
        # the first validations may be far off, as batch normalisation has seen few batches by then
        axes.set(xlabel=say("step"), ylim=(0, 1.3 * part["training_loss"].max()))
        axes.tick_params(labelsize=8)
    for axes in grid[:, 0]:
        axes.set_ylabel(say("loss"))
    lines = {"training": "0.6", "validation": styles[models[0]].colour}
    handles = [Patch(color=colour, label=say(line)) for line, colour in lines.items()]
    grid[0, 0].legend(handles=handles, fontsize=8, frameon=False, handlelength=1)
    return figure
