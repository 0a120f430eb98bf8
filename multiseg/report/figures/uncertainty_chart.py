"""The chart of uncertainty: what part of the errors lies among the most uncertain voxels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...study.uncertainty import CHECKED, errors_found
from .kinds import figure_kind
from .language import say
from .names import short_scenario
from .style import drawn_name, model_styles, plain

COLUMNS = 3
"""Panels side by side."""

SHOWN = (0.001, 1.0)
"""Parts of the voxels that the axis shows: most errors lie among the first few percent."""


def _reading(table: pd.DataFrame) -> str:
    parts = []
    for (scenario, model), curve in table.groupby(["scenario", "model"], sort=False):
        found = np.interp(CHECKED, curve["looked_at"], curve["found"])
        parts.append(f"{scenario} {plain(str(model))} {found:.0%}")
    return f"Errors among the {CHECKED:.0%} most uncertain voxels: " + ", ".join(parts) + "."


@figure_kind("errors_found", _reading)
def errors_found_figure(counts: pd.DataFrame) -> tuple[Figure, pd.DataFrame] | None:
    """Draw `study.uncertainty.errors_found`, a panel per scenario. None where no model is ever wrong.

    Parameters
    ----------
    counts
        Rows of `study.uncertainty.count_by_uncertainty` with ``scenario`` and ``model``.
    """
    table = errors_found(counts)
    scenarios = list(table["scenario"].unique())
    if not scenarios:
        return None
    models = list(table["model"].unique())
    styles = model_styles(models)
    columns = min(COLUMNS, len(scenarios))
    rows = -(-len(scenarios) // columns)
    figure, grid = plt.subplots(
        rows, columns, squeeze=False, sharex=True, sharey=True, figsize=(1.6 + 3.6 * columns, 1 + 3.2 * rows),
        layout="constrained",
    )  # fmt: skip
    chance = np.geomspace(*SHOWN, 50)
    for axes in grid.flat[len(scenarios) :]:
        axes.set_axis_off()
    for axes, scenario in zip(grid.flat, scenarios, strict=False):
        axes.plot(chance, chance, ":", color="0.5", lw=1)
        axes.axvline(CHECKED, color="0.7", lw=1)
        for model, curve in table[table["scenario"] == scenario].groupby("model", sort=False):
            axes.plot(curve["looked_at"], curve["found"], color=styles[str(model)].colour, lw=1.8)
        axes.set(xscale="log", xlim=SHOWN, ylim=(0, 1.02))
        axes.set_title(short_scenario(str(scenario)), fontsize=10)
        axes.grid(axis="both")
    for axes in grid[:, 0]:
        axes.set_ylabel(say("part of the errors found"))
    for axes in grid.flat[max(0, len(scenarios) - columns) : len(scenarios)]:  # nothing stands below these
        axes.set_xlabel(say("part of the voxels looked at"))
        axes.tick_params(labelbottom=True)
    handles = [Line2D([], [], color=styles[m].colour, lw=1.8, label=drawn_name(m).replace("\n", " ")) for m in models]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(models)), fontsize=9, frameon=False)
    return figure, table
