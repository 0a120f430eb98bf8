"""The chart of the arms: how far each model is from a reference, on every endpoint."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from .kinds import figure_kind
from .language import say
from .names import endpoint_title, model_title, plain, short_scenario
from .style import model_styles


def _reading(table: pd.DataFrame) -> str:
    parts = []
    known = table[table["difference"].notna()].reset_index()
    for (scenario, endpoint), part in known.groupby(["scenario", "endpoint"], sort=False):
        best = part.loc[part["difference"].idxmax()]
        parts.append(
            f"{short_scenario(str(scenario))}, {endpoint}: best {plain(str(best['model']))} {best['difference']:+.3f}"
        )
    return "; ".join(parts) + "."


FAR = 4.0
"""A difference so many times the median one is far: an arrow with its value at the edge."""


@figure_kind("arms", _reading)
def arms_figure(table: pd.DataFrame, reference: str) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the differences of `report.arms.arm_table` from one reference: a panel per scenario and endpoint.

    Parameters
    ----------
    table
        From `arm_table`.
    reference
        One of `report.arms.AGAINST`. None is returned where no scenario has it.
    """
    if reference not in table or not table[reference].notna().any():
        return None
    shown = table[table[reference].notna()]
    shown = pd.DataFrame(
        {
            "difference": shown[reference], "low": shown[f"{reference} low"], "high": shown[f"{reference} high"],
            "dice": shown["dice"],
        }
    )  # fmt: skip
    places = list(dict.fromkeys(zip(*(shown.index.get_level_values(k) for k in ("scenario", "endpoint")), strict=True)))
    scenarios = list(dict.fromkeys(scenario for scenario, _ in places))
    columns = max(sum(s == scenario for s, _ in places) for scenario in scenarios)
    heights = [shown.xs(s, level="scenario").index.get_level_values("model").nunique() for s in scenarios]
    figure, grid = plt.subplots(
        len(scenarios), columns, squeeze=False, height_ratios=[h + 1 for h in heights],
        figsize=(3.6 + 3.4 * columns, 0.9 + 0.3 * sum(heights) + 0.75 * len(heights)),
        layout=ConstrainedLayoutEngine(h_pad=0.12),  # titles keep away from the numbers above
    )  # fmt: skip
    for line, scenario in zip(grid, scenarios, strict=True):
        found = [endpoint for s, endpoint in places if s == scenario]
        models = list(dict.fromkeys(shown.xs(scenario, level="scenario").index.get_level_values("model")))
        styles = model_styles(models)
        for axes in line[len(found) :]:
            axes.set_axis_off()
        for axes, endpoint in zip(line, found, strict=False):
            part = shown.xs((scenario, endpoint), level=("scenario", "endpoint"))
            reach = max(0.06, FAR * float(part["difference"].abs().median()))
            for y, model in enumerate(models):
                if model not in part.index:
                    continue
                row, style = part.loc[model], styles[model]
                if abs(row["difference"]) > reach:  # far beside the others: an arrow, or these would be one point
                    side = np.sign(row["difference"])
                    axes.plot(
                        side * 0.96 * reach, y, ">" if side > 0 else "<", color=style.colour, mec="0.2", mew=0.5, ms=7
                    )
                    axes.text(
                        side * 0.9 * reach, y, f"{row['difference']:+.2f}", fontsize=8.5, va="center",
                        ha="right" if side > 0 else "left",
                    )  # fmt: skip
                    continue
                if np.isfinite(row["low"]):
                    axes.plot([row["low"], row["high"]], [y, y], color=style.colour, lw=2)
                axes.plot(row["difference"], y, style.marker, color=style.colour, mec="0.2", mew=0.5, ms=7)
            axes.axvline(0, color="0.4", lw=1)
            axes.set_xlim(-reach, reach)
            axes.xaxis.set_major_locator(MaxNLocator(5))  # labels of narrow panels would run into each other
            names = [model_title(m) for m in models]
            axes.set_yticks(range(len(models)), names if axes is line[0] else [""] * len(models), fontsize=9.5)
            axes.set_ylim(len(models) - 0.5, -0.5)
            axes.grid(axis="x")
            place = f"{short_scenario(scenario)}\n" if len(scenarios) > 1 and axes is line[0] else ""
            axes.set_title(f"{place}{endpoint_title(str(endpoint))}", fontsize=10)
    for axes in grid[-1]:
        axes.set_xlabel(say("difference of Dice"), fontsize=10)
    return figure, shown.reset_index()
