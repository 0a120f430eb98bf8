"""Curves: Dice by a setting, such as dropout, parameters or steps; errors found by what is looked at."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from ...study.uncertainty import CHECKED, errors_found
from .kinds import figure_kind
from .language import say
from .names import model_title, plain, short_scenario
from .style import legend_below, log_axis, model_styles, note, panels, wrapped

_MARKERS = "osDv^P"

APART = 0.012
"""Distance between series at the same setting, as a part of the axis, so that no interval hides another."""


def _from_to_best(table: pd.DataFrame) -> str:
    parts = []
    for (panel, series), part in table[table["mean"].notna()].groupby(["panel", "series"], sort=False):
        place, mean = f"{panel}, {series}" if panel else str(series), part["mean"]
        parts.append(f"{place}: from {mean.iloc[0]:.3f} to {mean.iloc[-1]:.3f}, best {mean.max():.3f}")
    return "; ".join(parts) + "."


@figure_kind("curve", _from_to_best)
def setting_curves(
    table: pd.DataFrame, setting: str, lines: Mapping[str, float] | None = None, log: bool = False
) -> Figure:
    """Draw a curve per series against a setting, which names the axis and may be logarithmic, in a panel each.

    `table` has ``panel, series, model, x, mean, low, high``; intervals may be NaN. A curve has the colour of its middle
    model. `lines` are horizontal ones, name -> height, such as a Dice to beat.
    """
    shown = list(dict.fromkeys(table["panel"]))
    middle = {name: part["model"].iloc[len(part) // 2] for name, part in table.groupby("series", sort=False)}
    styles = model_styles(list(middle.values()))
    low, high = float(table["x"].min()), float(table["x"].max())
    figure, grid = panels(1, len(shown), 4.6, 3.9, margin=(1.8, 0), sharex=True)
    for axes, panel in zip(grid.flat, shown, strict=True):
        for k, (name, model) in enumerate(middle.items()):
            part = table[(table["panel"] == panel) & (table["series"] == name)].sort_values("x")
            aside = (k - (len(middle) - 1) / 2) * APART
            x = part["x"] * (high / low) ** aside if log else part["x"] + (high - low) * aside
            around = np.nan_to_num(np.abs(part[["low", "high"]].sub(part["mean"], axis=0).to_numpy().T))
            look = {"color": styles[model].colour, "marker": _MARKERS[k % 6], "ms": 6, "mec": "0.2", "mew": 0.5}
            axes.errorbar(x, part["mean"], around, capsize=3, lw=1.8, label=name.replace("\n", " "), **look)
        for text, height in (lines or {}).items():
            axes.axhline(height, color="0.45", lw=1, ls="--")
            note(axes, text, (1, height), 4, xycoords=("axes fraction", "data"), color="0.35")
        if log:
            log_axis(axes, FuncFormatter(lambda x, _: f"{x:g}"))
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, -0.02), min(top, 1.02))  # intervals may pass what a Dice can be
        axes.set_title(panel, fontsize=11)
        axes.set_xlabel(setting)
    grid[0, 0].set_ylabel(say("Dice"))
    grid[0, 0].legend(frameon=False, fontsize=9.5)
    return figure


# -- errors and uncertainty ----------------------------------------------------------------------------------------

SHOWN = (0.001, 1.0)
"""Parts of the voxels that the axis shows: most errors lie among the first few percent."""


def _found(table: pd.DataFrame) -> str:
    parts = []
    for (scenario, model), curve in table.groupby(["scenario", "model"], sort=False):
        found = np.interp(CHECKED, curve["looked_at"], curve["found"])
        parts.append(f"{scenario} {plain(str(model))} {found:.0%}")
    return f"Errors among the {CHECKED:.0%} most uncertain voxels: " + ", ".join(parts) + "."


@figure_kind("errors_found", _found)
def errors_found_figure(counts: pd.DataFrame) -> tuple[Figure, pd.DataFrame] | None:
    """Draw `study.uncertainty.errors_found`, a panel per scenario. None where no model is ever wrong.

    `counts` are rows of `study.uncertainty.count_by_uncertainty` with ``scenario`` and ``model``.
    """
    table = errors_found(counts)
    if table.empty:
        return None
    styles = model_styles(list(table["model"].unique()))
    scenarios = list(table.groupby("scenario", sort=False))
    figure, grid = wrapped(len(scenarios), 3, 3.6, 3.2, margin=(1.6, 1), sharex=True, sharey=True)
    chance = np.geomspace(*SHOWN, 50)
    for axes, (scenario, part) in zip(grid.flat, scenarios, strict=False):
        axes.plot(chance, chance, ":", color="0.5", lw=1)
        axes.axvline(CHECKED, color="0.7", lw=1)
        for model, curve in part.groupby("model", sort=False):
            axes.plot(curve["looked_at"], curve["found"], color=styles[str(model)].colour, lw=1.8)
        axes.set(xscale="log", xlim=SHOWN, ylim=(0, 1.02))
        axes.set_title(short_scenario(str(scenario)), fontsize=10)
        axes.grid(axis="both")
    for axes in grid[:, 0]:
        axes.set_ylabel(say("part of the errors found"))
    for axes in grid.flat[max(0, len(scenarios) - grid.shape[1]) : len(scenarios)]:  # nothing stands below these
        axes.set_xlabel(say("part of the voxels looked at"))
        axes.tick_params(labelbottom=True)
    handles = [Line2D([], [], color=style.colour, lw=1.8, label=model_title(m)) for m, style in styles.items()]
    legend_below(figure, handles, min(3, len(handles)), 9)
    return figure, table
