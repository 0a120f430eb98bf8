"""Slices of cases: labels painted over axial ones, panels of predictions, and errors in three planes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from multiseg_core.labels import is_relevant
from multiseg_core.samplers import PatchSampler

from ...data.store import StoredCase
from . import overlays
from .kinds import figure_kind, listed, names_of
from .language import say
from .names import OR, drawn_name, label_title, model_title, plain
from .style import label_colours, legend_below, panels, wrapped


def best_slice(case: StoredCase, labels: Sequence[str]) -> int:
    """Return the axial slice that shows most: the most of the rarest drawn label near the middle of the brain."""
    target = np.asarray(case.target)
    drawn = [p for p, members in enumerate(case.sets) if len(members) == 1 and members <= set(labels)]
    counts = [c for p in drawn if (c := (target == p).sum(axis=(0, 1))).any()]
    mask = np.asarray(case.mask).sum(axis=(0, 1)).astype(float)
    middle = mask > 0.6 * mask.max()
    if not counts:
        return int(mask.argmax())
    rarest = min(counts, key=lambda c: c.sum())
    # a slice of the middle of the brain with a fair share of every label
    variety = sum(np.sqrt(c / c.max()) for c in counts)
    return int(np.argmax((variety + rarest / rarest.max()) * middle))


def drawn_sets(case: StoredCase, labels: Sequence[str]) -> list[str]:
    """Return what the cohort of a case draws: labels in their order, then coarse sets such as ``a or b``."""
    relevant = sorted((members for members in case.sets if is_relevant(members)), key=len)
    names = [OR.join(label for label in labels if label in members) for members in relevant if members <= set(labels)]
    return sorted(names, key=lambda name: [name not in labels, *(list(labels).index(n) for n in name.split(OR))])


def show_slice(
    axes: Axes, case: StoredCase, modality: str, z: int, numbers: np.ndarray | None, labels: Sequence[str], title: str
) -> None:
    """Draw an axial slice of a case with class numbers (X, Y, Z) painted over it."""
    overlays.show(axes, case, modality, None if numbers is None else overlays.predicted(numbers, labels), 2, z)
    axes.set_title(title, fontsize=10)


def label_legend(figure: Figure, labels: Sequence[str]) -> None:
    """Add a legend of label colours below a figure with constrained layout; none without labels."""
    legend_below(figure, [Patch(color=c, label=label_title(label)) for label, c in label_colours(labels).items()])


def painted_voxels(numbers: np.ndarray, labels: Sequence[str], z: int) -> dict[str, int]:
    """Return how many voxels of an axial slice of class numbers (X, Y, Z) each label has."""
    return {label: int((numbers[:, :, z] == k).sum()) for k, label in enumerate(labels, start=1)}


def _panel(table: pd.DataFrame) -> str:
    voxels = table.groupby("panel", sort=False)["voxels"].sum()
    return f"Case {table['case'].iloc[0]}. Labelled voxels: {listed(voxels, 'd')}."


@figure_kind("panel", _panel, thesis=(18, 21, 25, 28, 31, 36))
def prediction_panel(
    case: StoredCase, predictions: Mapping[str, np.ndarray], labels: Sequence[str], modality: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw one axial slice: image, ground truth and the prediction of every model (figures 18, 21, 25, 28, 31, 36).

    `predictions` maps models to (X, Y, Z) class numbers, whose foreground labels are `labels`.
    """
    z = best_slice(case, labels)
    labels = [*labels, *(name for name in drawn_sets(case, labels) if name not in labels)]
    truth = overlays.truth(case, labels).numbers
    shown: dict[str, np.ndarray | None] = {modality: None, "ground truth": truth, **predictions}
    figure, grid = wrapped(len(shown), 5 if len(shown) <= 5 else 4, 2.9, 3.5)
    rows = []
    for axes, (name, numbers) in zip(grid.flat, shown.items(), strict=False):
        title = name if numbers is None else say(name) if name == "ground truth" else drawn_name(name)
        show_slice(axes, case, modality, z, numbers, labels, title)
        for label, n in ({} if numbers is None else painted_voxels(numbers, labels, z)).items():
            rows.append({"case": case.name, "slice": z, "panel": name, "label": label, "voxels": n})
    label_legend(figure, labels)
    return figure, pd.DataFrame(rows)


def _naive(table: pd.DataFrame) -> str:
    parts = []
    for cohort, part in table.groupby("cohort", sort=False):
        true, predicted = (names_of(part.loc[part[f"voxels_{k}"] > 0, "label"].tolist()) for k in ("true", "predicted"))
        parts.append(f"{cohort}: the cohort draws {true}, the model {predicted}")
    return "; ".join(parts) + "."


@figure_kind("naive", _naive, thesis=(None, None, None, None, 32, 37))
def naive_panel(
    cases: Sequence[StoredCase], predictions: Sequence[np.ndarray], labels: Sequence[str], modality: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw a model's prediction on a validation case of each training cohort beside what the cohort draws (32, 37)."""
    figure, grid = panels(len(cases), 3, 2.9, 3.6)
    labels = [*labels, *dict.fromkeys(n for case in cases for n in drawn_sets(case, labels) if n not in labels)]
    rows = []
    for line, case, prediction in zip(grid, cases, predictions, strict=True):
        z = best_slice(case, labels)
        truth = overlays.truth(case, labels).numbers
        show_slice(line[0], case, modality, z, None, labels, f"{case.cohort}: {modality}")
        show_slice(line[1], case, modality, z, truth, labels, say("labels of the cohort"))
        show_slice(line[2], case, modality, z, prediction, labels, say("naive model"))
        predicted = painted_voxels(prediction, labels, z)
        for label, n in painted_voxels(truth, labels, z).items():
            place = {"cohort": case.cohort, "case": case.name, "slice": z, "label": label}
            rows.append(place | {"voxels_true": n, "voxels_predicted": predicted[label]})
    label_legend(figure, labels)
    return figure, pd.DataFrame(rows)


def _patches(table: pd.DataFrame) -> str:
    aims = [f"{cohort}, aimed at {aim}" for cohort, aim in zip(table["cohort"], table["aimed at"], strict=True)]
    return f"From the left: {'; '.join(aims)}."


@figure_kind("patches", _patches)
def patch_draws(sampler: PatchSampler, step: int, classes: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Draw the patches of one training step: above the last modality, below what the loss is told of every voxel.

    `classes` are the names of the network's label sets by row number, background first.
    """
    draws = sampler.draw(step)
    figure, grid = panels(2, len(draws), 1.7, 1.8)
    colours = ListedColormap([(0, 0, 0), *(to_rgba(c) for c in label_colours(classes[1:]).values())])
    rows = []
    for column, draw in zip(grid.T, draws, strict=True):
        image, target = sampler.patch(draw)
        z = draw.voxel[2] - draw.corner[2]
        case = sampler.cohorts[draw.cohort].cases[draw.case]
        column[0].imshow(image[-1, :, :, z].T, origin="lower", cmap="gray")
        column[1].imshow(target[:, :, z].T, origin="lower", cmap=colours, vmin=-0.5, vmax=len(classes) - 0.5)
        column[0].set_title(case.cohort, fontsize=8)
        for axes in column:
            axes.set_axis_off()
        aimed = classes[int(sampler.cohorts[draw.cohort].lookup[draw.label])]
        rows.append({"cohort": case.cohort, "case": case.name, "aimed at": aimed, "corner": draw.corner})
    label_legend(figure, classes[1:])
    return figure, pd.DataFrame(rows)


# -- errors in three planes ----------------------------------------------------------------------------------------

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


def telling_slices(errors: np.ndarray) -> tuple[int, ...]:
    """Return the slice along each axis that shows most errors; most of the label if there is none; else the middle."""
    shown = errors > overlays.RIGHT if (errors > overlays.RIGHT).any() else errors > 0
    if not shown.any():
        return tuple(n // 2 for n in errors.shape)
    return tuple(int(shown.sum(axis=others).argmax()) for others in ((1, 2), (0, 2), (0, 1)))


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

    `labels` are the foreground labels of the predictions, and `label` the one that is looked at.
    """
    if not ranked:
        return None
    columns = 4 if any(row.uncertainty is not None for row in ranked) else 3
    figure, grid = panels(len(ranked), columns, 2.9, 3.0, margin=(0, 0.5))
    rows = []
    for line, (rank, case, prediction, dice, uncertainty) in zip(grid, ranked, strict=True):
        errors = overlays.error_map(case, prediction, labels, label)
        overlay = overlays.Overlay(errors, [to_rgb(c) for c in overlays.ERROR_COLOURS.values()])
        places = telling_slices(errors)
        for axes, axis in zip(line[:3], (2, 1, 0), strict=True):
            overlays.show(axes, case, modality, overlay, axis, places[axis], (0.5, 0.9, 0.9))
            axes.set_title(say(PLANES[axis]), fontsize=9.5)
        for axes in line[3:]:
            if uncertainty is not None:
                extent = overlays.extent_mm(case.shape, case.spacing_mm, 2)
                axes.imshow(
                    uncertainty[:, :, places[2]].T, origin="lower", cmap="inferno", vmin=0, vmax=1, extent=extent
                )
                axes.set_title(say("uncertainty"), fontsize=9.5)
            axes.set_axis_off()
        line[0].set_title(f"{say(rank)}: {case.name}, {say('Dice')} {dice:.2f}\n{say(PLANES[2])}", fontsize=9.5)
        row = {"model": model, "label": label, "rank": rank, "case": case.name, "dice": dice}
        counts = np.bincount(errors.ravel(), minlength=4)[overlays.RIGHT :].tolist()
        rows.append(row | dict(zip((*"xyz", "right", "missed", "invented"), (*places, *counts), strict=True)))
    figure.suptitle(f"{label_title(label)}: {model_title(model)}", fontsize=11, fontweight="bold")
    handles = [Patch(color=colour, label=say(overlays.ERROR_NAMES[k])) for k, colour in overlays.ERROR_COLOURS.items()]
    legend_below(figure, handles, size=9.5)
    return figure, pd.DataFrame(rows)
