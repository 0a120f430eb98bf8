"""What figures are called and what they say in words: file names, captions and alternative texts.

A figure that the thesis has is saved under its number there, such as ``26_anatomy_wmh_dice``. Alternative texts say
what is drawn and its main reading, computed from the table of the figure. Both are English.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import pandas as pd
from matplotlib.figure import Figure

from ..cohorts.layouts.label_styles import label_name
from ..figures import saving
from ..figures.style import SINGLE_TASK, plain
from ..study.study import Study
from ..thesis import reported

CAPTIONS: Mapping[str, str] = {
    "training": "Training loss (grey) and validation loss (in colour), a panel per model and a line per network.",
    "dice": "Dice on the test cases, by label and model. Boxes span the quartiles, points are cases.",
    "significance": "Mean Dice of every model. Bars join models that do not differ significantly in the thesis's test.",
    "panel": "One test slice: the image, its labels and what every model makes of it.",
    "naive": "The naive model on a validation image of each of its training cohorts.",
    "patches": "Patches of one training step: the image above, what the loss is told of every voxel below.",
    "differences": "Mean differences between models with 95 % intervals over cases and seeds.",
    "domain_distance": "Dice that MultiUNet and the selective network lose between validation images of their own cohorts and "
    "the test cohort, by the divergence of the two cohorts. Marks are labels.",
    "multi_task": "One slice with the labels of each task, and with all of them.",
    "modalities": "One slice of every modality, after preprocessing.",
    "anatomy": "Anatomical cohorts: modalities and labels of the first case.",
    "wmh": "Cohorts of white matter hyperintensities: modalities and labels of the first case.",
    "tumour": "Tumour cohorts: modalities and labels of the first case.",
    "cohort": "Cohorts that draw the same labels: modalities and labels of the first case.",
    "label_volumes": "Volume of every label, a point per case.",
    "intensities": "Histograms of normalised intensities inside the brain, by modality and cohort.",
    "jensen_shannon": "Jensen-Shannon divergence between the intensities of cohorts.",
    "csf_protocols": "CSF as each cohort draws it, at the same height.",
}
"""Kind of figure -> what it shows."""


_COHORT_FIGURES: Mapping[str, int] = {
    "multi_task": 2, "modalities": 4, "jensen_shannon": 16, "csf_protocols": 33,
    **{group.name: group.figure for group in reported.COHORT_GROUPS.values()},
}  # fmt: skip
_SCENARIO_FIGURES: Mapping[str, tuple[int | None, ...]] = {
    "dice": (17, 20, 23, 26, 29, 34), "panel": (18, 21, 25, 28, 31, 36), "significance": (19, 22, 24, 27, 30, 35),
    "naive": (None, None, None, None, 32, 37),
}  # fmt: skip
"""Their numbers in the thesis; for scenarios in the order of `reported.SCENARIOS`."""


class Show(Protocol):
    """Saves and displays a figure of a kind; see `presenter`."""

    def __call__(
        self, kind: str, figure: Figure, table: pd.DataFrame, caption: str | None = None, alt: str | None = None
    ) -> None: ...


def presenter(study: Study, scenario: str | None = None) -> Show:
    """Return a function that saves a figure under its name, and displays it with its caption and alternative text.

    Parameters
    ----------
    study
        Figures go to the folder ``figures`` of its report.
    scenario
        The scenario that they are about; None for those of the whole study.

    Returns
    -------
    Show
        ``show(kind, figure, table)``, with a kind of `CAPTIONS`; another kind needs its own ``caption`` and ``alt``.
    """

    def show(
        kind: str, figure: Figure, table: pd.DataFrame, caption: str | None = None, alt: str | None = None
    ) -> None:
        text = caption_of(study, scenario, kind, caption)
        alt = describe(kind, table) if alt is None else alt
        saving.show(figure, table, study.folder / "figures", figure_name(study, scenario, kind), alt, text)

    return show


def figure_number(study: Study, scenario: str | None, kind: str) -> int | None:
    """Return the number that a figure has in the thesis, by the cohorts that a scenario uses or imitates, or None."""
    if scenario is None:
        return _COHORT_FIGURES.get(kind)
    s = study.scenario(scenario)
    return scenario_figure([cohort.imitates for cohort in s.train], s.test.imitates, kind)


def scenario_figure(train: Sequence[str], test: str, kind: str) -> int | None:
    """Return the number of a scenario's figure in the thesis, by its names of cohorts; None if it has none."""
    place = reported.scenario_place(train, test)
    return None if place is None else _SCENARIO_FIGURES.get(kind, (None,) * len(reported.SCENARIOS))[place]


def figure_name(study: Study, scenario: str | None, kind: str) -> str:
    """Return the file name of a figure without its ending: ``26_anatomy_wmh_dice``, or ``mine_dice``."""
    number = figure_number(study, scenario, kind)
    parts = ["" if number is None else f"{number:02d}", scenario or "", kind]
    return "_".join(part for part in parts if part)


def caption_of(study: Study, scenario: str | None, kind: str, text: str | None = None) -> str:
    """Return the caption of a figure: its number in the thesis, if it has one, and what it shows.

    Raises
    ------
    KeyError
        For a kind that `CAPTIONS` lacks, if there is no `text`.
    """
    number = figure_number(study, scenario, kind)
    if text is None:
        text = CAPTIONS["cohort" if kind.startswith("cohort_") else kind]
    return text if number is None else f"Thesis figure {number}. {text}"


# -- alternative texts ---------------------------------------------------------------------------------------------


def describe(kind: str, table: pd.DataFrame) -> str:
    """Return the alternative text of a figure from the table that it was drawn from; its caption if there is no more."""
    kind = "cohort" if kind.startswith("cohort_") else kind
    reading = _READINGS[kind](table) if kind in _READINGS and len(table) else ""
    return f"{CAPTIONS[kind]} {reading}".strip()


def _best_and_worst(means: pd.Series) -> str:
    means = means.dropna()
    if means.empty:
        return ""
    best, worst = means.idxmax(), means.idxmin()
    if len(means) == 1:
        return f"Mean of {plain(str(best))}: {means[best]:.3f}."
    return f"Highest mean: {plain(str(best))}, {means[best]:.3f}; lowest: {plain(str(worst))}, {means[worst]:.3f}."


def _dice(table: pd.DataFrame) -> str:
    models = table[table["model"] != SINGLE_TASK]
    return _best_and_worst(models.groupby("model", sort=False)["dice"].mean())


def _significance(table: pd.DataFrame) -> str:
    alike = [f"{plain(r.model_a)} and {plain(r.model_b)}" for r in table[~table["significant"]].itertuples()]
    text = f"{len(table) - len(alike)} of {len(table)} pairs differ significantly"
    return f"{text}; not so {', '.join(alike)}." if 0 < len(alike) < 6 else f"{text}."


def _differences(table: pd.DataFrame) -> str:
    known = table[table["difference"].notna()]
    if known.empty:
        return ""
    top = known.loc[known["difference"].abs().idxmax()]
    return (
        f"Largest difference: {plain(top['model_a'])} minus {plain(top['model_b'])}, {top['difference']:+.3f} "
        f"({top['scenario']}). {int(known['significant'].sum())} of {len(known)} pairs differ significantly."
    )


def _domain_distance(table: pd.DataFrame) -> str:
    pairs = (
        table.groupby(["cohort", "test_cohort"], sort=False)[["divergence", "loss"]].mean().sort_values("divergence")
    )
    parts = [f"{a} to {b} loses {row.loss:.3f} at {1000 * row.divergence:.1f}" for (a, b), row in pairs.iterrows()]
    return f"Means, from the closest pair to the farthest: {', '.join(parts)}."


def _training(table: pd.DataFrame) -> str:
    lowest = table.groupby("model", sort=False)["validation_loss"].min()
    return f"Lowest validation loss: {_listed(lowest, '.3f')}."


def _panel(table: pd.DataFrame) -> str:
    voxels = table.groupby("panel", sort=False)["voxels"].sum()
    return f"Case {table['case'].iloc[0]}. Labelled voxels: {_listed(voxels, 'd')}."


def _naive(table: pd.DataFrame) -> str:
    parts = []
    for cohort, part in table.groupby("cohort", sort=False):
        names = [_names(part.loc[part[column] > 0, "label"].tolist()) for column in ("voxels_true", "voxels_predicted")]
        parts.append(f"{cohort}: the cohort draws {names[0]}, the model {names[1]}")
    return "; ".join(parts) + "."


def _cohorts(table: pd.DataFrame) -> str:
    parts = [f"{cohort} ({_names(part['label'].tolist())})" for cohort, part in table.groupby("cohort", sort=False)]
    return ", ".join(parts) + "."


def _patches(table: pd.DataFrame) -> str:
    aims = [f"{cohort}, aimed at {aim}" for cohort, aim in zip(table["cohort"], table["aimed at"], strict=True)]
    return f"From the left: {'; '.join(aims)}."


def _multi_task(table: pd.DataFrame) -> str:
    return f"Case {table['case'].iloc[0]}: {', '.join(dict.fromkeys(table['panel']))}."


def _modalities(table: pd.DataFrame) -> str:
    return ", ".join(f"{m} ({c})" for m, c in zip(table["modality"], table["cohort"], strict=True)) + "."


def _volumes(table: pd.DataFrame) -> str:
    means = table.groupby(["label", "cohort"], sort=False)["ml"].mean()
    parts = [
        f"{label} {part.min():.1f} to {part.max():.1f} ml" for label, part in means.groupby(level="label", sort=False)
    ]
    return f"Means of cohorts: {', '.join(parts)}."


def _intensities(table: pd.DataFrame) -> str:
    parts = [f"{m} ({', '.join(dict.fromkeys(p['cohort']))})" for m, p in table.groupby("modality", sort=False)]
    return "; ".join(parts) + "."


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


def _protocols(table: pd.DataFrame) -> str:
    shares = table.set_index("cohort")["percent_of_slice"]
    return ", ".join(f"{cohort} {share:.0f} % of the slice" for cohort, share in shares.items()) + "."


def _names(labels: Sequence[str]) -> str:
    return ", ".join(label_name(label) for label in labels) or "nothing"


def _listed(values: pd.Series, form: str) -> str:
    return ", ".join(f"{plain(str(name))} {value:{form}}" for name, value in values.items())


_READINGS: Mapping[str, Callable[[pd.DataFrame], str]] = {
    "training": _training, "dice": _dice, "significance": _significance, "panel": _panel, "naive": _naive,
    "differences": _differences, "domain_distance": _domain_distance, "multi_task": _multi_task,
    "patches": _patches, "modalities": _modalities, "anatomy": _cohorts,
    "wmh": _cohorts, "tumour": _cohorts, "cohort": _cohorts, "label_volumes": _volumes, "intensities": _intensities,
    "jensen_shannon": _divergences, "csf_protocols": _protocols,
}  # fmt: skip
