"""Charts of comparisons: differences of models with intervals, or as a matrix; what other cohorts' images bring."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import ScalarFormatter

from ...settings.models import SELECTIVE
from .kinds import figure_kind, listed
from .language import say
from .names import label_title, model_title, plain, short_scenario
from .style import log_axis, mark, model_patch, model_styles, name_rows

REFERENCE = SELECTIVE
"""The model that all others are compared with where there are too many pairs to draw."""

MOST_MODELS = 6
"""With more models in a scenario, the forest plot keeps the pairs with the reference."""

STRONG = 0.1
"""A difference of Dice that has the strongest colour in the matrix."""


# -- pairs of models -----------------------------------------------------------------------------------------------


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

    `comparison` is from `multiseg.results.model_comparison.paired_comparison`, of `value`, which the axis names.
    Filled points are pairs whose interval excludes 0; pairs without a common value are left out. A scenario of more
    than `MOST_MODELS` models shows the pairs with `REFERENCE` alone, if it has that model.
    """
    shown = comparison[comparison["difference"].notna()]
    parts = {str(scenario): forest_pairs(part) for scenario, part in shown.groupby("scenario", sort=False)}

    def draw(axes: Axes, scenario: str) -> None:
        for y, row in enumerate(parts[scenario].itertuples()):
            if not np.isnan(row.low):
                axes.plot([row.low, row.high], [y, y], color="0.35", lw=2, solid_capstyle="butt")
            axes.plot(row.difference, y, "o", color="#0072B2", mfc="#0072B2" if row.significant else "white", ms=5)

    def names(part: pd.DataFrame) -> list[str]:
        return [f"{model_title(r.model_a)} − {model_title(r.model_b)}" for r in part.itertuples()]

    figure, last = _forest({scenario: names(part) for scenario, part in parts.items()}, draw, 0)
    what = say("difference of mean {value}, 95 % interval", value=value.replace("_", " "))
    notes = [say("(filled: the interval excludes 0)")]
    if sum(map(len, parts.values())) < len(shown):
        notes.append(say("only pairs with {model}; the table has all", model=model_title(REFERENCE)))
    last.set_xlabel("\n".join([what, *notes]), fontsize=10)
    last.tick_params(axis="x", labelsize=9)
    return figure


def _forest(rows: Mapping[str, Sequence[str]], draw: Callable[[Axes, str], None], same: float) -> tuple[Figure, Axes]:
    """Return a figure of a panel per scenario with named rows, and the last panel; a line where nothing differs."""
    heights = [len(names) for names in rows.values()]
    size = (8.5, 1.2 + 0.36 * sum(heights) + 0.6 * len(heights))
    options: dict[str, Any] = {"squeeze": False, "sharex": True, "height_ratios": [h + 0.6 for h in heights] or None}
    figure, grid = plt.subplots(max(len(rows), 1), 1, figsize=size, layout="constrained", **options)
    for axes, (scenario, names) in zip(grid.flat, rows.items(), strict=False):
        draw(axes, scenario)
        axes.axvline(same, color="0.4", lw=1)
        name_rows(axes, names)
        if len(rows) > 1:
            axes.set_title(short_scenario(scenario), fontsize=10)
    return figure, grid[-1, 0]


def forest_pairs(part: pd.DataFrame) -> pd.DataFrame:
    """Return the pairs of one scenario that the forest plot shows.

    All of them for up to `MOST_MODELS` models, or without `REFERENCE`; else those with the reference, as reference
    minus the other.
    """
    has_reference = (part[["model_a", "model_b"]] == REFERENCE).any(axis=1)
    if len(set(part["model_a"]) | set(part["model_b"])) <= MOST_MODELS or not has_reference.any():
        return part
    shown = part[has_reference].copy()
    turned = shown["model_b"] == REFERENCE
    shown.loc[turned, ["model_a", "model_b"]] = shown.loc[turned, ["model_b", "model_a"]].to_numpy()
    shown.loc[turned, ["difference", "low", "high"]] = -shown.loc[turned, ["difference", "high", "low"]].to_numpy()
    return shown


@figure_kind("difference_matrix", describe_differences)
def difference_matrix(comparison: pd.DataFrame) -> Figure | None:
    """Draw the differences of all pairs of models, a panel per scenario; None without any.

    From what `difference_intervals` takes; pairs without a common value are left out.
    """
    shown = comparison[comparison["difference"].notna()]
    parts = {str(scenario): part for scenario, part in shown.groupby("scenario", sort=False)}
    if not parts:
        return None
    orders = {scenario: _best_first(part) for scenario, part in parts.items()}
    cells = [len(order) - 1 for order in orders.values()]
    size = (3.2 + 0.66 * max(cells), 0.37 * (sum(cells) + 3.5 * len(cells)) + 0.4)
    ratios = [n + 3.5 for n in cells]
    figure, grid = plt.subplots(len(parts), 1, squeeze=False, height_ratios=ratios, figsize=size, layout="constrained")
    for axes, (scenario, part) in zip(grid.flat, parts.items(), strict=True):
        _triangle(axes, part, orders[scenario], max(cells))
        title = short_scenario(scenario) if len(parts) > 1 else ""
        axes.set_title(title, fontsize=10.5, fontweight="bold", loc="left", pad=8)
    return figure


def _best_first(part: pd.DataFrame) -> list[str]:
    both = pd.concat([part[[f"model_{k}", f"mean_{k}"]].set_axis(["model", "mean"], axis=1) for k in "ab"])
    return list(both.groupby("model", sort=False)["mean"].mean().sort_values(ascending=False).index)


def _triangle(axes: Axes, part: pd.DataFrame, order: list[str], width: int) -> None:
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
    axes.spines[:].set_visible(False)


# -- images of other cohorts ---------------------------------------------------------------------------------------


@figure_kind("recognition", lambda t: f"Mean share: {listed(t.groupby('model', sort=False)['share'].mean(), '.2f')}.")
def recognition_figure(shares: pd.DataFrame) -> Figure | None:
    """Draw `origin.relative_shares`: a panel per scenario, a row per model. None without any."""
    if shares.empty:
        return None
    values = {
        str(scenario): {str(model): share.to_numpy() for model, share in part.groupby("model", sort=False)["share"]}
        for scenario, part in shares.groupby("scenario", sort=False)
    }

    def draw(axes: Axes, scenario: str) -> None:
        styles = model_styles(list(values[scenario]))
        for y, (model, share) in enumerate(values[scenario].items()):
            mark(axes, share, [y] * len(share), styles[model])

    figure, last = _forest({name: [*map(model_title, models)] for name, models in values.items()}, draw, 1)
    last.set_xlim(left=0)
    last.set_xlabel(say("tissue labelled on other cohorts' images / on own images"), fontsize=10)
    return figure


def _domain_distance(table: pd.DataFrame) -> str:
    pairs = (
        table.groupby(["cohort", "test_cohort"], sort=False)[["divergence", "loss"]].mean().sort_values("divergence")
    )
    parts = [f"{a} to {b} loses {row.loss:.3f} at {1000 * row.divergence:.1f}" for (a, b), row in pairs.iterrows()]
    return f"Means, from the closest pair to the farthest: {', '.join(parts)}."


@figure_kind("domain_distance", _domain_distance)
def shift_figure(losses: pd.DataFrame) -> Figure:
    """Draw the loss of Dice against the divergence of training and test cohort: a mark per label, a colour per model.

    `losses` are from `multiseg.results.domain_distance.dice_losses`; rows without a divergence are left out.
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
        at = (1000 * part["divergence"].mean(), part["loss"].max())
        above: dict[str, Any] = {"textcoords": "offset points", "rotation": 90, "ha": "center", "va": "bottom"}
        axes.annotate(f"{cohort} → {test}", at, (0, 9), fontsize=8.5, color="0.3", **above)
    axes.axhline(0, color="0.6", lw=1)
    log_axis(axes, ScalarFormatter())
    low, high = axes.get_ylim()
    axes.set_ylim(low, high + 0.5 * (high - low))  # room for the names
    axes.margins(x=0.1)
    axes.set_xlabel(say("divergence of training and test cohort x 1000"))
    axes.set_ylabel(say("loss of Dice (own cohort − test cohort)"))
    handles: list[Artist] = list(itertools.starmap(model_patch, styles.items()))
    handles += [Line2D([], [], color="0.4", marker=marks[k], ls="", label=label_title(k)) for k in labels]
    axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=10)
    return figure
