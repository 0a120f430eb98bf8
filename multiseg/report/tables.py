"""Tables and example cases that the notebooks show, and how they are saved."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from multiseg_core.labels import BACKGROUND

from ..base.files import write_table, write_text
from ..data.store import StoredCase
from ..settings.models import NAIVE, SELECTIVE
from ..study import finished_runs
from ..study.plan import Run
from ..study.study import Study
from . import table_files
from .figures.language import CATALOGUE, say, word
from .figures.names import label_title, readable, scenario_title
from .figures.slices import RankedCase

TITLES: Mapping[str, list[str]] = CATALOGUE["tables"]
"""Tables that notebooks save, in the order in which reports list them."""


def scenario_table(study: Study, scenario: str) -> pd.DataFrame:
    """Return what a scenario trains and tests on, one fact a row."""
    s = study.scenario(scenario)
    training = [
        f"{c.name} ({len(train)} training, {len(validation)} validation cases): "
        + (", ".join(map(label_title, c.code_map.annotates)) or "no labels")
        for c in s.train
        for train, validation in [s.split(c.name)]
    ]
    kind = "validation cases" if s.tests_on_validation else "cases"
    seen = ", ".join(s.modalities)
    if s.params.own_modalities:
        own = [f"{'+'.join(c.name for c in task)} {', '.join(s.inputs(task))}" for task in s.tasks]
        seen += f" (MultiUNet: {'; '.join(own)})"
    models = [study.models[name] for name in s.models]
    networks, trainings = map(study.params.network_for, models), map(study.params.training_for, models)
    spacing = study.params.preprocessing.spacing_mm
    rows = {
        "training cohorts": "; ".join(training),
        "test cohort": f"{s.test_name} ({len(s.test_cases)} {kind})",
        "modalities": seen,
        "classes": ", ".join((BACKGROUND, *map(label_title, s.labels))),
        "network": most_have(", ".join(f"{k} {v}" for k, v in network.items()) for network in networks),
        "training": most_have(
            f"{t.steps} steps of {t.batch_size} patches of {' x '.join(map(str, t.patch_size))} voxels"
            for t in trainings
        ),
        "spacing": "native" if spacing is None else f"{' x '.join(f'{s:g}' for s in np.atleast_1d(spacing))} mm",
    }
    return pd.DataFrame({"": rows.values()}, index=list(rows))


def most_have(texts: Iterable[str]) -> str:
    """Return what most models have, and how many have something else."""
    counted = Counter(texts)
    ((text, n),), total = counted.most_common(1), counted.total()
    if n <= total / 2:
        return f"{len(counted)} kinds, told by the models' names"
    return text if n == total else f"{text}; {total - n} of {total} models another"


class Shown:
    """A table as a notebook shows it: readable names, rounded, in pages sortable."""

    def __init__(self, table: pd.DataFrame) -> None:
        self.table = table
        self.texts = table_files.rounded(table)

    def _repr_html_(self) -> str:
        if self.texts.empty:
            return f"<p>{say('This study has none.')}</p>\n"
        return table_files.html_table(self.texts)

    def __repr__(self) -> str:
        shown = readable(self.texts)
        return shown.to_string(index=not isinstance(shown.index, pd.RangeIndex))


def save(table: pd.DataFrame, folder: Path, name: str) -> Shown:
    """Write a table for programs, browsers and papers, and return it, so that a cell can end with showing it.

    ``name.csv`` holds all digits, with one row of column names and the index as columns; ``name.html`` is a small page;
    ``name.tex`` needs the package booktabs. The last two are rounded. Of a table without rows
    there is a header for programs alone, and no page to link; one without columns is not written.

    Parameters
    ----------
    table
        Any table; its index is left out if it only counts the rows.
    folder
        Where to, usually ``study.folder / "tables"``.
    name
        One of `TITLES`, or a scenario, an underscore and one of `TITLES`; others get their name as a title.
    """
    if table.columns.empty:
        return Shown(table)
    write_table(folder / f"{name}.csv", table_files.flat(table))
    if table.empty:
        for ending in ("html", "tex"):  # of an earlier report
            (folder / f"{name}.{ending}").unlink(missing_ok=True)
        return Shown(table)
    texts, heading = table_files.rounded(table), title(name)
    parts = [{"table": table_files.html_table(texts, fold=False)}]
    page = table_files.render("table.html.j2", title=heading, warnings=[], parts=parts, stem=name)
    write_text(folder / f"{name}.html", page)
    write_text(folder / f"{name}.tex", table_files.latex_table(readable(texts), heading, name.replace("_", "-")))
    return Shown(table)


def title(name: str) -> str:
    """Return the title of a saved table, with the scenario that its name begins with."""
    for kind in TITLES:
        if name == kind:
            return word("tables", kind)
        if name.endswith(f"_{kind}"):
            return f"{word('tables', kind)}: {scenario_title(name.removesuffix(f'_{kind}'))}"
    return name.replace("_", " ")


def first_seed(study: Study, scenario: str) -> list[Run]:
    """Return a scenario's runs of the first replicate and seed, one of each model."""
    return [run for run in study.runs_of(scenario) if (run.replicate, run.seed) == (1, study.params.seeds[0])]


def example_predictions(study: Study, scenario: str) -> tuple[StoredCase, dict[str, np.ndarray]]:
    """Return a test case and the prediction of every model (first replicate and seed).

    The case is the one, of the first test cohort, on which the median model does as on the median case: neither the
    best nor the worst.
    """
    metrics = finished_runs.metrics(study).query("scenario == @scenario and replicate == 1")
    cases = study.scenario(scenario).test_cases
    metrics = metrics[metrics["cohort"] == cases[0].cohort]
    per_case = metrics.groupby(["case", "model"])["dice"].mean().unstack().median(axis=1)
    away = (per_case - per_case.median()).abs()
    typical = away.idxmin() if away.notna().any() else cases[0].name  # no label anywhere: nothing has a Dice
    case = next(c for c in cases if (c.cohort, c.name) == (cases[0].cohort, typical))
    predictions = {run.model: finished_runs.prediction(run, case) for run in first_seed(study, scenario)}
    return study.open(case), predictions


MOST_LABELS = 8
"""A page has room for the cases of so many labels."""


def ranked_cases(study: Study, scenario: str, label: str, model: str) -> list[RankedCase]:
    """Return the worst, the median and the best test case of a label with a model's predictions.

    Of the first replicate and seed; fewer for fewer cases with a Dice, none for a model that does not run, nor for
    labels beyond the first `MOST_LABELS` of the scenario.
    """
    run = next((r for r in first_seed(study, scenario) if r.model == model), None)
    if run is None or label not in run.labels[:MOST_LABELS]:
        return []
    rows = finished_runs.read_metrics(run.folder / "metrics.csv")
    rows = rows[(rows["label"] == label) & rows["dice"].notna()].sort_values(["dice", "case"], kind="stable")
    cases = {(case.cohort, case.name): case for case in run.test_cases}
    places = dict(zip(("worst", "median", "best"), (0, (len(rows) - 1) // 2, len(rows) - 1), strict=True))
    found: dict[int, RankedCase] = {}
    for rank, at in places.items() if len(rows) else ():
        row = rows.iloc[at]
        case = cases[row["cohort"], row["case"]]
        if at not in found:
            said, uncertainty = finished_runs.prediction(run, case), finished_runs.uncertainty(run, case)
            found[at] = RankedCase(rank, study.open(case), said, float(row["dice"]), uncertainty)
    return list(found.values())


def shown_model(study: Study, scenario: str) -> str:
    """Return the model whose errors are looked at: the selective one, or else the first."""
    models = study.scenario(scenario).models
    return SELECTIVE if SELECTIVE in models else models[0]


def naive_examples(study: Study, scenario: str) -> tuple[list[StoredCase], list[np.ndarray]] | None:
    """Return a validation case of each training cohort and the naive model's prediction; None without that model."""
    cases = [validation[0] for _, validation in study.scenario(scenario).parts.values()]
    for run in (run for run in first_seed(study, scenario) if run.model == NAIVE):
        return list(map(study.open, cases)), [finished_runs.prediction(run, case) for case in cases]
    return None


def predicted_volumes(study: Study, scenario: str, models: Sequence[str]) -> pd.DataFrame:
    """Return the mean predicted volume (ml) of each label on the validation cases of each training cohort.

    Of the first replicate and seed.
    """
    s = study.scenario(scenario)
    rows = []
    for run in (run for run in first_seed(study, scenario) if run.model in models):
        for cohort, (_, validation) in s.parts.items():
            for case in validation:
                prediction = finished_runs.prediction(run, case)
                ml = np.bincount(prediction.ravel(), minlength=1 + len(s.labels)) * study.open(case).voxel_ml
                rows.append((run.model, cohort, *ml[1:]))
    table = pd.DataFrame(rows, columns=["model", "validation images of", *s.labels])
    return table.groupby(["model", "validation images of"], sort=False).mean() if rows else pd.DataFrame()
