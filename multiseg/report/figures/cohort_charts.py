"""Figures of what the cohorts of a study look like, for the notebook on data exploration (thesis 5)."""

from __future__ import annotations

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ...data.store import StoredCase
from ...results import domain_distance
from ...results.cohort_tables import Explored, drawn_labels
from ...settings.label_styles import label_name
from . import overlays
from .kinds import cohorts_and_labels, figure_kind
from .language import say
from .slices import best_slice, drawn_sets, label_legend, show_slice
from .style import LABEL_NAMES, drawn_name, label_colours

# -- numbers -------------------------------------------------------------------------------------------------------


def _divergences(table: pd.DataFrame) -> str:
    square = table.set_index("cohort")
    names = list(square.columns)
    pairs = {(a, b): square.loc[a, b] for i, a in enumerate(names) for b in names[i + 1 :]}
    if not pairs:
        return ""
    near, far = min(pairs, key=lambda p: pairs[p]), max(pairs, key=lambda p: pairs[p])
    return (
        f"Closest: {' and '.join(near)}, {1000 * pairs[near]:.1f} thousandths; "
        f"farthest: {' and '.join(far)}, {1000 * pairs[far]:.1f}."
    )


@figure_kind("jensen_shannon", _divergences, thesis=16)
def divergence_figure(ours: pd.DataFrame, theirs: pd.DataFrame | None) -> tuple[Figure, pd.DataFrame]:
    """Draw the divergences as heat maps (thesis figure 16): ours, the thesis's, and both against each other."""
    n_panels = 1 if theirs is None else 3
    figure, axes = plt.subplots(1, n_panels, figsize=(6.2 * n_panels, 5.4), squeeze=False, layout="constrained")
    top = float(np.nanmax([ours.to_numpy().max(), 0 if theirs is None else theirs.to_numpy().max()]))
    shown = {say("this study"): ours} | ({} if theirs is None else {say("the thesis"): theirs})
    for panel, (title, matrix) in zip(axes[0], shown.items(), strict=False):
        sns.heatmap(
            1000 * matrix, annot=True, fmt=".1f", cmap="viridis", vmin=0, vmax=1000 * top, square=True, cbar=False,
            ax=panel,
        )  # fmt: skip
        panel.set(title=say("Divergence x 1000, {who}", who=title), xlabel="", ylabel="")
        panel.tick_params(axis="x", rotation=40)
    if theirs is not None:
        rho, n = domain_distance.agreement(ours, theirs)
        names = list(theirs.index)
        upper = np.triu_indices(len(names))
        panel = axes[0, 2]
        a, b = (1000 * m.loc[names, names].to_numpy() for m in (theirs, ours))
        within = np.eye(len(names), dtype=bool)[upper]
        for mask, text, marker in ((~within, "between two cohorts", "o"), (within, "within one", "s")):
            panel.plot(a[upper][mask], b[upper][mask], marker, label=say(text))
        panel.axline((1, 1), (10, 10), color="0.6", lw=1)
        panel.set(
            xscale="log", yscale="log", xlabel=say("the thesis"), ylabel=say("this study"), aspect="equal",
            title=say("Spearman's correlation {rho:.2f} ({n} entries)", rho=rho, n=n),
        )  # fmt: skip
        panel.legend(frameon=False)
    return figure, ours.reset_index()


@figure_kind("cohort", cohorts_and_labels)
def cohort_slices(cases: Sequence[StoredCase], labels: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Draw one case per row: every modality, and the labels that its cohort draws (figures 13 to 15)."""
    columns = max(len(case.modalities) for case in cases) + 1
    figure, grid = plt.subplots(
        len(cases), columns, figsize=(2.6 * columns, 3.1 * len(cases)), squeeze=False, layout="constrained"
    )
    rows = []
    for line, case in zip(grid, cases, strict=True):
        drawn = drawn_sets(case, labels)
        z = best_slice(case, labels)
        for axes in line:
            axes.set_axis_off()
        for channel, modality in enumerate(case.modalities):
            show_slice(line[channel], case, modality, z, None, drawn, f"{case.cohort}: {modality}")
        numbers = overlays.truth(case, drawn).numbers
        show_slice(line[len(case.modalities)], case, case.modalities[0], z, numbers, drawn, say("labels"))
        rows += [
            {
                "cohort": case.cohort,
                "case": case.name,
                "slice": z,
                "label": label,
                "voxels": int((numbers[:, :, z] == k).sum()),
            }
            for k, label in enumerate(drawn, start=1)
        ]
    label_legend(figure, list(dict.fromkeys(label for case in cases for label in drawn_sets(case, labels))))
    return figure, pd.DataFrame(rows)


def _multi_task(table: pd.DataFrame) -> str:
    return f"Case {table['case'].iloc[0]}: {', '.join(dict.fromkeys(table['panel']))}."


@figure_kind("multi_task", _multi_task, thesis=2)
def multi_task_example(explored: Explored, labels: Sequence[str]) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the labels of each task alone and together on one slice (figure 2); None if no cohort draws two tasks.

    The tasks are the label sets that other cohorts draw.
    """
    sets = {name: tuple(drawn_labels(cases[0], labels)) for name, cases in explored.items()}
    for name, both in sets.items():  # noqa: B007
        tasks = [other for other in dict.fromkeys(sets.values()) if set(other) < set(both)]
        if len(tasks) > 1:
            break
    else:
        return None
    case = explored[name][0]
    z = best_slice(case, both)
    modality = "FLAIR" if "FLAIR" in case.modalities else case.modalities[0]
    panels = [*(" + ".join(label_name(label) for label in task) for task in tasks), "together"]
    titles = [*(" + ".join(drawn_name(label, LABEL_NAMES) for label in task) for task in tasks), say("together")]
    figure, axes = plt.subplots(
        1, len(panels) + 1, figsize=(3 * (len(panels) + 1), 3.6), squeeze=False, layout="constrained"
    )
    show_slice(axes[0, 0], case, modality, z, None, both, f"{name}: {modality}")
    drawn = overlays.truth(case, both).numbers
    rows = []
    for panel, name_drawn, title, task in zip(axes[0, 1:], panels, titles, [*tasks, both], strict=True):
        kept = np.where(np.isin(drawn, [both.index(label) + 1 for label in task]), drawn, 0)
        show_slice(panel, case, modality, z, kept, both, title)
        rows += [
            {"cohort": name, "case": case.name, "slice": z, "panel": name_drawn, "label": label,
             "voxels": (kept[:, :, z] == both.index(label) + 1).sum()}
            for label in task
        ]  # fmt: skip
    label_legend(figure, both)
    return figure, pd.DataFrame(rows)


def _modalities(table: pd.DataFrame) -> str:
    return ", ".join(f"{m} ({c})" for m, c in zip(table["modality"], table["cohort"], strict=True)) + "."


@figure_kind("modalities", _modalities, thesis=4)
def modalities_figure(explored: Explored) -> tuple[Figure, pd.DataFrame]:
    """Draw one slice of every modality (figure 4), each from the cohort that has most modalities."""
    richest = sorted((cases[0] for cases in explored.values()), key=lambda case: -len(case.modalities))
    chosen = {
        m: next(c for c in richest if m in c.modalities)
        for m in dict.fromkeys(m for c in richest for m in c.modalities)
    }
    figure, axes = plt.subplots(1, len(chosen), figsize=(2.8 * len(chosen), 3.4), squeeze=False, layout="constrained")
    rows = []
    for panel, (modality, case) in zip(axes[0], chosen.items(), strict=True):
        z = best_slice(case, [])
        show_slice(panel, case, modality, z, None, [], f"{modality} ({case.cohort})")
        rows.append({"modality": modality, "cohort": case.cohort, "case": case.name, "slice": z})
    return figure, pd.DataFrame(rows)


def _protocols(table: pd.DataFrame) -> str:
    shares = table.set_index("cohort")["percent_of_slice"]
    return ", ".join(f"{cohort} {share:.0f} % of the slice" for cohort, share in shares.items()) + "."


@figure_kind("protocols", _protocols)
def protocol_figure(explored: Explored, label: str) -> tuple[Figure, pd.DataFrame] | None:
    """Draw one label at the same height in every cohort that draws it (figure 33); None for fewer than two cohorts.

    The height is 55 % of the brain's, from below.
    """
    cases = [cases[0] for cases in explored.values() if label in drawn_labels(cases[0], [label])]
    if len(cases) < 2:
        return None
    figure, axes = plt.subplots(1, len(cases), figsize=(2.8 * len(cases), 3.5), layout="constrained")
    rows = []
    for panel, case in zip(axes, cases, strict=True):
        heights = np.flatnonzero(np.asarray(case.mask).any(axis=(0, 1)))
        z = int(heights[0] + 0.55 * (heights[-1] - heights[0]))
        numbers = overlays.truth(case, [label]).numbers
        show_slice(panel, case, case.modalities[0], z, numbers, [label], case.cohort)
        voxels = (numbers[:, :, z] == 1).sum()
        brain = np.count_nonzero(case.mask[:, :, z])
        rows.append(
            {
                "cohort": case.cohort, "case": case.name, "slice": z, "label": label, "voxels": voxels,
                "percent_of_slice": 100 * voxels / brain,
            }
        )  # fmt: skip
        text = say("{percent:.0f} % of the slice", percent=rows[-1]["percent_of_slice"])
        panel.text(0.5, -0.02, text, ha="center", va="top", fontsize=9, transform=panel.transAxes)
    return figure, pd.DataFrame(rows)


def _volumes(table: pd.DataFrame) -> str:
    means = table.groupby(["label", "cohort"], sort=False)["ml"].mean()
    parts = [
        f"{label} {part.min():.1f} to {part.max():.1f} ml" for label, part in means.groupby(level="label", sort=False)
    ]
    return f"Means of cohorts: {', '.join(parts)}."


@figure_kind("label_volumes", _volumes)
def volume_figure(each: pd.DataFrame) -> Figure:
    """Draw the volumes of `volumes`: a panel per label, a point per case."""
    labels = list(dict.fromkeys(each["label"]))
    columns = min(len(labels), 4)
    lines = -(-len(labels) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4 * columns, 3.2 * lines), squeeze=False, layout="constrained")
    for axes in grid.flat[len(labels) :]:
        axes.set_axis_off()
    colours = label_colours([name for name in LABEL_NAMES if label_name(name) in labels])
    by_name = {label_name(name): colour for name, colour in colours.items()}
    for axes, label in zip(grid.flat, labels, strict=False):
        part = each[each["label"] == label]
        cohorts = list(dict.fromkeys(part["cohort"]))
        # side by side by a rule rather than at random: equal results are equal pictures
        shift = part.groupby("cohort").cumcount() * 0.618 % 1 * 0.3 - 0.15
        y = part["cohort"].map(cohorts.index) + shift
        axes.plot(part["ml"], y, "o", color=by_name.get(label, "0.4"), ms=4, mec="white", mew=0.3)
        axes.set_yticks(range(len(cohorts)), cohorts)
        axes.set_ylim(len(cohorts) - 0.5, -0.5)
        axes.set(title=_drawn_set(label), xlabel=say("ml"), ylabel="", xlim=(0, None))
    return figure


def _drawn_set(label: str) -> str:
    """Return a label set, as `results.cohort_tables.describe_set` puts it, in the language of figures."""
    drawn = {label_name(name): drawn_name(name, LABEL_NAMES) for name in LABEL_NAMES}
    return say(" or ").join(drawn.get(part, part) for part in label.split(" or "))


def _intensities(table: pd.DataFrame) -> str:
    parts = [f"{m} ({', '.join(dict.fromkeys(p['cohort']))})" for m, p in table.groupby("modality", sort=False)]
    return "; ".join(parts) + "."


@figure_kind("intensities", _intensities)
def intensity_histograms(table: pd.DataFrame) -> Figure:
    """Draw the histograms of `intensities`, one panel per modality."""
    modalities = list(dict.fromkeys(table["modality"]))
    cohorts = list(dict.fromkeys(table["cohort"]))
    columns = min(len(modalities), 3)
    lines = -(-len(modalities) // columns)
    figure, grid = plt.subplots(
        lines, columns, figsize=(5.2 * columns, 3.6 * lines), squeeze=False, layout="constrained"
    )
    for axes in grid.flat[len(modalities) :]:
        axes.set_axis_off()
    palette = dict(zip(cohorts, sns.color_palette("colorblind", len(cohorts)), strict=True))
    for axes, modality in zip(grid.flat, modalities, strict=False):
        part = table[table["modality"] == modality]
        sns.lineplot(part, x="intensity", y="density", hue="cohort", style="cohort", palette=palette, ax=axes)
        axes.set(title=modality, xlabel=say("z-score"), ylabel=say("density"))
        axes.legend(fontsize=8, title=None)
    return figure
