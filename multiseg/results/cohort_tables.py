"""What the cohorts of a study look like, in numbers (thesis 5). Everything here is read from the store."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from multiseg_core.labels import BACKGROUND, IGNORE, LabelSet, is_relevant

from ..data.label_resampling import cost_table
from ..data.store import StoredCase
from ..settings.label_styles import label_name
from ..study.study import Study

Explored = Mapping[str, Sequence[StoredCase]]
"""Cohort -> its stored cases."""


def open_cases(study: Study) -> dict[str, list[StoredCase]]:
    """Open all explored cases of a study, by cohort. Raises `UserError` if the store lacks one."""
    found: dict[str, list[StoredCase]] = {}
    for case in study.explored_cases():
        found.setdefault(case.cohort, []).append(study.open(case))
    return found


# -- tables --------------------------------------------------------------------------------------------------------


def cohort_table(study: Study, explored: Explored) -> pd.DataFrame:
    """Return one row per cohort: cases, role, modalities, labels, what background means, native grid."""
    trained = {cohort.name for s in study.scenarios.values() for cohort in s.train}
    tested = {cohort.name for s in study.scenarios.values() for cohort in s.tests}
    rows = []
    for name, cases in explored.items():
        cohort = study.cohorts[name]
        # of the files that the cases came from
        sizes = np.array([np.linalg.norm(c.native_grid.affine[:3, :3], axis=0) for c in cases])
        voxels = "; ".join(" x ".join(f"{v:g}" for v in size) for size in np.unique(sizes.round(2), axis=0))
        extents = sizes * [case.native_grid.shape for case in cases]
        rows.append(
            {
                "cohort": name,
                "cases": len(cases),
                "role": " and ".join(["training"] * (name in trained) + ["test"] * (name in tested)) or "not used",
                "modalities": ", ".join(cohort.modalities),
                "labels": ", ".join(map(label_name, cohort.code_map.annotates)),
                "background means": describe_set(cohort.code_map.sets[0], study.labels),
                "voxel (mm)": voxels,
                "field of view (mm)": " x ".join(f"{v:.0f}" for v in extents.mean(axis=0)),
            }
        )
    return pd.DataFrame(rows).set_index("cohort")


def volumes(explored: Explored, labels: Sequence[str]) -> pd.DataFrame:
    """Return the volume of each drawn label set in each case: ``cohort, case, label, ml, percent_of_brain``."""
    rows = []
    for name, cases in explored.items():
        drawn = [(position, members) for position, members in enumerate(cases[0].sets) if is_relevant(members)]
        for (position, members), case in itertools.product(drawn, cases):
            ml = case.labels.voxels_per_set[position] * case.voxel_ml
            share = 100 * ml / (np.count_nonzero(case.mask) * case.voxel_ml)
            rows.append((name, case.name, describe_set(members, labels), ml, share))
    return pd.DataFrame(rows, columns=["cohort", "case", "label", "ml", "percent_of_brain"])


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


def spacing_table(explored: Explored, labels: Sequence[str]) -> pd.DataFrame:
    """Return what the voxels of the store cost each drawn label, see `resampling.cost_table`."""
    return cost_table(
        (name, describe_set(case.sets[row["set"]], labels), row)
        for name, cases in explored.items()
        for case in cases
        for row in case.kept
    )


def intensities(explored: Explored, bins: int = 60) -> pd.DataFrame:
    """Return the histogram of normalised intensities in the brain per cohort and modality.

    Columns ``cohort, modality, intensity, density``; bins on [-3, 3]; all cases of a cohort weigh the same.
    """
    edges = np.linspace(-3, 3, bins + 1)
    parts = []
    for modality in dict.fromkeys(m for cases in explored.values() for m in cases[0].modalities):
        for name, cases in explored.items():
            if modality in cases[0].modalities:
                images = [(c.images[c.modalities.index(modality)], np.asarray(c.mask)) for c in cases]
                each = [np.histogram(image[mask], bins=edges, density=True)[0] for image, mask in images]
                shown = {"cohort": name, "modality": modality, "intensity": (edges[:-1] + edges[1:]) / 2}
                parts.append(pd.DataFrame({**shown, "density": np.mean(each, axis=0)}))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


# -- labels --------------------------------------------------------------------------------------------------------


def example_groups(explored: Explored, labels: Sequence[str]) -> list[tuple[tuple[str, ...], list[StoredCase]]]:
    """Group the first cases of the cohorts by the labels that they draw: (labels drawn, cases)."""
    groups: dict[tuple[str, ...], list[StoredCase]] = {}
    for cases in explored.values():
        groups.setdefault(tuple(drawn_labels(cases[0], labels)), []).append(cases[0])
    return list(groups.items())


def drawn_labels(case: StoredCase, labels: Sequence[str]) -> list[str]:
    """Return the labels that the cohort of a case draws, coarse ones included, in the study's order."""
    drawn = {label for members in case.sets if is_relevant(members) for label in members}
    return [label for label in labels if label in drawn]


def describe_set(members: LabelSet, labels: Sequence[str]) -> str:
    """Return a label set in words, such as ``background, CSF, GM or WM``."""
    if len(members) == 1 + len(labels):
        return f"{IGNORE}d (any class)"
    shown = [label_name(name) for name in (BACKGROUND, *labels) if name in members]
    return shown[0] if len(shown) == 1 else ", ".join(shown[:-1]) + " or " + shown[-1]
