"""Verdicts: differences of models by role or by name, each against a margin that was fixed before.

The unit is the replicate, see `replicates`. A verdict on several comparisons is *holds* if every one passes, *does not
hold* if some fails, else *inconclusive*, corrected for the number of questions that are asked together (Holm); fewer
than three replicates are never conclusive. All else is exploratory, or holds by the way in which phantoms are made.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..settings.models import SELECTIVE, SEPARATE, SEPARATE_SHARED
from ..study import finished_runs
from ..study.scenarios import Scenario
from ..study.study import Study
from .model_comparison import holm
from .replicates import Interval, in_every, in_some, model_intervals, replicate_means, verdict

COLUMNS = ("finding", "endpoint", "scenario", "thesis", "ours", "low", "high", "margin", "verdict")

MARGINS = {"anatomy": 0.02, "lesion": 0.05}
"""Differences of Dice that do not matter. Anatomy: what two versions of a segmentation program differ by. Lesions:
half of what two raters differ by, or less."""

KINDS: Mapping[str, frozenset[str]] = {
    "anatomy": frozenset({"csf", "gm", "wm"}), "lesion": frozenset({"wmh", "oedema", "tumour"}),
}  # fmt: skip
"""Endpoints that have a name of their own, and the labels that they may hold."""

EVERY = "every"
"""Stands for all scenarios with several tasks, in the column ``scenario``."""

EXPLORATORY, BY_CONSTRUCTION = "exploratory", "by construction"

SAME_INPUTS, SAME_COMPUTE = "separate networks, same inputs", "separate networks, same compute"

Question = tuple[str, str, str]
"""Number of a finding, what is claimed, and what is measured."""

Row = tuple[object, ...]
"""A row of a ledger before its verdict, see `row`."""

Published = Callable[[Scenario, Sequence[str], str, str], float]
"""(scenario, labels, first model, second model) -> their difference in a publication, NaN if it has none."""


@dataclass(frozen=True)
class Contrast:
    """A difference of two models by role, on each endpoint of each scenario with several tasks."""

    number: str
    claim: str
    """As in the publication's conclusions, or after them."""
    first: str
    second: str
    """Roles, see `model_in_role`."""
    superior: bool = False
    """Whether the first must be better than the second by the margin; else it must not be worse by more."""
    somewhere: bool = False
    """Whether one endpoint of a scenario suffices."""

    def threshold(self, endpoint: str) -> float:
        """Return what the difference must exceed."""
        return margin(endpoint) * (1 if self.superior else -1)


@dataclass(frozen=True)
class Claim:
    """A claim and its rule."""

    number: str
    """A letter for the companion, and a number."""
    claim: str
    measure: str
    """What is measured, in words."""
    scenario: str
    pairs: tuple[tuple[str, ...], ...]
    """The comparisons: of each pair the value of the first model minus that of the second, or the value of the first
    where it stands alone, must exceed `threshold`."""
    threshold: float
    """In units of `value`. Of differences it is a margin: above 0 the first must be better by that much, below 0 it
    must not be worse by more."""
    labels: tuple[str, ...] = ()
    """Their mean is compared; by default that of all that the test cohort draws."""
    value: str = "dice"
    """Column of the metrics, of which more is better, unless `less_is_better`."""
    less_is_better: bool = False
    published: float = float("nan")
    """The difference in the source, where it prints one."""


def several_tasks(study: Study) -> list[Scenario]:
    """Return the scenarios with several tasks."""
    return [scenario for scenario in study.scenarios.values() if len(scenario.tasks) > 1]


def margin(endpoint: str) -> float:
    """Return the margin of an endpoint."""
    return MARGINS.get(endpoint, MARGINS["lesion"])


def endpoints(scenario: Scenario) -> dict[str, tuple[str, ...]]:
    """Return the endpoints of a scenario: name -> the labels of a task that a test cohort draws.

    The name is ``anatomy`` for tissues, ``lesion`` for the known kinds of pathology, and else the labels themselves.
    """
    found: dict[str, tuple[str, ...]] = {}
    for task in scenario.tasks:
        known = {label for names in found.values() for label in names}
        labels = tuple(
            label
            for label in task[0].code_map.annotates
            if label not in known and any(frozenset([label]) in test.code_map.sets for test in scenario.tests)
        )
        name = next((name for name, known in KINDS.items() if set(labels) <= known), "+".join(labels))
        if labels:
            found["+".join(labels) if name in found else name] = labels
    return found


def model_in_role(study: Study, scenario: Scenario, role: str) -> str | None:
    """Return the name of the model that plays a role in a scenario, None if there is none.

    A role is the name of a built-in model; or separate networks that see the same images as the others, or that
    together take no more steps than the selective one.
    """
    models, training = scenario.models, study.params.training_for
    if role == SAME_INPUTS:
        shared = [SEPARATE_SHARED] if scenario.params.own_modalities else [SEPARATE_SHARED, SEPARATE]
        return next((m for m in shared if m in models), None)
    if role == SAME_COMPUTE:
        steps = training(study.models[SELECTIVE]).steps / len(scenario.tasks)
        separate = [m for m in models if study.models[m].networks == "per_task"]
        return next((m for m in separate if training(study.models[m]).steps <= steps), None)
    if role == SEPARATE and not scenario.params.own_modalities:
        return None  # it is the one with the same inputs
    return role if role in models else None


def endpoint_table(study: Study, metrics: pd.DataFrame) -> pd.DataFrame:
    """Return each model's Dice on each endpoint: ``replicates, mean, low, high``, a t interval over replicates."""
    rows = [
        (name, endpoint, *found)
        for name, scenario in study.scenarios.items()
        for endpoint, labels in endpoints(scenario).items()
        for found in model_intervals(metrics[metrics["scenario"] == name], labels, scenario.models).itertuples()
    ]
    columns = ["scenario", "endpoint", "model", "replicates", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:3])


# -- rows ----------------------------------------------------------------------------------------------------------


def row(
    question: Question,
    endpoint: str,
    scenario: str,
    estimate: Interval,
    *,
    thesis: float = np.nan,
    margin: float = np.nan,
    verdict: str = EXPLORATORY,
) -> Row:
    """Return a row of a ledger; a `verdict` of ``""`` is still to come, see `settled`."""
    (finding, *words), e = question, estimate
    judged = (thesis, e.mean, e.low, e.high, margin, verdict)
    return finding, endpoint, scenario, *judged, *words, e.n, e.p_above, e.p_below


def settled(rows: Sequence[Row]) -> pd.DataFrame:
    """Return rows as a table in which every verdict that was to come is there.

    Questions on all scenarios are corrected for their number; one question that is asked scenario by scenario, for that
    of scenarios.
    """
    table = pd.DataFrame(rows, columns=[*COLUMNS, "claim", "measure", "replicates", "p_above", "p_below"])
    judged = table["verdict"] == ""
    by_scenario = table[judged & (table["scenario"] != EVERY)].groupby(["finding", "endpoint"], sort=False)
    for who in (judged & (table["scenario"] == EVERY), *(part.index for _, part in by_scenario)):
        above, below = (holm(table.loc[who, p].to_numpy(dtype=float)) for p in ("p_above", "p_below"))
        table.loc[who, "verdict"] = [verdict(a, b) for a, b in zip(above, below, strict=True)]
    return table.drop(columns=["p_above", "p_below"])


def contrast_rows(study: Study, c: Contrast, metrics: pd.DataFrame, judged: bool, published: Published) -> list[Row]:
    """Return the rows of a contrast: every scenario with several tasks, and if it is judged, all of them together."""
    found: dict[tuple[str, str], tuple[Interval, float]] = {}
    for scenario in several_tasks(study):
        first, second = (model_in_role(study, scenario, role) for role in (c.first, c.second))
        if first is None or second is None:
            continue
        part = metrics[(metrics["scenario"] == scenario.name) & metrics["model"].isin([first, second])]
        for endpoint, labels in endpoints(scenario).items():
            means = replicate_means(part, labels)
            if {first, second} <= set(means.columns):
                estimate = Interval.of((means[first] - means[second]).to_numpy(), c.threshold(endpoint))
                found[endpoint, scenario.name] = estimate, published(scenario, labels, first, second)
    measure = f"Dice of {c.first.replace('_', ' ')} minus {c.second.replace('_', ' ')}"
    awaited = "" if judged and not c.somewhere else EXPLORATORY
    rows = []
    for (endpoint, name), (estimate, theirs) in found.items():
        question, limit = (c.number, c.claim, measure), margin(endpoint) if judged else np.nan
        rows.append(row(question, endpoint, name, estimate, thesis=theirs, margin=limit, verdict=awaited))
    together: dict[str, list[tuple[Interval, float]]] = {}
    for (endpoint, name), value in found.items() if judged else ():
        together.setdefault(name if c.somewhere else endpoint, []).append(value)
    if c.somewhere and together:
        together = {"any": [(in_some([e for e, _ in at]), max(t for _, t in at)) for at in together.values()]}
    whole = []
    for endpoint, values in together.items():
        question = c.number, c.claim, f"{measure}, in the scenario where that is least"
        limit = np.nan if endpoint == "any" else margin(endpoint)
        least, theirs = in_every([e for e, _ in values]), min(t for _, t in values)
        whole.append(row(question, endpoint, EVERY, least, thesis=theirs, margin=limit, verdict=""))
    return [*whole, *rows]


def judge(study: Study, claims: Sequence[Claim]) -> pd.DataFrame:
    """Judge some claims together by the finished runs of a study.

    Returns
    -------
    pd.DataFrame
        A row per claim, with the scenario `EVERY`: the least difference and its verdict; below it, where there are
        several comparisons, a row per comparison, *exploratory*, whose endpoint names the models. Claims for which the
        study lacks a scenario or a model are left out.
    """
    rows: list[Row] = []
    metrics = finished_runs.metrics(study)
    for c in claims:
        if c.scenario not in study.scenarios:
            continue
        labels = c.labels or study.scenario(c.scenario).tested_labels
        means = replicate_means(metrics[metrics["scenario"] == c.scenario], labels, c.value)
        if not {model for pair in c.pairs for model in pair} <= set(means.columns):
            continue
        parts = []
        for first, *second in c.pairs:
            values = means[first] - (means[second[0]] if second else 0)
            values = (-values if c.less_is_better else values).to_numpy(dtype=float)
            parts.append((" - ".join([first, *second]), Interval.of(values, c.threshold)))
        limit = abs(c.threshold) if all(len(pair) == 2 for pair in c.pairs) else np.nan
        question, whole = (c.number, c.claim, c.measure), in_every([e for _, e in parts])
        rows.append(row(question, "+".join(labels), EVERY, whole, thesis=c.published, margin=limit, verdict=""))
        if len(parts) > 1:
            rows += [row(question, name, c.scenario, e, margin=limit) for name, e in parts]
    return settled(rows)


def summary(verdicts: Sequence[str]) -> str:
    """Return how many published findings held, did not, and stayed open, by their verdicts, in a sentence or two."""
    held, failed = verdicts.count("holds"), verdicts.count("does not hold")
    text = f"Of {len(verdicts)} published findings {held} held here, {failed} did not, and "
    text += f"{len(verdicts) - held - failed} stayed open."
    if held + failed < len(verdicts):
        text += " More replicates settle more: `replicates: 8` in the params file."
    return text


def answers(table: pd.DataFrame, claims: Sequence[Claim]) -> str:
    """Return the verdicts on some claims, from `judge`, in Markdown: how many hold, and a line per claim."""
    asked = table[(table["scenario"] == EVERY) & table["finding"].isin([c.number for c in claims])]
    if asked.empty:
        return "This study has none of the models that the findings speak of."
    lines = []
    for found in asked.itertuples():
        interval = f", {found.low:.3f} to {found.high:.3f}" if np.isfinite(found.low) else ""
        value = f"{found.measure}: {found.ours:.3f}{interval}; {found.replicates} replicates"
        lines.append(f"- {found.finding}. {found.claim}: **{found.verdict}** ({value})")
    return "\n".join([summary(asked["verdict"].tolist()), "", *lines])
