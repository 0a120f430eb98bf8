"""What a Dice looks like: the worst, the median and the best case of a label, with errors, in three planes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ...data.store import StoredCase
from .kinds import figure_kind
from .language import say
from .names import label_title, model_title, plain
from .overlays import ERROR_COLOURS, ERROR_NAMES, INVENTED, MISSED, RIGHT, Overlay, error_map, show

ERROR_OPACITIES = [0.5 if kind == RIGHT else 0.9 for kind in ERROR_COLOURS]

PLANES = ("sagittal", "coronal", "axial")
"""By the axis of the volume that they cut."""


class RankedCase(NamedTuple):
    """A test case and what a model makes of it."""

    rank: str
    """``worst``, ``median`` or ``best``."""
    case: StoredCase
    prediction: np.ndarray
    dice: float
    uncertainty: np.ndarray | None = None
    """How uncertain the model is of each voxel, 0 to 1, if that is known."""


def telling_slices(errors: np.ndarray) -> tuple[int, int, int]:
    """Return the slice along each axis that shows most errors; most of the label if there is none; else the middle."""
    shown = errors > RIGHT if (errors > RIGHT).any() else errors > 0
    if not shown.any():
        return errors.shape[0] // 2, errors.shape[1] // 2, errors.shape[2] // 2
    x, y, z = (int(shown.sum(axis=tuple({0, 1, 2} - {axis})).argmax()) for axis in range(3))
    return x, y, z


def show_uncertainty(axes: Axes, case: StoredCase, uncertainty: np.ndarray, at: int) -> None:
    """Draw the uncertainty of an axial slice, 0 to 1, placed as `overlays.show` places the image."""
    wide, tall = (n * size for n, size in zip(uncertainty.shape[:2], case.spacing_mm, strict=False))
    axes.imshow(uncertainty[:, :, at].T, origin="lower", cmap="inferno", vmin=0, vmax=1, extent=(0, wide, 0, tall))


def _errors(table: pd.DataFrame) -> str:
    parts = [
        f"{row.rank}: case {row.case}, Dice {row.dice:.3f}, {row.missed} voxels missed, {row.invented} invented"
        for row in table.itertuples()
    ]
    return f"{plain(str(table['model'].iloc[0]))}. {'; '.join(parts)}."


@figure_kind("cases", _errors)
def case_panel(
    ranked: Sequence[RankedCase], labels: Sequence[str], label: str, modality: str, model: str
) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the errors of a model on some cases: a row per case, a column per plane. None without cases.

    Parameters
    ----------
    ranked
        The cases.
    labels, label
        Foreground labels of the predictions, and the one that is looked at.
    modality
        The image to show.
    model
        Whose predictions they are.
    """
    if not ranked:
        return None
    columns = 4 if any(row.uncertainty is not None for row in ranked) else 3
    figure, grid = plt.subplots(
        len(ranked), columns, figsize=(2.9 * columns, 0.5 + 3.0 * len(ranked)), squeeze=False, layout="constrained"
    )
    rows = []
    for line, (rank, case, prediction, dice, uncertainty) in zip(grid, ranked, strict=True):
        errors = error_map(case, prediction, labels, label)
        painted = Overlay(errors, [to_rgb(c) for c in ERROR_COLOURS.values()])
        places = telling_slices(errors)
        for axes, axis in zip(line[:3], (2, 1, 0), strict=True):
            show(axes, case, modality, painted, axis, places[axis], ERROR_OPACITIES)
            axes.set_title(say(PLANES[axis]), fontsize=9.5)
        for axes in line[3:]:
            if uncertainty is not None:
                show_uncertainty(axes, case, uncertainty, places[2])
                axes.set_title(say("uncertainty"), fontsize=9.5)
            axes.set_axis_off()
        line[0].set_title(f"{say(rank)}: {case.name}, {say('Dice')} {dice:.2f}\n{say(PLANES[2])}", fontsize=9.5)
        rows.append(
            {
                "model": model, "label": label, "rank": rank, "case": case.name, "dice": dice,
                **dict(zip("xyz", places, strict=True)), "right": int((errors == RIGHT).sum()),
                "missed": int((errors == MISSED).sum()), "invented": int((errors == INVENTED).sum()),
            }
        )  # fmt: skip
    figure.suptitle(f"{label_title(label)}: {model_title(model)}", fontsize=11, fontweight="bold")
    handles = [Patch(color=colour, label=say(ERROR_NAMES[k])) for k, colour in ERROR_COLOURS.items()]
    figure.legend(handles=handles, loc="outside lower center", ncol=3, frameon=False, fontsize=9.5)
    return figure, pd.DataFrame(rows)
