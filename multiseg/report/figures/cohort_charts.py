"""Figures of what the cohorts of a study look like, for the notebook on data exploration (thesis 5)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from ...data.store import StoredCase
from ...results import domain_distance
from ...results.cohort_tables import Explored, drawn_labels
from ...settings.label_styles import LABEL_STYLES, label_name
from . import overlays
from .kinds import cohorts_and_labels, figure_kind
from .language import say
from .names import OR, label_title
from .slices import best_slice, drawn_sets, label_legend, painted_voxels, show_slice
from .style import label_colours, panels, wrapped

# -- numbers -------------------------------------------------------------------------------------------------------


def _divergences(table: pd.DataFrame) -> str:
    square = table.set_index("cohort")
    pairs = {(a, b): square.loc[a, b] for a, b in itertools.combinations(square.columns, 2)}
    if not pairs:
        return ""
    near, far = min(pairs, key=pairs.__getitem__), max(pairs, key=pairs.__getitem__)
    return (
        f"Closest: {' and '.join(near)}, {1000 * pairs[near]:.1f} thousandths; "
        f"farthest: {' and '.join(far)}, {1000 * pairs[far]:.1f}."
    )


@figure_kind("jensen_shannon", _divergences, thesis=16)
def divergence_figure(ours: pd.DataFrame, theirs: pd.DataFrame | None) -> tuple[Figure, pd.DataFrame]:
    """Draw the divergences as heat maps (thesis figure 16): ours, the thesis's, and both against each other."""
    shown = {say("this study"): ours} | ({} if theirs is None else {say("the thesis"): theirs})
    figure, grid = panels(1, 1 if theirs is None else 3, 6.2, 5.4)
    top = float(np.nanmax([matrix.to_numpy().max() for matrix in shown.values()]))
    look: dict[str, Any] = {"annot": True, "fmt": ".1f", "cmap": "viridis", "square": True, "cbar": False}
    for panel, (title, matrix) in zip(grid[0], shown.items(), strict=False):
        sns.heatmap(1000 * matrix, vmin=0, vmax=1000 * top, ax=panel, **look)
        panel.set(title=say("Divergence x 1000, {who}", who=title), xlabel="", ylabel="")
        panel.tick_params(axis="x", rotation=40)
    if theirs is not None:
        rho, n = domain_distance.agreement(ours, theirs)
        names, panel = list(theirs.index), grid[0, 2]
        upper = np.triu_indices(len(names))
        a, b = (1000 * m.loc[names, names].to_numpy()[upper] for m in (theirs, ours))
        within = upper[0] == upper[1]
        for mask, text, marker in ((~within, "between two cohorts", "o"), (within, "within one", "s")):
            panel.plot(a[mask], b[mask], marker, label=say(text))
        panel.axline((1, 1), (10, 10), color="0.6", lw=1)
        panel.set(xscale="log", yscale="log", xlabel=say("the thesis"), ylabel=say("this study"), aspect="equal")
        panel.set_title(say("Spearman's correlation {rho:.2f} ({n} entries)", rho=rho, n=n))
        panel.legend(frameon=False)
    return figure, ours.reset_index()


@figure_kind("cohort", cohorts_and_labels)
def cohort_slices(cases: Sequence[StoredCase], labels: Sequence[str]) -> tuple[Figure, pd.DataFrame]:
    """Draw one case per row: every modality, and the labels that its cohort draws (figures 13 to 15)."""
    columns = max(len(case.modalities) for case in cases) + 1
    figure, grid = panels(len(cases), columns, 2.6, 3.1)
    rows = []
    for line, case in zip(grid, cases, strict=True):
        drawn, z = drawn_sets(case, labels), best_slice(case, labels)
        for axes in line:
            axes.set_axis_off()
        for axes, modality in zip(line, case.modalities, strict=False):
            show_slice(axes, case, modality, z, None, drawn, f"{case.cohort}: {modality}")
        numbers = overlays.truth(case, drawn).numbers
        show_slice(line[len(case.modalities)], case, case.modalities[0], z, numbers, drawn, say("labels"))
        rows += [_place(case, z) | {"label": k, "voxels": n} for k, n in painted_voxels(numbers, drawn, z).items()]
    label_legend(figure, list(dict.fromkeys(label for case in cases for label in drawn_sets(case, labels))))
    return figure, pd.DataFrame(rows)


def _place(case: StoredCase, z: int) -> dict[str, object]:
    return {"cohort": case.cohort, "case": case.name, "slice": z}


@figure_kind("multi_task", lambda t: f"Case {t['case'].iloc[0]}: {', '.join(dict.fromkeys(t['panel']))}.", thesis=2)
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
    names = [*(" + ".join(map(label_name, task)) for task in tasks), "together"]
    titles = [*(" + ".join(map(label_title, task)) for task in tasks), say("together")]
    figure, grid = panels(1, len(names) + 1, 3, 3.6)
    show_slice(grid[0, 0], case, modality, z, None, both, f"{name}: {modality}")
    drawn = overlays.truth(case, both).numbers
    rows = []
    for axes, panel, title, task in zip(grid[0, 1:], names, titles, [*tasks, both], strict=True):
        numbers = np.where(np.isin(drawn, [both.index(label) + 1 for label in task]), drawn, 0)
        show_slice(axes, case, modality, z, numbers, both, title)
        counts = painted_voxels(numbers, both, z)
        rows += [{**_place(case, z), "panel": panel, "label": label, "voxels": counts[label]} for label in task]
    label_legend(figure, both)
    return figure, pd.DataFrame(rows)


def _modalities(table: pd.DataFrame) -> str:
    return ", ".join(f"{m} ({c})" for m, c in zip(table["modality"], table["cohort"], strict=True)) + "."


@figure_kind("modalities", _modalities, thesis=4)
def modalities_figure(explored: Explored) -> tuple[Figure, pd.DataFrame]:
    """Draw one slice of every modality (figure 4), each from the cohort that has most modalities."""
    richest = sorted((cases[0] for cases in explored.values()), key=lambda case: -len(case.modalities))
    chosen: dict[str, StoredCase] = {}
    for case in richest:
        chosen |= {modality: case for modality in case.modalities if modality not in chosen}
    figure, grid = panels(1, len(chosen), 2.8, 3.4)
    rows = []
    for axes, (modality, case) in zip(grid[0], chosen.items(), strict=True):
        z = best_slice(case, [])
        show_slice(axes, case, modality, z, None, [], f"{modality} ({case.cohort})")
        rows.append({"modality": modality, **_place(case, z)})
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
    figure, grid = panels(1, len(cases), 2.8, 3.5)
    rows = []
    for axes, case in zip(grid[0], cases, strict=True):
        heights = np.flatnonzero(np.asarray(case.mask).any(axis=(0, 1)))
        z = int(heights[0] + 0.55 * (heights[-1] - heights[0]))
        numbers = overlays.truth(case, [label]).numbers
        show_slice(axes, case, case.modalities[0], z, numbers, [label], case.cohort)
        voxels = painted_voxels(numbers, [label], z)[label]
        percent = 100 * np.divide(voxels, np.count_nonzero(case.mask[:, :, z]))
        rows.append({**_place(case, z), "label": label, "voxels": voxels, "percent_of_slice": percent})
        text = say("{percent:.0f} % of the slice", percent=percent)
        axes.text(0.5, -0.02, text, ha="center", va="top", fontsize=9, transform=axes.transAxes)
    return figure, pd.DataFrame(rows)


def _volumes(table: pd.DataFrame) -> str:
    means = table.groupby(["label", "cohort"], sort=False)["ml"].mean()
    groups = means.groupby(level="label", sort=False)
    parts = [f"{label} {part.min():.1f} to {part.max():.1f} ml" for label, part in groups]
    return f"Means of cohorts: {', '.join(parts)}."


@figure_kind("label_volumes", _volumes)
def volume_figure(each: pd.DataFrame) -> Figure:
    """Draw the volumes of `volumes`: a panel per label, a point per case."""
    labels = list(dict.fromkeys(each["label"]))
    figure, grid = wrapped(len(labels), 4, 4, 3.2)
    by_name = {label_name(label): label for label in LABEL_STYLES}
    colours = label_colours([label for name, label in by_name.items() if name in labels])
    for axes, name in zip(grid.flat, labels, strict=False):
        part = each[each["label"] == name]
        cohorts = list(dict.fromkeys(part["cohort"]))
        # side by side by a rule rather than at random: equal results are equal pictures
        aside = part.groupby("cohort").cumcount() * 0.618 % 1 * 0.3 - 0.15
        y = part["cohort"].map(cohorts.index) + aside
        axes.plot(part["ml"], y, "o", color=colours.get(by_name.get(name, ""), "0.4"), ms=4, mec="white", mew=0.3)
        axes.set_yticks(range(len(cohorts)), cohorts)
        axes.set_ylim(len(cohorts) - 0.5, -0.5)
        # a name is a label set, as `results.cohort_tables.describe_set` puts it in English
        title = say(OR).join(label_title(by_name[k]) if k in by_name else k for k in name.split(OR))
        axes.set(title=title, xlabel=say("ml"), ylabel="", xlim=(0, None))
    return figure


def _intensities(table: pd.DataFrame) -> str:
    parts = [f"{m} ({', '.join(dict.fromkeys(p['cohort']))})" for m, p in table.groupby("modality", sort=False)]
    return "; ".join(parts) + "."


@figure_kind("intensities", _intensities)
def intensity_histograms(table: pd.DataFrame) -> Figure:
    """Draw the histograms of `intensities`, one panel per modality."""
    modalities = list(dict.fromkeys(table["modality"]))
    cohorts = list(dict.fromkeys(table["cohort"]))
    figure, grid = wrapped(len(modalities), 3, 5.2, 3.6)
    palette = dict(zip(cohorts, sns.color_palette("colorblind", len(cohorts)), strict=True))
    for axes, modality in zip(grid.flat, modalities, strict=False):
        part = table[table["modality"] == modality]
        sns.lineplot(part, x="intensity", y="density", hue="cohort", style="cohort", palette=palette, ax=axes)
        axes.set(title=modality, xlabel=say("z-score"), ylabel=say("density"))
        axes.legend(fontsize=8, title=None)
    return figure
