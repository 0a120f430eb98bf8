"""The figures of the study, named after the thesis's. Each is drawn from a table that is saved beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .files import atomic_path
from .labels import BACKGROUND, IGNORE, LabelSet
from .store import StoredCase

LABEL_COLOURS: Mapping[str, str] = {
    "csf": "#2ca02c", "gm": "#1f5fd0", "wm": "#f2d32b", "wmh": "#e0201b", "oedema": "#e0201b", "tumour": "#2ca02c",
}  # fmt: skip
"""The thesis's colours of labels."""

MODEL_COLOURS: Mapping[str, str] = {
    "multi_unet": "#0072B2", "cross_entropy": "#D55E00", "selective_cross_entropy": "#009E73", "dice": "#CC79A7",
    "selective_dice": "#E69F00", "patchwise_selective_cross_entropy": "#56B4E9",
    "selective_cross_entropy_uniform": "#F0E442", "pseudo_labels": "#999999", "oracle": "#444444",
}  # fmt: skip
"""Colours of models that colour-blind readers can tell apart (Okabe and Ito)."""

MODEL_NAMES: Mapping[str, str] = {
    "multi_unet": "MultiUNet", "cross_entropy": "Cross-entropy\n(naive)",
    "selective_cross_entropy": "Selective\ncross-entropy", "dice": "Dice", "selective_dice": "Selective\nDice",
    "patchwise_selective_cross_entropy": "Patch-wise\nselective CE",
    "selective_cross_entropy_uniform": "Selective CE,\nuniform patches",
    "pseudo_labels": "Pseudo-labels", "oracle": "Oracle",
}  # fmt: skip
"""Names of models in figures."""

LABEL_NAMES: Mapping[str, str] = {
    "csf": "CSF", "gm": "GM", "wm": "WM", "wmh": "WMH", "oedema": "Oedema", "tumour": "Tumour",
}  # fmt: skip
"""Names of labels in figures."""


def use_style() -> None:
    """Set the look of all figures."""
    sns.set_theme(style="whitegrid", context="notebook", palette="colorblind")
    plt.rcParams.update({"figure.dpi": 110, "savefig.dpi": 110, "savefig.bbox": "tight", "axes.grid.axis": "y"})


def save(figure: Figure, table: pd.DataFrame, folder: Path, name: str) -> None:
    """Write ``name.png`` and ``name.csv``, the table that the figure was drawn from. Equal figures are equal files."""
    with atomic_path(folder / f"{name}.png") as part:
        figure.savefig(part, format="png", metadata={"Software": None})
    with atomic_path(folder / f"{name}.csv") as part:
        table.to_csv(part, index=False)


def label_colours(labels: Sequence[str]) -> dict[str, str]:
    """Return a colour for each label; those that the thesis would give one colour twice, or none, get others."""
    spare = iter(["#9b30c9", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f", "#bcbd22"] * 4)
    colours: dict[str, str] = {}
    for label in labels:
        colour = LABEL_COLOURS.get(label)
        colours[label] = colour if colour and colour not in colours.values() else next(spare)
    return colours


def pretty(name: str, names: Mapping[str, str]) -> str:
    """Return the display name of a model or label."""
    return names.get(name, name.replace("_", " "))


# -- slices --------------------------------------------------------------------------------------------------------


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


def target_overlay(case: StoredCase, labels: Sequence[str], z: int) -> np.ndarray:
    """Return the drawn labels of an axial slice as class numbers (k for ``labels[k - 1]``), 0 elsewhere."""
    table = np.zeros(len(case.sets), dtype=np.uint8)
    for position, members in enumerate(case.sets):
        if BACKGROUND not in members and next(iter(sorted(members))) in labels:
            table[position] = 1 + list(labels).index(sorted(members)[0])
    return table[case.target[:, :, z]]


def show_slice(
    axes: Axes,
    case: StoredCase,
    modality: str,
    z: int,
    overlay: np.ndarray | None,
    labels: Sequence[str],
    title: str,
) -> None:
    """Draw an axial slice of a case, neurological orientation, with class numbers (X, Y) painted over it."""
    image = case.images[case.modalities.index(modality), :, :, z]
    inside = np.asarray(case.mask[:, :, z])
    low, high = np.percentile(image[inside], [1, 99.5]) if inside.any() else (0, 1)
    extent = (0, image.shape[0] * case.spacing_mm[0], 0, image.shape[1] * case.spacing_mm[1])
    darkest = low - 0.2 * (high - low)
    shown = np.where(inside, image, darkest)  # black outside the brain, whatever lies inside
    axes.imshow(shown.T, origin="lower", cmap="gray", vmin=darkest, vmax=high, extent=extent)
    if overlay is not None:
        colours = [(0, 0, 0, 0), *(to_rgba(c, 0.6) for c in label_colours(labels).values())]
        axes.imshow(
            overlay.T, origin="lower", cmap=ListedColormap(colours), vmin=-0.5, vmax=len(colours) - 0.5,
            interpolation="nearest", extent=extent,
        )  # fmt: skip
    axes.set_title(title, fontsize=10)
    axes.set_axis_off()


def label_legend(figure: Figure, labels: Sequence[str]) -> None:
    """Add a legend of label colours below a figure."""
    handles = [Patch(color=c, label=pretty(label, LABEL_NAMES)) for label, c in label_colours(labels).items()]
    figure.legend(handles=handles, loc="lower center", ncol=len(handles), frameon=False, bbox_to_anchor=(0.5, -0.04))


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
    panels: dict[str, np.ndarray | None] = {
        modality: None,
        "ground truth": target_overlay(case, labels, z),
        **{model: p[:, :, z] for model, p in predictions.items()},
    }
    columns = min(4, len(panels))
    lines = -(-len(panels) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(2.9 * columns, 3.5 * lines), squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    rows = []
    for axes, (name, overlay) in zip(grid.flat, panels.items(), strict=False):
        show_slice(axes, case, modality, z, overlay, labels, pretty(name, MODEL_NAMES))
        if overlay is not None:
            for k, label in enumerate(labels, start=1):
                rows.append(
                    {"case": case.name, "slice": z, "panel": name, "label": label, "voxels": (overlay == k).sum()}
                )
    label_legend(figure, labels)
    figure.tight_layout()
    return figure, pd.DataFrame(rows)


def naive_panel(
    cases: Sequence[StoredCase], predictions: Sequence[np.ndarray], labels: Sequence[str], modality: str
) -> tuple[Figure, pd.DataFrame]:
    """Draw a model's prediction on a validation case of each training cohort beside what the cohort draws (32, 37)."""
    figure, grid = plt.subplots(len(cases), 3, figsize=(8.7, 3.6 * len(cases)), squeeze=False)
    rows = []
    for line, case, prediction in zip(grid, cases, predictions, strict=True):
        z = best_slice(case, labels)
        truth = target_overlay(case, labels, z)
        show_slice(line[0], case, modality, z, None, labels, f"{case.cohort}: {modality}")
        show_slice(line[1], case, modality, z, truth, labels, "labels of the cohort")
        show_slice(line[2], case, modality, z, prediction[:, :, z], labels, "naive model")
        for k, label in enumerate(labels, start=1):
            rows.append(
                {
                    "cohort": case.cohort, "case": case.name, "slice": z, "label": label,
                    "voxels_true": (truth == k).sum(), "voxels_predicted": (prediction[:, :, z] == k).sum(),
                }
            )  # fmt: skip
    label_legend(figure, labels)
    figure.tight_layout()
    return figure, pd.DataFrame(rows)


# -- numbers -------------------------------------------------------------------------------------------------------


def dice_boxes(metrics: pd.DataFrame, labels: Sequence[str]) -> Figure:
    """Draw box plots of Dice per label and model (figures 17, 20, 23, 26, 29, 34). Points are cases."""
    models = list(dict.fromkeys(metrics["model"]))
    figure, axes = plt.subplots(figsize=(2.6 + 1.9 * len(labels), 4.2))
    shared = {"x": "label", "y": "dice", "hue": "model", "order": list(labels), "hue_order": models, "data": metrics}
    palette = model_palette(models)
    sns.boxplot(**shared, palette=palette, fliersize=0, linewidth=1, width=0.8, ax=axes)
    sns.stripplot(**shared, dodge=True, palette=dict.fromkeys(models, "0.25"), size=2.5, legend=False, ax=axes)
    axes.set(ylim=(-0.03, 1.03), xlabel="", ylabel="Dice")
    axes.set_xticks(range(len(labels)), [pretty(label, LABEL_NAMES) for label in labels])
    handles = [Patch(color=palette[m], label=pretty(m, MODEL_NAMES).replace("\n", " ")) for m in models]
    axes.legend(handles=handles, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def model_palette(models: Sequence[str]) -> dict[str, str]:
    """Return a colour for each model."""
    spare = sns.color_palette("colorblind", n_colors=len(models)).as_hex()
    return {model: MODEL_COLOURS.get(model, colour) for model, colour in zip(models, spare, strict=True)}


def significance_axis(tests: pd.DataFrame, summary: pd.Series) -> Figure:
    """Draw the models' means on an axis; bars join models that do not differ significantly (figures 19, 22, 27, ...).

    Parameters
    ----------
    tests
        All pairs of models of one scenario, from `multiseg_core.statistics.thesis_test`.
    summary
        Model -> mean Dice; models without one are left out.
    """
    means = {str(model): float(mean) for model, mean in summary.dropna().items()}
    order = sorted(means, key=lambda model: means[model])
    different = {frozenset(pair) for pair in tests.loc[tests["significant"], ["model_a", "model_b"]].to_numpy()}
    bars = _joined(order, different)
    low, high = min(means.values()), max(means.values())
    room = max(high - low, 0.05)
    figure, axes = plt.subplots(figsize=(8.5, 2.4 + 0.25 * len(bars)))
    palette = model_palette(order)
    # names are spread evenly above the axis, with a line down to the value, so that close means stay readable
    places = np.linspace(low - 0.12 * room, high + 0.12 * room, len(order)) if len(order) > 1 else [low]
    for place, model in zip(places, order, strict=True):
        axes.plot([place, means[model], means[model]], [1.0, 0.45, 0], color=palette[model], lw=1.4)
        axes.plot(means[model], 0, "o", color=palette[model], ms=8, zorder=3)
        axes.text(
            place, 1.05, f"{pretty(model, MODEL_NAMES)}\n{means[model]:.3f}", ha="center", va="bottom", fontsize=9
        )
    for level, (first, last) in enumerate(bars):
        y = -0.3 - 0.28 * level
        pad = 0.008 * room
        axes.plot([means[first] - pad, means[last] + pad], [y, y], color="0.2", lw=5, solid_capstyle="round")
    axes.axhline(0, color="0.4", lw=1)
    axes.set(ylim=(-0.45 - 0.28 * len(bars), 2.1), yticks=[], xlabel="mean Dice over images and labels")
    axes.set_xlim(low - 0.3 * room, high + 0.3 * room)
    axes.set_xticks(
        [tick for tick in axes.get_xticks() if low - 0.3 * room <= tick <= high + 0.3 * room and 0 <= tick <= 1]
    )
    sns.despine(figure, left=True)
    axes.grid(False)
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


def difference_intervals(comparison: pd.DataFrame, value: str = "dice") -> Figure:
    """Draw the mean difference of every pair of models with its interval, a panel per scenario (a forest plot).

    Filled points are pairs whose p value stays below 0.05 after correction; pairs without a common value are left out.

    Parameters
    ----------
    comparison
        From `multiseg_core.case_statistics.paired_comparison`.
    value
        What was compared, for the axis.
    """
    shown = comparison[comparison["difference"].notna()]
    scenarios = list(dict.fromkeys(shown["scenario"]))
    heights = [int((shown["scenario"] == s).sum()) for s in scenarios]
    figure, grid = plt.subplots(
        max(len(scenarios), 1), 1, squeeze=False, sharex=True, height_ratios=heights or None,
        figsize=(8, 1.2 + 0.42 * sum(heights) + 0.5 * len(heights)),
    )  # fmt: skip
    names = {model: pretty(model, MODEL_NAMES).replace("\n", " ") for model in comparison["model_a"].tolist()}
    names |= {model: pretty(model, MODEL_NAMES).replace("\n", " ") for model in comparison["model_b"].tolist()}
    for axes, scenario in zip(grid.flat, scenarios, strict=False):
        part = shown[shown["scenario"] == scenario]
        for y, row in enumerate(part.itertuples()):
            if not np.isnan(row.low):
                axes.plot([row.low, row.high], [y, y], color="0.35", lw=2, solid_capstyle="butt")
            axes.plot(row.difference, y, "o", color="#0072B2", mfc="#0072B2" if row.significant else "white", ms=5)
        axes.axvline(0, color="0.4", lw=1)
        axes.set_yticks(range(len(part)), [f"{names[r.model_a]} − {names[r.model_b]}" for r in part.itertuples()])
        axes.set_ylim(len(part) - 0.5, -0.5)  # the first pair on top
        axes.grid(axis="x")
        if len(scenarios) > 1:
            axes.set_title(pretty(str(scenario), {}), fontsize=10)
    what = f"difference of mean {value.replace('_', ' ')}, 95 % interval"
    grid[-1, 0].set_xlabel(f"{what}\n(filled: p < 0.05 after Holm's correction)")
    figure.tight_layout()
    return figure


def training_curves(history: pd.DataFrame) -> Figure:
    """Draw training and validation loss by step: one panel per model, one line per network and seed.

    Parameters
    ----------
    history
        Rows of the runs' ``history.csv`` with ``model`` and ``seed``.
    """
    models = list(dict.fromkeys(history["model"]))
    figure, grid = plt.subplots(1, len(models), figsize=(2.9 * len(models), 2.9), squeeze=False)
    for axes, model in zip(grid.flat, models, strict=True):
        part = history[history["model"] == model]
        for i, (_, line) in enumerate(part.groupby(["network", "seed"], sort=False)):
            axes.plot(line["step"], line["training_loss"], color="0.6", label="training" if i == 0 else None)
            axes.plot(
                line["step"], line["validation_loss"], color=MODEL_COLOURS.get(model, "C0"),
                label="validation" if i == 0 else None,
            )  # fmt: skip
        axes.set_title(pretty(model, MODEL_NAMES), fontsize=10)
        # the first validations may be far off, as batch normalisation has seen few batches by then
        axes.set(xlabel="step", ylim=(0, 1.3 * part["training_loss"].max()))
        axes.tick_params(labelsize=8)
    grid[0, 0].set_ylabel("loss")
    grid[0, 0].legend(fontsize=8, frameon=False)
    figure.tight_layout()
    return figure


def describe_set(members: LabelSet, labels: Sequence[str]) -> str:
    """Return a label set in words, such as ``background, CSF, GM or WM``."""
    if len(members) == 1 + len(labels):
        return f"{IGNORE}d (any class)"
    names = [name for name in (BACKGROUND, *labels) if name in members]
    shown = [pretty(name, LABEL_NAMES) for name in names]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " or " + shown[-1]
