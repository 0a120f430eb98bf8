"""What the cohorts of a study look like: the tables and figures of the notebook on data exploration (thesis 5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from . import domains, thesis
from .figures import (
    LABEL_NAMES,
    best_slice,
    describe_set,
    label_colours,
    label_legend,
    pretty,
    show_slice,
    target_overlay,
)
from .labels import BACKGROUND
from .store import StoredCase
from .study import Study

Explored = Mapping[str, Sequence[StoredCase]]
"""Cohort -> its stored cases."""

_THESIS_FIGURES = {("csf", "gm", "wm"): "13_anatomy", ("wmh",): "14_wmh", ("oedema", "tumour"): "15_tumour"}
"""Labels drawn -> file name of the figure, with its number in the thesis."""


def open_cases(study: Study) -> dict[str, list[StoredCase]]:
    """Open all explored cases of a study, by cohort; those that the store lacks are built."""
    found: dict[str, list[StoredCase]] = {}
    for case in study.explored_cases():
        found.setdefault(case.cohort, []).append(study.store.open(case, study.cohorts[case.cohort]))
    return found


# -- tables --------------------------------------------------------------------------------------------------------


def cohort_table(study: Study, explored: Explored) -> pd.DataFrame:
    """Return one row per cohort: cases, role, modalities, labels, what background means, native grid."""
    rows = []
    for name, cases in explored.items():
        cohort = study.cohorts[name]
        trained = any(name in s.train for s in study.params.scenarios.values())
        tested = any(name == s.test for s in study.params.scenarios.values())
        sizes = np.array([_voxel_mm(case) for case in cases])
        extents = sizes * [case.info["native_shape"] for case in cases]
        rows.append(
            {
                "cohort": name,
                "cases": len(cases),
                "role": " and ".join(["training"] * trained + ["test"] * tested) or "not used",
                "modalities": ", ".join(cohort.modalities),
                "labels": ", ".join(cohort.code_map.annotates),
                "background means": describe_set(cohort.code_map.sets[0], study.labels),
                "voxel (mm)": "; ".join(
                    " x ".join(f"{v:g}" for v in size) for size in np.unique(sizes.round(2), axis=0)
                ),
                "field of view (mm)": " x ".join(f"{v:.0f}" for v in extents.mean(axis=0)),
            }
        )
    return pd.DataFrame(rows).set_index("cohort")


def _voxel_mm(case: StoredCase) -> np.ndarray:
    """Voxel sizes of the files that a case came from, (3,)."""
    return np.linalg.norm(np.array(case.info["native_affine"])[:3, :3], axis=0)


def volumes(study: Study, explored: Explored) -> pd.DataFrame:
    """Return the volume of each drawn label in each case: ``cohort, case, label, ml, percent_of_brain``."""
    rows = []
    for name, cases in explored.items():
        for position, members in enumerate(study.cohorts[name].code_map.sets):
            if BACKGROUND in members:
                continue
            for case in cases:
                ml = case.info["voxels_per_set"][position] * case.voxel_ml
                rows.append(
                    {
                        "cohort": name,
                        "case": case.name,
                        "label": describe_set(members, study.labels),
                        "ml": ml,
                        "percent_of_brain": 100 * ml / (np.count_nonzero(case.mask) * case.voxel_ml),
                    }
                )
    return pd.DataFrame(rows)


def volume_table(each: pd.DataFrame) -> pd.DataFrame:
    """Return mean, smallest and largest volume per cohort and label, and its prevalence, from `volumes`."""
    groups = each.groupby(["cohort", "label"], sort=False)
    return pd.DataFrame(
        {
            "cases with it": groups["ml"].agg(lambda ml: int((ml > 0).sum())),
            "mean ml": groups["ml"].mean(),
            "min ml": groups["ml"].min(),
            "max ml": groups["ml"].max(),
            "% of brain": groups["percent_of_brain"].mean(),
        }
    )


def intensities(study: Study, explored: Explored, bins: int = 60) -> pd.DataFrame:
    """Return the histogram of normalised intensities in the brain per cohort and modality.

    Columns ``cohort, modality, intensity, density``; bins on [-3, 3]; all cases of a cohort weigh the same.
    """
    edges = np.linspace(-3, 3, bins + 1)
    rows = []
    for modality in dict.fromkeys(m for name in explored for m in study.cohorts[name].modalities):
        for name, cases in explored.items():
            if modality not in study.cohorts[name].modalities:
                continue
            each = [
                np.histogram(c.images[c.modalities.index(modality)][np.asarray(c.mask)], bins=edges, density=True)[0]
                for c in cases
            ]
            for centre, density in zip((edges[:-1] + edges[1:]) / 2, np.mean(each, axis=0), strict=True):
                rows.append({"cohort": name, "modality": modality, "intensity": centre, "density": density})
    return pd.DataFrame(rows)


# -- divergence ----------------------------------------------------------------------------------------------------


def divergences(study: Study, explored: Explored) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """Return the divergences between cohorts on T1, and the thesis's for those that it has (None for fewer than two).

    Both are square, with the cohorts in the thesis's order, then the others. Where no cohort has a T1, the modality
    that most of them have is compared. Cohorts without it are left out.
    """
    modalities = [m for name in explored for m in study.cohorts[name].modalities]
    modality = "T1" if "T1" in modalities else max(dict.fromkeys(modalities), key=modalities.count)
    histograms = {
        name: [domains.intensity_histogram(case, modality) for case in cases]
        for name, cases in explored.items()
        if modality in study.cohorts[name].modalities
    }
    reference = thesis.divergences()
    known = {name: imitated(study, name) for name in histograms}
    order = [n for t in reference.index for n in histograms if known[n] == t]
    matrix = domains.divergence_matrix({n: histograms[n] for n in [*order, *(n for n in histograms if n not in order)]})
    if len(order) < 2:
        return matrix, None
    theirs = reference.loc[[known[n] for n in order], [known[n] for n in order]]
    theirs.index, theirs.columns = pd.Index(order, name="cohort"), pd.Index(order)
    return matrix, theirs


def imitated(study: Study, cohort: str) -> str:
    """The cohort of the thesis that a cohort is or imitates, by name."""
    p = study.params.cohorts[cohort]
    if p.source == "phantom":
        return p.preset or cohort
    return cohort if p.source == "table" else p.source


def divergence_figure(ours: pd.DataFrame, theirs: pd.DataFrame | None) -> Figure:
    """Draw the divergences as heat maps (thesis figure 16): ours, the thesis's, and both against each other."""
    n_panels = 1 if theirs is None else 3
    figure, axes = plt.subplots(1, n_panels, figsize=(6.2 * n_panels, 5.4), squeeze=False, layout="constrained")
    top = float(np.nanmax([ours.to_numpy().max(), 0 if theirs is None else theirs.to_numpy().max()]))
    shown = {"this study": ours} | ({} if theirs is None else {"the thesis": theirs})
    for panel, (title, matrix) in zip(axes[0], shown.items(), strict=False):
        sns.heatmap(
            1000 * matrix, annot=True, fmt=".1f", cmap="viridis", vmin=0, vmax=1000 * top, square=True, cbar=False,
            ax=panel,
        )  # fmt: skip
        panel.set(title=f"Divergence x 1000, {title}", xlabel="", ylabel="")
        panel.tick_params(axis="x", rotation=40)
    if theirs is not None:
        rho, n = domains.agreement(ours, theirs)
        names = list(theirs.index)
        upper = np.triu_indices(len(names))
        panel = axes[0, 2]
        a, b = (1000 * m.loc[names, names].to_numpy() for m in (theirs, ours))
        within = np.eye(len(names), dtype=bool)[upper]
        for mask, text in ((~within, "between two cohorts"), (within, "within one")):
            panel.plot(a[upper][mask], b[upper][mask], "os"[int(text == "within one")], label=text)
        panel.axline((1, 1), (10, 10), color="0.6", lw=1)
        panel.set(
            xscale="log", yscale="log", xlabel="the thesis", ylabel="this study", aspect="equal",
            title=f"Spearman's correlation {rho:.2f} ({n} entries)",
        )  # fmt: skip
        panel.legend(frameon=False)
    return figure


# -- slices --------------------------------------------------------------------------------------------------------


def example_groups(study: Study, explored: Explored) -> list[tuple[str, list[StoredCase]]]:
    """Group the first cases of the cohorts by the labels that they draw: (file name, cases)."""
    groups: dict[tuple[str, ...], list[StoredCase]] = {}
    for name, cases in explored.items():
        groups.setdefault(study.cohorts[name].code_map.annotates, []).append(cases[0])
    return [(_THESIS_FIGURES.get(drawn, f"cohort_{'_'.join(drawn)}"), cases) for drawn, cases in groups.items()]


def cohort_slices(cases: Sequence[StoredCase], labels: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Draw one case per row: every modality, and the labels that its cohort draws (figures 13 to 15)."""
    columns = max(len(case.modalities) for case in cases) + 1
    figure, grid = plt.subplots(len(cases), columns, figsize=(2.6 * columns, 3.1 * len(cases)), squeeze=False)
    rows = []
    for line, case in zip(grid, cases, strict=True):
        drawn = drawn_labels(case, labels)
        z = best_slice(case, drawn)
        for axes in line:
            axes.set_axis_off()
        for channel, modality in enumerate(case.modalities):
            show_slice(line[channel], case, modality, z, None, drawn, f"{case.cohort}: {modality}")
        overlay = target_overlay(case, drawn, z)
        show_slice(line[len(case.modalities)], case, case.modalities[0], z, overlay, drawn, "labels")
        rows += [
            {"cohort": case.cohort, "case": case.name, "slice": z, "label": label, "voxels": (overlay == k).sum()}
            for k, label in enumerate(drawn, start=1)
        ]
    label_legend(figure, list(dict.fromkeys(label for case in cases for label in drawn_labels(case, labels))))
    figure.tight_layout()
    return figure, pd.DataFrame(rows)


def drawn_labels(case: StoredCase, labels: Sequence[str]) -> list[str]:
    """Return the labels that the cohort of a case draws, in the study's order."""
    return [label for label in labels if any(label in m and BACKGROUND not in m and len(m) <= 2 for m in case.sets)]


def multi_task_example(explored: Explored, labels: Sequence[str]) -> tuple[Figure, pd.DataFrame] | None:
    """Draw the labels of each task alone and together on one slice (figure 2); None if no cohort draws two tasks.

    The tasks are the label sets that other cohorts draw.
    """
    sets = {name: tuple(drawn_labels(cases[0], labels)) for name, cases in explored.items()}
    for name, both in sets.items():
        tasks = [other for other in dict.fromkeys(sets.values()) if set(other) < set(both)]
        if len(tasks) > 1:
            break
    else:
        return None
    case = explored[name][0]
    z = best_slice(case, both)
    modality = "FLAIR" if "FLAIR" in case.modalities else case.modalities[0]
    titles = [*(" + ".join(pretty(label, LABEL_NAMES) for label in task) for task in tasks), "together"]
    figure, axes = plt.subplots(1, len(titles) + 1, figsize=(3 * (len(titles) + 1), 3.6))
    show_slice(axes[0], case, modality, z, None, both, f"{name}: {modality}")
    overlay = target_overlay(case, both, z)
    rows = []
    for panel, title, task in zip(axes[1:], titles, [*tasks, both], strict=True):
        kept = np.where(np.isin(overlay, [both.index(label) + 1 for label in task]), overlay, 0)
        show_slice(panel, case, modality, z, kept, both, title)
        rows += [
            {"cohort": name, "case": case.name, "slice": z, "panel": title, "label": label,
             "voxels": (kept == both.index(label) + 1).sum()}
            for label in task
        ]  # fmt: skip
    label_legend(figure, both)
    figure.tight_layout()
    return figure, pd.DataFrame(rows)


def modalities_figure(explored: Explored) -> tuple[Figure, pd.DataFrame]:
    """Draw one slice of every modality (figure 4), each from the cohort that has most modalities."""
    richest = sorted((cases[0] for cases in explored.values()), key=lambda case: -len(case.modalities))
    chosen = {
        m: next(c for c in richest if m in c.modalities)
        for m in dict.fromkeys(m for c in richest for m in c.modalities)
    }
    figure, axes = plt.subplots(1, len(chosen), figsize=(2.8 * len(chosen), 3.4), squeeze=False)
    rows = []
    for panel, (modality, case) in zip(axes[0], chosen.items(), strict=True):
        z = best_slice(case, [])
        show_slice(panel, case, modality, z, None, [], f"{modality} ({case.cohort})")
        rows.append({"modality": modality, "cohort": case.cohort, "case": case.name, "slice": z})
    figure.tight_layout()
    return figure, pd.DataFrame(rows)


def protocol_figure(explored: Explored, label: str = "csf") -> tuple[Figure, pd.DataFrame] | None:
    """Draw one label at the same height in every cohort that draws it (figure 33); None for fewer than two cohorts.

    The height is 55 % of the brain's, from below.
    """
    cases = [cases[0] for cases in explored.values() if label in drawn_labels(cases[0], [label])]
    if len(cases) < 2:
        return None
    figure, axes = plt.subplots(1, len(cases), figsize=(2.8 * len(cases), 3.5))
    rows = []
    for panel, case in zip(axes, cases, strict=True):
        heights = np.flatnonzero(np.asarray(case.mask).any(axis=(0, 1)))
        z = int(heights[0] + 0.55 * (heights[-1] - heights[0]))
        overlay = target_overlay(case, [label], z)
        show_slice(panel, case, case.modalities[0], z, overlay, [label], case.cohort)
        brain = np.count_nonzero(case.mask[:, :, z])
        rows.append(
            {
                "cohort": case.cohort, "case": case.name, "slice": z, "label": label, "voxels": (overlay == 1).sum(),
                "percent_of_slice": 100 * (overlay == 1).sum() / brain,
            }
        )  # fmt: skip
        panel.text(
            0.5, -0.02, f"{rows[-1]['percent_of_slice']:.0f} % of the slice", ha="center", va="top", fontsize=9,
            transform=panel.transAxes,
        )  # fmt: skip
    figure.tight_layout()
    return figure, pd.DataFrame(rows)


# -- numbers -------------------------------------------------------------------------------------------------------


def volume_figure(each: pd.DataFrame) -> Figure:
    """Draw the volumes of `volumes`: a panel per label, a point per case."""
    labels = list(dict.fromkeys(each["label"]))
    columns = min(len(labels), 4)
    lines = -(-len(labels) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(4 * columns, 3.2 * lines), squeeze=False, layout="constrained")
    for axes in grid.flat[len(labels) :]:
        axes.set_axis_off()
    colours = label_colours([name for name in LABEL_NAMES if pretty(name, LABEL_NAMES) in labels])
    by_name = {pretty(name, LABEL_NAMES): colour for name, colour in colours.items()}
    for axes, label in zip(grid.flat, labels, strict=False):
        part = each[each["label"] == label]
        sns.stripplot(part, x="ml", y="cohort", color=by_name.get(label, "0.4"), size=4, jitter=0.15, ax=axes)
        axes.set(title=label, xlabel="ml", ylabel="", xlim=(0, None))
    return figure


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
        axes.set(title=modality, xlabel="z-score", ylabel="density")
        axes.legend(fontsize=8, title=None)
    return figure
