"""Charts of results: box plots, means and their significance, differences with intervals, training curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter

from ...settings.models import SELECTIVE, SINGLE_TASK
from .kinds import figure_kind, listed
from .language import say
from .names import LABEL_NAMES, drawn_name, plain, short_scenario
from .style import ModelStyle, model_patch, model_styles

REFERENCE = SELECTIVE
"""The model that all others are compared with where there are too many pairs to draw."""

MOST_MODELS = 6
"""With more models in a scenario, the forest plot keeps the pairs with the reference."""


# -- box plots -----------------------------------------------------------------------------------------------------


def _best_and_worst(means: pd.Series) -> str:
    means = means.dropna()
    if means.empty:
        return ""
    best, worst = means.idxmax(), means.idxmin()
    if len(means) == 1:
        return f"Mean of {plain(str(best))}: {means[best]:.3f}."
    return f"Highest mean: {plain(str(best))}, {means[best]:.3f}; lowest: {plain(str(worst))}, {means[worst]:.3f}."


def describe_dice(table: pd.DataFrame) -> str:
    """Return which model has the highest mean Dice, and which the lowest."""
    models = table[table["model"] != SINGLE_TASK]
    return _best_and_worst(models.groupby("model", sort=False)["dice"].mean())


@figure_kind("dice", describe_dice, thesis=(17, 20, 23, 26, 29, 34))
def dice_boxes(metrics: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Draw box plots of Dice per label and model (figures 17, 20, 23, 26, 29, 34). Points are cases and seeds.

    Many boxes are drawn in two rows of labels.

    Parameters
    ----------
    metrics
        Tidy rows with ``model, label, dice``, such as `shift.with_single_task` returns; undefined values are left out.
    labels
        The labels, from left to right; those without any Dice are left out.
    """
    labels = [label for label in labels if metrics.loc[metrics["label"] == label, "dice"].notna().any()] or labels
    groups = {str(model): part for model, part in metrics.groupby("model", sort=False)}
    styles = model_styles(list(groups))
    per_line = len(labels) if len(labels) * len(groups) <= 24 else -(-len(labels) // 2)
    lines = -(-len(labels) // per_line)
    width = min(11.0, 2.0 + per_line * (0.5 + 0.34 * len(groups)))
    figure, grid = plt.subplots(lines, 1, figsize=(width, 0.9 + 3.5 * lines), squeeze=False, layout="constrained")
    for line, axes in enumerate(grid.flat):
        drawn = labels[line * per_line : (line + 1) * per_line]
        for place, label in enumerate(drawn):
            _boxes_of_a_label(axes, place, label, groups, styles)
        axes.set(ylim=(-0.03, 1.03), xlim=(-0.5, per_line - 0.5), ylabel=say("Dice"))
        axes.set_xticks(range(len(drawn)), [drawn_name(label, LABEL_NAMES) for label in drawn])
        axes.set_xticks(np.arange(len(drawn) - 1) + 0.5, minor=True)
        axes.grid(axis="x", which="minor", color="0.8")
    _model_legend(figure, styles)
    return figure


def _boxes_of_a_label(
    axes: Axes, place: int, label: str, groups: Mapping[str, pd.DataFrame], styles: Mapping[str, ModelStyle]
) -> None:
    """Draw the boxes of all models for one label, side by side around `place`."""
    width = 0.84 / len(groups)
    for k, (model, part) in enumerate(groups.items()):
        values = part.loc[part["label"] == label, "dice"].dropna().to_numpy(dtype=float)
        if not len(values):
            continue
        x = place + (k - (len(groups) - 1) / 2) * width
        style = styles[model]
        axes.boxplot(
            values, positions=[x], widths=0.8 * width, patch_artist=True, showfliers=False, manage_ticks=False,
            boxprops={"facecolor": style.colour, "hatch": style.hatch, "edgecolor": "0.2", "linewidth": 0.9},
            medianprops={"color": "black", "linewidth": 1.6}, whiskerprops={"color": "0.2"}, capprops={"color": "0.2"},
        )  # fmt: skip
        # points side by side, by a rule rather than at random: equal results are equal pictures
        shift = (np.arange(len(values)) * 0.618 % 1 - 0.5) * 0.35 * width
        axes.plot(x + shift, values, "o", ms=2.6, color="0.15", mfc="white", mew=0.6, zorder=3)


def _model_legend(figure: Figure, styles: Mapping[str, ModelStyle]) -> None:
    """Add a legend of models below a figure with constrained layout, in as many lines as its width asks for."""
    handles = [model_patch(model, style) for model, style in styles.items()]
    columns = min(len(handles), max(2, int(figure.get_figwidth() // 2.3)))
    columns = -(-len(handles) // -(-len(handles) // columns))  # lines of equal length
    figure.legend(handles=handles, loc="outside lower center", ncol=columns, frameon=False, fontsize=10)


# -- means and differences -----------------------------------------------------------------------------------------


def describe_significance(table: pd.DataFrame) -> str:
    """Return how many pairs differ, and which do not."""
    alike = [f"{plain(r.model_a)} and {plain(r.model_b)}" for r in table[~table["significant"]].itertuples()]
    text = f"{len(table) - len(alike)} of {len(table)} pairs differ significantly"
    return f"{text}; not so {', '.join(alike)}." if 0 < len(alike) < 6 else f"{text}."


@figure_kind("significance", describe_significance, thesis=(19, 22, 24, 27, 30, 35))
def significance_axis(tests: pd.DataFrame, summary: pd.Series) -> Figure | None:
    """Draw the models' means on an axis; bars join models that do not differ significantly (figures 19, 22, 27, ...).

    Names stand left and right below the axis with a line to their value, as in Demšar's diagrams (2006, JMLR 7, 1-30),
    so that they stay readable however close the means are.

    Parameters
    ----------
    tests
        All pairs of models of one scenario, from `multiseg.results.thesis_test`.
    summary
        Model -> mean Dice; models without one are left out, and None is returned if all are.
    """
    means = {str(model): float(mean) for model, mean in summary.dropna().items()}
    if not means:
        return None
    order = sorted(means, key=lambda model: means[model])
    different = {frozenset(pair) for pair in tests.loc[tests["significant"], ["model_a", "model_b"]].to_numpy()}
    bars = _joined(order, different)
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
        colour, mean = styles[model].colour, means[model]
        axes.plot([mean, mean, end], [0, y, y], color=colour, lw=1.6)
        axes.plot(mean, 0, styles[model].marker, color=colour, ms=9, mec="0.2", mew=0.6, zorder=4, clip_on=False)
        name = drawn_name(model).replace("\n", " ")
        axes.annotate(
            f"{name}  {mean:.3f}" if on_left else f"{mean:.3f}  {name}", (end, y), (-5 if on_left else 5, 0),
            textcoords="offset points", annotation_clip=False, ha="right" if on_left else "left", va="center",
            fontsize=10.5,
        )  # fmt: skip
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


def _joined(order: Sequence[str], different: set[frozenset[str]]) -> list[tuple[str, str]]:
    """Return the longest runs of neighbouring models of which no two differ, as (first, last), runs of one left out."""
    runs: list[tuple[int, int]] = []
    for start in range(len(order)):
        stop = start
        while stop + 1 < len(order) and all(
            frozenset((order[stop + 1], order[k])) not in different for k in range(start, stop + 1)
        ):
            stop += 1
        if stop > start and not any(a <= start and stop <= b for a, b in runs):
            runs.append((start, stop))
    return [(order[a], order[b]) for a, b in runs]


def describe_differences(table: pd.DataFrame) -> str:
    """Return the largest difference, and how many pairs differ."""
    known = table[table["difference"].notna()]
    if known.empty:
        return ""
    top = known.loc[known["difference"].abs().idxmax()]
    return (
        f"Largest difference: {plain(top['model_a'])} minus {plain(top['model_b'])}, {top['difference']:+.3f} "
        f"({short_scenario(str(top['scenario']))}). {int(known['significant'].sum())} of {len(known)} pairs differ "
        "significantly."
    )


@figure_kind("differences", describe_differences)
def difference_intervals(comparison: pd.DataFrame, value: str = "dice") -> Figure:
    """Draw the mean difference of pairs of models with its interval, a panel per scenario (a forest plot).

    Filled points are pairs whose interval excludes 0; pairs without a common value are left out.
    A scenario of more than `MOST_MODELS` models shows the pairs with `REFERENCE` alone, if it has that model.

    Parameters
    ----------
    comparison
        From `multiseg.results.model_comparison.paired_comparison`.
    value
        What was compared, for the axis.
    """
    shown = comparison[comparison["difference"].notna()]
    parts = {str(scenario): forest_pairs(part) for scenario, part in shown.groupby("scenario", sort=False)}
    heights = [len(part) for part in parts.values()]
    figure, grid = plt.subplots(
        max(len(parts), 1), 1, squeeze=False, sharex=True, height_ratios=[h + 0.6 for h in heights] or None,
        figsize=(8.5, 1.2 + 0.36 * sum(heights) + 0.6 * len(heights)), layout="constrained",
    )  # fmt: skip
    for axes, (scenario, part) in zip(grid.flat, parts.items(), strict=False):
        for y, row in enumerate(part.itertuples()):
            if not np.isnan(row.low):
                axes.plot([row.low, row.high], [y, y], color="0.35", lw=2, solid_capstyle="butt")
            axes.plot(row.difference, y, "o", color="#0072B2", mfc="#0072B2" if row.significant else "white", ms=5)
        axes.axvline(0, color="0.4", lw=1)
        names = [[drawn_name(m).replace("\n", " ") for m in (r.model_a, r.model_b)] for r in part.itertuples()]
        axes.set_yticks(range(len(part)), [f"{a} − {b}" for a, b in names], fontsize=9.5)
        axes.set_ylim(len(part) - 0.5, -0.5)  # the first pair on top
        axes.grid(axis="x")
        if len(parts) > 1:
            axes.set_title(short_scenario(scenario), fontsize=10)
    what = say("difference of mean {value}, 95 % interval", value=value.replace("_", " "))
    notes = [say("(filled: the interval excludes 0)")]
    if sum(heights) < len(shown):
        model = drawn_name(REFERENCE).replace("\n", " ")
        notes.append(say("only pairs with {model}; the table has all", model=model))
    grid[-1, 0].set_xlabel("\n".join([what, *notes]), fontsize=10)
    grid[-1, 0].tick_params(axis="x", labelsize=9)
    return figure


def forest_pairs(part: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of one scenario that the forest plot shows.

    All of them for up to `MOST_MODELS` models, or without `REFERENCE`; else those with the reference, as reference
    minus the other.
    """
    has_reference = (part[["model_a", "model_b"]] == REFERENCE).any(axis=1)
    if len(set(part["model_a"]) | set(part["model_b"])) <= MOST_MODELS or not has_reference.any():
        return part
    kept = part[has_reference].copy()
    turned = kept["model_b"] == REFERENCE
    kept.loc[turned, "model_b"] = kept.loc[turned, "model_a"]
    kept["model_a"] = REFERENCE
    old = kept.loc[turned, ["difference", "low", "high"]]
    kept.loc[turned, "difference"] = -old["difference"]
    kept.loc[turned, "low"], kept.loc[turned, "high"] = -old["high"], -old["low"]
    return kept


def _recognition(table: pd.DataFrame) -> str:
    return f"Mean share: {listed(table.groupby('model', sort=False)['share'].mean(), '.2f')}."


@figure_kind("recognition", _recognition)
def recognition_figure(shares: pd.DataFrame) -> Figure | None:
    """Draw `origin.relative_shares`: a panel per scenario, a row per model. None without any."""
    if shares.empty:
        return None
    parts = {str(name): part for name, part in shares.groupby("scenario", sort=False)}
    heights = [part["model"].nunique() for part in parts.values()]
    figure, grid = plt.subplots(
        len(parts), 1, squeeze=False, sharex=True, height_ratios=[h + 0.6 for h in heights],
        figsize=(8.5, 1.2 + 0.36 * sum(heights) + 0.6 * len(heights)), layout="constrained",
    )  # fmt: skip
    for axes, (scenario, part) in zip(grid.flat, parts.items(), strict=True):
        models = list(dict.fromkeys(part["model"]))
        styles = model_styles(models)
        for y, model in enumerate(models):
            values = part.loc[part["model"] == model, "share"]
            axes.plot(values, [y] * len(values), styles[model].marker, color=styles[model].colour, mec="0.2", mew=0.5)
        axes.axvline(1, color="0.4", lw=1)
        axes.set_yticks(range(len(models)), [drawn_name(m).replace("\n", " ") for m in models], fontsize=9.5)
        axes.set_ylim(len(models) - 0.5, -0.5)
        axes.grid(axis="x")
        if len(parts) > 1:
            axes.set_title(short_scenario(scenario), fontsize=10)
    grid[-1, 0].set_xlim(left=0)
    what = say("tissue labelled on other cohorts' images / on own images")
    grid[-1, 0].set_xlabel(what, fontsize=10)
    return figure


# -- training ------------------------------------------------------------------------------------------------------


def _training(table: pd.DataFrame) -> str:
    lowest = table.groupby("model", sort=False)["validation_loss"].min()
    return f"Lowest validation loss: {listed(lowest, '.3f')}."


@figure_kind("training", _training)
def training_curves(history: pd.DataFrame) -> Figure:
    """Draw training and validation loss by step: one panel per model, one line per network and seed.

    Parameters
    ----------
    history
        Rows of the runs' ``history.csv`` with ``model`` and ``seed``.
    """
    models = list(dict.fromkeys(history["model"]))
    columns = min(len(models), 5)
    lines = -(-len(models) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(max(2.3 * columns, 4), 2.7 * lines), squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(models) :]:
        axes.set_axis_off()
    styles = model_styles(models)
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
    handles = [
        Patch(color="0.6", label=say("training")),
        Patch(color=styles[models[0]].colour, label=say("validation")),
    ]
    grid[0, 0].legend(handles=handles, fontsize=8, frameon=False, handlelength=1)
    return figure


# -- distance of cohorts -------------------------------------------------------------------------------------------


def _domain_distance(table: pd.DataFrame) -> str:
    pairs = (
        table.groupby(["cohort", "test_cohort"], sort=False)[["divergence", "loss"]].mean().sort_values("divergence")
    )
    parts = [f"{a} to {b} loses {row.loss:.3f} at {1000 * row.divergence:.1f}" for (a, b), row in pairs.iterrows()]
    return f"Means, from the closest pair to the farthest: {', '.join(parts)}."


@figure_kind("domain_distance", _domain_distance)
def shift_figure(losses: pd.DataFrame) -> Figure:
    """Draw the loss of Dice against the divergence of training and test cohort: a mark per label, a colour per model.

    Parameters
    ----------
    losses
        From `multiseg_core.shift.dice_losses`; rows without a divergence are left out.
    """
    shown = losses.dropna(subset=["divergence", "loss"])
    models, labels = (list(dict.fromkeys(shown[column])) for column in ("model", "label"))
    styles = model_styles(models)
    marks = dict(zip(labels, "os^DvPX*<>" * (1 + len(labels) // 10), strict=False))
    figure, axes = plt.subplots(figsize=(9.5, 5), layout="constrained")
    for row in shown.itertuples():
        # models side by side, so that equal values do not hide each other
        at = 1000 * row.divergence * 1.03 ** (models.index(row.model) - (len(models) - 1) / 2)
        axes.plot(at, row.loss, marks[row.label], color=styles[row.model].colour, ms=7, mec="white", mew=0.6)
    for (cohort, test), part in shown.groupby(["cohort", "test_cohort"], sort=False):
        axes.annotate(
            f"{cohort} → {test}", (1000 * part["divergence"].mean(), part["loss"].max()), xytext=(0, 9),
            textcoords="offset points", rotation=90, fontsize=8.5, color="0.3", ha="center", va="bottom",
        )  # fmt: skip
    axes.axhline(0, color="0.6", lw=1)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(ScalarFormatter())
    axes.xaxis.set_minor_locator(NullLocator())
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.5 * (high - low))  # room for the names
    axes.margins(x=0.1)
    axes.set_xlabel(say("divergence of training and test cohort x 1000"))
    axes.set_ylabel(say("loss of Dice (own cohort − test cohort)"))
    handles: list[Artist] = [model_patch(model, style) for model, style in styles.items()]
    handles += [Line2D([], [], color="0.4", marker=marks[k], ls="", label=drawn_name(k, LABEL_NAMES)) for k in labels]
    axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    return figure
