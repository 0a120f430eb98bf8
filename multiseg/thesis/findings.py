"""The ledger of findings: what the thesis claims, by the roles that models and data sets play, and whether it holds.

Findings are questions about roles (single tasks, one network for several, separate networks, the naive model, the
oracle), so that they can be asked of any study. A scenario has an *endpoint* per task, the mean Dice of its labels on
the test cases; endpoints are never averaged together. The unit is the replicate, see `results.replicates`.

Only the contrasts of `PRIMARY` get a verdict, by margins that were fixed beforehand (`MARGINS`), over all scenarios and
corrected for their number (Holm). All else is exploratory, or holds by the way in which phantoms are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from multiseg_core.networks import build_network, count_parameters

from ..base.files import yaml_beside
from ..results import cohort_tables, domain_distance, origin
from ..results.replicates import Interval, replicate_means
from ..results.verdicts import (
    BY_CONSTRUCTION,
    EVERY,
    EXPLORATORY,
    KINDS,
    Contrast,
    Row,
    contrast_rows,
    endpoints,
    row,
    settled,
    several_tasks,
)
from ..settings.models import DICE, NAIVE, SELECTIVE, SELECTIVE_DICE, SEPARATE, SEPARATE_SHARED
from ..study import finished_runs
from ..study.plan import Run
from ..study.scenarios import Scenario
from ..study.study import Study
from . import reported

_CONTRASTS = TypeAdapter(dict[str, tuple[Contrast, ...]]).validate_python(yaml_beside(__file__, "contrasts.yaml"))
PRIMARY, SECONDARY = _CONTRASTS["primary"], _CONTRASTS["secondary"]
"""The contrasts that are judged, and those that are only looked at."""

RECOGNITION = "share of the brain with these labels, as a part of that on own images"
VOLUMES = "volume of lesions that it predicts, as a multiple of the true one"
COST = "parameters of the separate networks, as a multiple of those of the selective one"
RATIOS = frozenset({RECOGNITION, VOLUMES, COST})
"""What is measured and is 1 where nothing differs; all else is a difference, and 0."""


# -- the table -----------------------------------------------------------------------------------------------------


def make_ledger(study: Study) -> pd.DataFrame:
    """Put the findings together from the finished runs of a study. Raises `UserError` if there is none.

    Returns
    -------
    pd.DataFrame
        `COLUMNS` and ``claim``, ``measure``, ``replicates``. ``verdict`` is *holds*, *does not hold* or *inconclusive*
        for primary contrasts, else *exploratory* or *by construction*. Findings for which the study lacks a role are
        left out.
    """
    metrics = finished_runs.metrics(study)
    several = several_tasks(study)
    rows = _single_tasks(study, metrics)
    for contrast in (*PRIMARY, *SECONDARY):
        rows += contrast_rows(study, contrast, metrics, contrast in PRIMARY, thesis_difference)
    rows += _recognition(study) + _volumes(several, metrics) + _constructed(study, several, metrics)
    table = settled(rows)
    number = table["finding"].str.extract(r"(\d+)(.*)")
    order = number.assign(first=number[0].astype(float)).sort_values(["first", 1], kind="stable").index
    return table.loc[order].reset_index(drop=True)


def thesis_difference(scenario: Scenario, labels: Sequence[str], first: str, second: str) -> float:
    """Return the difference of two models in the thesis: of the means over labels of its medians over cases."""
    table = reported.dice(*scenario.place)
    found = table[table["label"].isin(labels)].pivot_table(index="label", columns="model", values="dice")
    second = SEPARATE if second == SEPARATE_SHARED and not scenario.params.own_modalities else second
    if not {first, second} <= set(found.columns) or len(found) < len(labels):
        return float("nan")
    return float((found[first] - found[second]).mean())


def _single_tasks(study: Study, metrics: pd.DataFrame) -> list[Row]:
    """Finding 1: how far the losses lie apart on single tasks."""
    question = "1", "Every loss learns every single task about as well", "largest difference of Dice between losses"
    rows = []
    for scenario in study.scenarios.values():
        labels = list(scenario.tested_labels)
        means = replicate_means(metrics[metrics["scenario"] == scenario.name], labels)
        losses = [m for m in (NAIVE, DICE, SELECTIVE_DICE) if m in means.columns]
        if len(scenario.tasks) > 1 or len(losses) < 2:
            continue
        estimate = Interval.of((means[losses].max(axis=1) - means[losses].min(axis=1)).to_numpy())
        estimate = replace(estimate, n=int(means[losses].notna().all(axis=1).sum()))
        known = reported.dice(*scenario.place)
        theirs = known[(known["label"] == "mean") & known["model"].isin(losses)]["dice"]
        apart = float(theirs.max() - theirs.min()) if len(theirs) > 1 else np.nan
        rows.append(row(question, "+".join(labels), scenario.name, estimate, thesis=apart))
    return rows


def _recognition(study: Study) -> list[Row]:
    """Finding 3: what the naive model leaves out on images of the other cohorts, and what the selective one does."""
    done = [run for run in study.runs if run.model in (NAIVE, SELECTIVE) and finished_runs.is_finished(run)]
    shares = origin.relative_shares(origin.labelled_shares(study, done))
    rows = []
    for (scenario, task, model), part in shares.groupby(["scenario", "task", "model"], sort=False):
        number, who = ("3", "The naive model") if model == NAIVE else ("3b", "The selective model")
        claim = f"{who} and the origin of an image: what it labels on images of cohorts that do not draw it"
        name = "anatomy" if set(str(task).split("+")) <= KINDS["anatomy"] else str(task)
        known = reported.scenario_place(*study.scenario(str(scenario)).place)
        theirs = 0.0 if model == NAIVE and known is not None else np.nan
        estimate = replace(Interval.of(part["share"].to_numpy()), n=len(part))
        rows.append(row((number, claim, RECOGNITION), name, str(scenario), estimate, thesis=theirs))
    return rows


def _volumes(scenarios: Sequence[Scenario], metrics: pd.DataFrame) -> list[Row]:
    """Finding 6a: lesions that selective Dice finds where there are none."""
    question = "6a", "Selective Dice finds lesions, but also where there are none", VOLUMES
    rows = []
    for scenario in scenarios:
        labels = endpoints(scenario).get("lesion", ())
        part = metrics[(metrics["scenario"] == scenario.name) & (metrics["model"] == SELECTIVE_DICE)]
        sums = part[part["label"].isin(labels)].groupby("replicate")[["volume_pred_ml", "volume_true_ml"]].sum()
        values = (sums["volume_pred_ml"] / sums["volume_true_ml"]).to_numpy()
        if len(values):
            rows.append(row(question, "lesion", scenario.name, Interval.of(values)))
    return rows


def _constructed(study: Study, scenarios: Sequence[Scenario], metrics: pd.DataFrame) -> list[Row]:
    """What follows from how networks are counted and phantoms are made: findings 7, 8 and 10."""
    rows = []
    phantoms = all(study.params.cohorts[c].source == "phantom" for s in scenarios for c in s.cohorts)
    word = BY_CONSTRUCTION if phantoms else EXPLORATORY
    place = {(*s.place[0], s.place[1]): s for s in scenarios}
    alike, apart = (place.get((first, "mrbrains17", "mrbrains18")) for first in ("mrbrains13", "ibsr"))
    if alike and apart:
        labels = [label for names in endpoints(alike).values() for label in names]
        a, b = (replicate_means(metrics[metrics["scenario"] == s.name], labels) for s in (alike, apart))
        if SELECTIVE in a and SELECTIVE in b:
            measure = "mean Dice of selective cross-entropy, MRBrainS13+17 minus IBSR+17"
            question = "7", "Models are much worse with IBSR than with MRBrainS13", measure
            estimate = Interval.of((a[SELECTIVE] - b[SELECTIVE]).to_numpy())
            tables = (reported.dice(*s.place).set_index(["model", "label"])["dice"] for s in (alike, apart))
            theirs, less = (float(table[SELECTIVE, "mean"]) for table in tables)
            rows.append(row(question, "all labels", apart.name, estimate, thesis=theirs - less, verdict=word))
    ours, thesis = reported.divergences_beside_thesis(study.cohorts, cohort_tables.open_cases(study))
    if thesis is not None and np.isfinite(rho := domain_distance.agreement(ours, thesis)[0]):
        claim = "MRBrainS cohorts are close in intensity, TumorSim is close to BraTS12, BrainWeb is far from all"
        question = "8", claim, "Spearman's correlation of the divergences between cohorts with the thesis's"
        rows.append(row(question, "T1", EVERY, Interval.of(np.array([rho])), thesis=1.0, verdict=word))
    ratios = []
    for scenario in scenarios:
        of = {run.model: parameters(run) for run in study.runs_of(scenario.name) if run.model in (SEPARATE, SELECTIVE)}
        ratios += [of[SEPARATE] / of[SELECTIVE]] if len(of) == 2 else []
    if ratios:
        question, once = ("10", "Separate networks cost a network per task", COST), np.array([np.mean(ratios)])
        rows.append(row(question, "parameters", EVERY, Interval.of(once), thesis=2.0, verdict=BY_CONSTRUCTION))
    return rows


def parameters(run: Run) -> int:
    """Return the number of parameters of a run's networks together."""
    sizes = ((n.network, len(n.modalities), 1 + len(n.labels)) for n in run.networks)
    return sum(count_parameters(build_network(*size)) for size in sizes)
