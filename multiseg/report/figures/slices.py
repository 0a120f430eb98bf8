"""Axial slices: images, labels painted over them, and panels of predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from multiseg_core.labels import is_relevant
from multiseg_core.samplers import PatchSampler

from ...data.store import StoredCase
from . import overlays
from .kinds import figure_kind, listed, names_of
from .language import say
from .style import LABEL_NAMES, OR, drawn_name, label_colours


def best_slice(case: StoredCase, labels: Sequence[str]) -> int:
    """Return the axial slice that shows most: the most of the rarest drawn label near the middle of the brain."""
    target = np.asarray(case.target)
    drawn = [p for p, members in enumerate(case.sets) if len(members) == 1 and members <= set(labels)]
    counts = {p: (target == p).sum(axis=(0, 1)) for p in drawn}
    counts = {p: c for p, c in counts.items() if c.any()}
    mask = np.asarray(case.mask).sum(axis=(0, 1)).astype(float)
    middle = mask > 0.6 * mask.max()
    if not counts:
        return int(mask.argmax())
    rarest = min(counts.values(), key=lambda c: c.sum())
    # a slice of the middle of the brain with a fair share of every label
    variety = sum(np.sqrt(c / c.max()) for c in counts.values())
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
    if not labels:
        return
    handles = [Patch(color=c, label=drawn_name(label, LABEL_NAMES)) for label, c in label_colours(labels).items()]
    figure.legend(handles=handles, loc="outside lower center", ncol=len(handles), frameon=False)


def _panel(table: pd.DataFrame) -> str:
    voxels = table.groupby("panel", sort=False)["voxels"].sum()
    return f"Case {table['case'].iloc[0]}. Labelled voxels: {listed(voxels, 'd')}."


@figure_kind("panel", _panel, thesis=(18, 21, 25, 28, 31, 36))
def prediction_panel(
    case: StoredCase, predictions: Mapping[str, np.ndarray], labels: Sequence[str], modality: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw one axial slice: image, ground truth and the prediction of every model (figures 18, 21, 25, 28, 31, 36).

    Parameters
    ----------
    case
        A stored case.
    predictions
        Model -> (X, Y, Z) class numbers.
    labels
        Foreground labels of the predictions.
    modality
        The image to show.
    """
    z = best_slice(case, labels)
    labels = [*labels, *(name for name in drawn_sets(case, labels) if name not in labels)]
    panels: dict[str, np.ndarray | None] = {
        modality: None,
        "ground truth": overlays.truth(case, labels).numbers,
        **predictions,
    }
    columns = len(panels) if len(panels) <= 5 else 4
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(2.9 * columns, 3.5 * lines), squeeze=False, layout="constrained"
    )
    for axes in grid.flat:
        axes.set_axis_off()
    rows = []
    for axes, (name, overlay) in zip(grid.flat, panels.items(), strict=False):
        title = name if overlay is None else say(name) if name == "ground truth" else drawn_name(name)
        show_slice(axes, case, modality, z, overlay, labels, title)
        if overlay is not None:
            for k, label in enumerate(labels, start=1):
                rows.append(
                    {
                        "case": case.name,
                        "slice": z,
                        "panel": name,
                        "label": label,
                        "voxels": (overlay[:, :, z] == k).sum(),
                    }
                )
    label_legend(figure, labels)
    return figure, pd.DataFrame(rows)


def _naive(table: pd.DataFrame) -> str:
    parts = []
    for cohort, part in table.groupby("cohort", sort=False):
        names = [
            names_of(part.loc[part[column] > 0, "label"].tolist()) for column in ("voxels_true", "voxels_predicted")
        ]
        parts.append(f"{cohort}: the cohort draws {names[0]}, the model {names[1]}")
    return "; ".join(parts) + "."


@figure_kind("naive", _naive, thesis=(None, None, None, None, 32, 37))
def naive_panel(
    cases: Sequence[StoredCase], predictions: Sequence[np.ndarray], labels: Sequence[str], modality: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw a model's prediction on a validation case of each training cohort beside what the cohort draws (32, 37)."""
    figure, grid = plt.subplots(len(cases), 3, figsize=(8.7, 3.6 * len(cases)), squeeze=False, layout="constrained")
    rows = []
    coarse = [name for case in cases for name in drawn_sets(case, labels) if name not in labels]
    labels = [*labels, *dict.fromkeys(coarse)]
    for line, case, prediction in zip(grid, cases, predictions, strict=True):
        z = best_slice(case, labels)
        truth = overlays.truth(case, labels).numbers
        show_slice(line[0], case, modality, z, None, labels, f"{case.cohort}: {modality}")
        show_slice(line[1], case, modality, z, truth, labels, say("labels of the cohort"))
        show_slice(line[2], case, modality, z, prediction, labels, say("naive model"))
        for k, label in enumerate(labels, start=1):
            rows.append(
                {
                    "cohort": case.cohort, "case": case.name, "slice": z, "label": label,
                    "voxels_true": (truth[:, :, z] == k).sum(), "voxels_predicted": (prediction[:, :, z] == k).sum(),
                }
            )  # fmt: skip
    label_legend(figure, labels)
    return figure, pd.DataFrame(rows)


def _patches(table: pd.DataFrame) -> str:
    aims = [f"{cohort}, aimed at {aim}" for cohort, aim in zip(table["cohort"], table["aimed at"], strict=True)]
    return f"From the left: {'; '.join(aims)}."


@figure_kind("patches", _patches)
def patch_draws(sampler: PatchSampler, step: int, classes: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Draw the patches of one training step: above the last modality, below what the loss is told of every voxel.

    Parameters
    ----------
    sampler
        Of a network.
    step
        Which batch.
    classes
        Names of the network's label sets by row number, background first.
    """
    draws = sampler.draw(step)
    figure, grid = plt.subplots(2, len(draws), figsize=(1.7 * len(draws), 3.6), squeeze=False, layout="constrained")
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
