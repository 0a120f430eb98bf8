"""Curves of results against a setting: Dice by dropout, by parameters, by steps."""

from __future__ import annotations

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from .kinds import figure_kind
from .language import say
from .style import model_styles

_MARKERS = "osDv^P"


def _reading(table: pd.DataFrame) -> str:
    parts = []
    for (panel, series), part in table[table["mean"].notna()].groupby(["panel", "series"], sort=False):
        best = part.loc[part["mean"].idxmax()]
        place = f"{panel}, {series}" if panel else str(series)
        parts.append(
            f"{place}: from {part['mean'].iloc[0]:.3f} to {part['mean'].iloc[-1]:.3f}, best {best['mean']:.3f}"
        )
    return "; ".join(parts) + "."


APART = 0.012
"""Distance between series at the same setting, as a part of the axis, so that no interval hides another."""


def _beside(x: pd.Series, k: float, all_x: pd.Series, log: bool) -> pd.Series:
    """Return places on the axis of a setting, moved aside by k distances."""
    low, high = float(all_x.min()), float(all_x.max())
    if log:
        return x * (high / low) ** (k * APART)
    return x + (high - low) * k * APART


@figure_kind("curve", _reading)
def setting_curves(
    table: pd.DataFrame, setting: str, lines: Mapping[str, float] | None = None, log: bool = False
) -> Figure:
    """Draw a curve per series against a setting, in a panel each.

    Parameters
    ----------
    table
        ``panel, series, model, x, mean, low, high``; intervals may be NaN. A curve has the colour of its middle model.
    setting
        What x is, for the axis.
    lines
        Name -> height of horizontal lines, such as a Dice to beat.
    log
        Whether x has a logarithmic axis.
    """
    panels = list(dict.fromkeys(table["panel"]))
    names = list(dict.fromkeys(table["series"]))
    middle = {name: part["model"].iloc[len(part) // 2] for name, part in table.groupby("series", sort=False)}
    styles = model_styles(list(middle.values()))
    colours = {name: styles[model].colour for name, model in middle.items()}
    figure, grid = plt.subplots(
        1, len(panels), figsize=(1.8 + 4.6 * len(panels), 3.9), squeeze=False, sharex=True, layout="constrained"
    )
    for axes, panel in zip(grid.flat, panels, strict=True):
        for k, name in enumerate(names):
            part = table[(table["panel"] == panel) & (table["series"] == name)].sort_values("x")
            part = part.assign(x=_beside(part["x"], k - (len(names) - 1) / 2, table["x"], log))
            around = np.abs(part[["low", "high"]].sub(part["mean"], axis=0).to_numpy().T)
            axes.errorbar(
                part["x"], part["mean"], np.nan_to_num(around), color=colours[name], marker=_MARKERS[k % 6], ms=6,
                mec="0.2", mew=0.5, capsize=3, lw=1.8, label=name.replace("\n", " "),
            )  # fmt: skip
        for text, height in (lines or {}).items():
            axes.axhline(height, color="0.45", lw=1, ls="--")
            axes.annotate(text, (1, height), (4, 0), xycoords=("axes fraction", "data"), textcoords="offset points",
                          va="center", fontsize=8.5, color="0.35")  # fmt: skip
        if log:
            axes.set_xscale("log")
            axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            axes.xaxis.set_minor_locator(NullLocator())
        bottom, top = axes.get_ylim()
        axes.set_ylim(max(bottom, -0.02), min(top, 1.02))  # intervals may pass what a Dice can be
        axes.set_title(panel, fontsize=11)
        axes.set_xlabel(setting)
    grid[0, 0].set_ylabel(say("Dice"))
    grid[0, 0].legend(frameon=False, fontsize=9.5)
    return figure
