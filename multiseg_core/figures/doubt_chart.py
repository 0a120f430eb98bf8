"""The chart of doubts: what part of the errors lies among the most uncertain voxels."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..statistics.doubts import CHECKED, errors_found
from .kinds import figure_kind
from .spanish import say
from .style import drawn_name, model_styles, plain

SHOWN = (0.001, 1.0)
"""Parts of the voxels that the axis shows: most errors lie among the first few percent."""


def _reading(table: pd.DataFrame) -> str:
    parts = []
    for (scenario, model), curve in table.groupby(["scenario", "model"], sort=False):
        found = np.interp(CHECKED, curve["looked_at"], curve["found"])
        parts.append(f"{scenario} {plain(str(model))} {found:.0%}")
    return f"Errors among the {CHECKED:.0%} most uncertain voxels: " + ", ".join(parts) + "."


@figure_kind(
    "errors_found",
    "Part of the wrong voxels that somebody finds who looks at the most uncertain ones first, all test cases together. "
    "The higher, the better; dotted: by chance; the vertical line: one voxel in twenty.",
    _reading,
)
def errors_found_figure(counts: pd.DataFrame) -> tuple[Figure, pd.DataFrame] | None:
    """Draw `statistics.doubts.errors_found`, a panel per scenario. None where no model is ever wrong.

    Parameters
    ----------
    counts
        Rows of `statistics.doubts.count_doubts` with ``scenario`` and ``model``.
    """
    table = errors_found(counts)
    scenarios = list(table["scenario"].unique())
    if not scenarios:
        return None
    models = list(table["model"].unique())
    styles = model_styles(models)
    figure, (line,) = plt.subplots(
        1, len(scenarios), squeeze=False, sharey=True, figsize=(1.6 + 3.6 * len(scenarios), 4.2), layout="constrained"
    )
    chance = np.geomspace(*SHOWN, 50)
    for axes, scenario in zip(line, scenarios, strict=True):
        axes.plot(chance, chance, ":", color="0.5", lw=1)
        axes.axvline(CHECKED, color="0.7", lw=1)
        for model, curve in table[table["scenario"] == scenario].groupby("model", sort=False):
            axes.plot(curve["looked_at"], curve["found"], color=styles[str(model)].colour, lw=1.8)
        axes.set(xscale="log", xlim=SHOWN, ylim=(0, 1.02), xlabel=say("part of the voxels looked at"))
        axes.set_title(str(scenario).replace("_", " "), fontsize=10)
        axes.grid(axis="both")
    line[0].set_ylabel(say("part of the errors found"))
    handles = [Line2D([], [], color=styles[m].colour, lw=1.8, label=drawn_name(m).replace("\n", " ")) for m in models]
    figure.legend(handles=handles, loc="outside lower center", ncols=min(3, len(models)), fontsize=9, frameon=False)
    return figure, table
