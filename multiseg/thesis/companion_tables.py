"""What the notebooks of the companion studies show: Dice of each model with its interval, settings, and costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..results.replicates import model_intervals, with_interval
from ..study import finished_runs
from ..study.costs import network_cost
from ..study.study import Study


def scenarios_of(study: Study, notebook: str) -> list[str]:
    """Return the names of the scenarios that a notebook tells, in their order."""
    return [name for name, s in study.params.scenarios.items() if s.notebook == notebook]


def model_dice(study: Study, scenario: str, labels: Sequence[str] = (), value: str = "dice") -> pd.DataFrame:
    """Return each model's mean over replicates: ``replicates, mean, low, high``, a 95 % t interval.

    The mean is that of some labels, by default all that the test cohort draws, in a column of the metrics.
    """
    metrics = finished_runs.metrics(study)
    place = study.scenario(scenario)
    labels = labels or place.tested_labels
    return model_intervals(metrics[metrics["scenario"] == scenario], labels, place.models, value)


def label_means(study: Study, scenario: str) -> pd.DataFrame:
    """Return each model's Dice by label, means over replicates."""
    labels = study.scenario(scenario).tested_labels
    return pd.DataFrame({label: model_dice(study, scenario, [label])["mean"] for label in labels})


def dice_by_label(study: Study, scenario: str) -> pd.DataFrame:
    """Return each model's Dice by label and their mean, over replicates, as texts with 95 % t intervals."""
    tested = study.scenario(scenario).tested_labels
    columns = {label: [label] for label in tested} | ({"mean": list(tested)} if len(tested) > 1 else {})
    found = {name: model_dice(study, scenario, labels) for name, labels in columns.items()}
    shown = {
        name: table.apply(lambda row: with_interval(row["mean"], row["low"], row["high"], "z.3f"), axis=1)
        for name, table in found.items()
    }
    return pd.DataFrame(shown).assign(replicates=next(reversed(found.values()))["replicates"])


def settings(study: Study, scenario: str, keys: Sequence[str]) -> pd.DataFrame:
    """Return some options of each model's network, a column each; None where a network is built without it."""
    models = study.scenario(scenario).models
    specs = {model: study.params.network_for(study.models[model]) for model in models}
    return pd.DataFrame(
        {key: [spec.get(key) for spec in specs.values()] for key in keys}, index=pd.Index(models, name="model")
    )


def costs(study: Study, scenarios: Sequence[str]) -> pd.DataFrame:
    """Return what the networks of all models of some scenarios cost, for a training patch, index model.

    The columns of `network_cost`; and ``ms per step`` as measured in training, with sampling, validation and whatever
    else the machine did, a mean over runs.
    """
    rows = {}
    known: dict[str, dict[str, float]] = {}  # many models share a network
    for scenario in map(study.scenario, scenarios):
        for name in scenario.models:
            model = study.models[name]
            spec, size = study.params.network_for(model), study.params.training_for(model).patch_size
            asked = spec, len(scenario.modalities), 1 + len(scenario.labels), size
            if str(asked) not in known:
                known[str(asked)] = network_cost(*asked)
            runs = [run for run in study.runs_of(scenario.name) if run.model == name]
            facts = finished_runs.network_facts(network for run in runs for network in run.networks)
            ms = 1000 * float(np.mean([f["seconds"] / f["steps"] for f in facts])) if facts else np.nan
            rows[name] = {**known[str(asked)], "ms per step": ms}
    return pd.DataFrame.from_dict(rows, "index").rename_axis("model")


def curves(
    study: Study, scenarios: Sequence[str], x: pd.Series, series: pd.Series, panels: Mapping[str, Sequence[str]]
) -> pd.DataFrame:
    """Return the table of `report.figures.curves.setting_curves`, from `model_dice` of some scenarios.

    Parameters
    ----------
    x, series
        Index model: where it lies, and on which curve; models without either are left out.
    panels
        Name -> the labels whose mean Dice it shows; none for all that are tested.
    """
    parts = [
        model_dice(study, scenario, labels).assign(panel=panel)
        for panel, labels in panels.items()
        for scenario in scenarios
    ]
    table = pd.concat(parts) if parts else pd.DataFrame(columns=["panel", "replicates", "mean", "low", "high"])
    table = table.assign(x=x.reindex(table.index), series=series.reindex(table.index)).dropna(subset=["x", "series"])
    table = table.reset_index().sort_values(["series", "x"], kind="stable")
    return table.sort_values("panel", key=lambda names: names.map(list(panels).index), kind="stable", ignore_index=True)
