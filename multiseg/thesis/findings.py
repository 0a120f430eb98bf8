"""The ledger of findings: what the thesis claims, by the roles that models and data sets play, and whether it holds.

Findings are questions about roles (single tasks, one network for several, separate networks, the naive model, the
oracle), so that they can be asked of any study. A scenario has an *endpoint* per task, the mean Dice of its labels on
the test cases; endpoints are never averaged together. The unit is the replicate, see `statistics.replicates`.

Only the contrasts of `PRIMARY` get a verdict, by margins that were fixed beforehand (`MARGINS`), over all scenarios and
corrected for their number (Holm). All else is exploratory, or holds by the way in which phantoms are made.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from multiseg_core.networks import build_network, count_parameters

from ..results import cohort_tables, domain_distance, origin
from ..results.model_comparison import holm
from ..results.replicates import Estimate, in_every, in_some, replicate_means, verdict
from ..settings.models import DICE, NAIVE, ORACLE, SELECTIVE, SELECTIVE_DICE, SEPARATE, SEPARATE_SHARED, UNIFORM
from ..study import finished_runs
from ..study.scenarios import Scenario
from ..study.study import Study
from . import reported

COLUMNS = ("finding", "endpoint", "scenario", "thesis", "ours", "low", "high", "margin", "verdict")

MARGINS = {"anatomy": 0.02, "lesion": 0.05}
"""Differences of Dice that do not matter. Anatomy: what two versions of a segmentation program differ by. Lesions:
half of what two raters differ by, or less."""

EVERY = "every"
"""Stands for all scenarios with several tasks, in the column ``scenario``."""

EXPLORATORY, BY_CONSTRUCTION = "exploratory", "by construction"


@dataclass(frozen=True)
class Contrast:
    """A difference of two models by role, on each endpoint of each scenario with several tasks.

    Attributes
    ----------
    number, claim
        As in the thesis's conclusions, or after them.
    first, second
        Roles, see `model_in_role`.
    superior
        Whether the first must be better than the second by the margin; else it must not be worse by more.
    somewhere
        Whether one endpoint of a scenario suffices.
    """

    number: str
    claim: str
    first: str
    second: str
    superior: bool = False
    somewhere: bool = False

    def threshold(self, endpoint: str) -> float:
        """Return what the difference must exceed."""
        return margin(endpoint) * (1 if self.superior else -1)


SAME_INPUTS, SAME_COMPUTE = "separate networks, same inputs", "separate networks, same compute"

PRIMARY = (
    Contrast("2", "The naive model fails at one task or another", SELECTIVE, NAIVE, superior=True, somewhere=True),
    Contrast("4", "One selective network is as good as separate ones that see the same images", SELECTIVE, SAME_INPUTS),
    Contrast("11", "It is as good as one that learns from complete labels of the same cases", SELECTIVE, ORACLE),
)
"""The contrasts that are judged."""

SECONDARY = (
    Contrast("4b", "Against separate networks that see all that their own cohorts have", SELECTIVE, SEPARATE),
    Contrast("4c", "Against separate networks that together train as long", SELECTIVE, SAME_COMPUTE),
    Contrast("5", "The Dice model, against selective cross-entropy", DICE, SELECTIVE),
    Contrast("6", "Selective Dice, against selective cross-entropy", SELECTIVE_DICE, SELECTIVE),
    Contrast("9", "Patches around labels, against patches anywhere", SELECTIVE, UNIFORM),
)
"""Those that are only looked at."""


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


KINDS: Mapping[str, frozenset[str]] = {
    "anatomy": frozenset(reported.ANATOMY), "lesion": frozenset({"wmh", "oedema", "tumour"}),
}  # fmt: skip


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
    rows = []
    for name, scenario in study.scenarios.items():
        for endpoint, labels in endpoints(scenario).items():
            means = replicate_means(metrics[metrics["scenario"] == name], labels)
            for model in (m for m in scenario.models if m in means):
                e = Estimate.of(means[model].to_numpy())
                rows.append((name, endpoint, model, int(means[model].notna().sum()), e.mean, e.low, e.high))
    columns = ["scenario", "endpoint", "model", "replicates", "mean", "low", "high"]
    return pd.DataFrame(rows, columns=columns).set_index(columns[:3])


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
    several = [s for s in study.scenarios.values() if len(s.tasks) > 1]
    rows = _single_tasks(study, metrics)
    for contrast in (*PRIMARY, *SECONDARY):
        rows += _contrast(study, several, metrics, contrast)
    rows += _recognition(study) + _volumes(several, metrics) + _constructed(study, several, metrics)
    table = pd.DataFrame(rows, columns=[*COLUMNS, "claim", "measure", "replicates", "p_above", "p_below"])
    judged = table["verdict"] == ""
    for who in (judged & (table["scenario"] == EVERY), *_groups(table[judged & (table["scenario"] != EVERY)])):
        above, below = (holm(table.loc[who, p].to_numpy(dtype=float)) for p in ("p_above", "p_below"))
        table.loc[who, "verdict"] = [verdict(a, b) for a, b in zip(above, below, strict=True)]
    number = table["finding"].str.extract(r"(\d+)(.*)")
    order = number.assign(first=number[0].astype(float)).sort_values(["first", 1], kind="stable").index
    return table.drop(columns=["p_above", "p_below"]).loc[order].reset_index(drop=True)


def _groups(rows: pd.DataFrame) -> list[pd.Index]:
    """Return the rows of each finding on each endpoint: one question, asked of every scenario."""
    return [part.index for _, part in rows.groupby(["finding", "endpoint"], sort=False)]


def _row(
    finding: str, claim: str, measure: str, endpoint: str, scenario: str, estimate: Estimate, n: int, *,
    thesis: float = float("nan"), margin: float = float("nan"), verdict: str = EXPLORATORY,
) -> dict[str, object]:  # fmt: skip
    return {
        "finding": finding, "endpoint": endpoint, "scenario": scenario, "thesis": thesis, "ours": estimate.mean,
        "low": estimate.low, "high": estimate.high, "margin": margin, "verdict": verdict, "claim": claim,
        "measure": measure, "replicates": n, "p_above": estimate.p_above, "p_below": estimate.p_below,
    }  # fmt: skip


def _contrast(
    study: Study, scenarios: Sequence[Scenario], metrics: pd.DataFrame, c: Contrast
) -> list[dict[str, object]]:
    """Return the rows of a contrast: every scenario and endpoint, and those over all scenarios for primary ones."""
    primary = c in PRIMARY
    rows, by_endpoint = [], dict[str, dict[str, Estimate]]()
    thesis: dict[tuple[str, str], float] = {}
    ns = []
    for scenario in scenarios:
        models = [model_in_role(study, scenario, role) for role in (c.first, c.second)]
        if None in models:
            continue
        part = metrics[(metrics["scenario"] == scenario.name) & metrics["model"].isin(models)]
        for endpoint, labels in endpoints(scenario).items():
            means = replicate_means(part, labels)
            if not set(models) <= set(means.columns):
                continue
            differences = (means[models[0]] - means[models[1]]).to_numpy()
            estimate = Estimate.of(differences, c.threshold(endpoint))
            by_endpoint.setdefault(endpoint, {})[scenario.name] = estimate
            thesis[endpoint, scenario.name] = thesis_difference(scenario, labels, str(models[0]), str(models[1]))
            ns.append(int(np.count_nonzero(~np.isnan(differences))))
            rows.append(
                _row(
                    c.number, c.claim, _measure(c), endpoint, scenario.name, estimate, ns[-1],
                    thesis=thesis[endpoint, scenario.name], margin=margin(endpoint) if primary else np.nan,
                    verdict="" if primary and not c.somewhere else EXPLORATORY,
                )
            )  # fmt: skip
    if not primary or not rows:
        return rows
    judged = by_endpoint
    if c.somewhere:
        places = {s: [(e, found[s]) for e, found in by_endpoint.items() if s in found] for s in metrics["scenario"]}
        judged = {"any": {s: in_some([e for _, e in found]) for s, found in places.items() if found}}
        for s in judged["any"]:
            thesis["any", s] = max(thesis[e, s] for e, _ in places[s])
    every = []
    for endpoint, found in judged.items():
        all_of_them = in_every(list(found.values()))
        least = min(thesis[endpoint, s] for s in found)
        every.append(
            _row(
                c.number, c.claim, f"{_measure(c)}, in the scenario where that is least", endpoint, EVERY, all_of_them,
                min(ns), thesis=least, margin=np.nan if endpoint == "any" else margin(endpoint), verdict="",
            )
        )  # fmt: skip
    return every + rows


def _measure(c: Contrast) -> str:
    first, second = (role.replace("_", " ") for role in (c.first, c.second))
    return f"Dice of {first} minus {second}"


def thesis_difference(scenario: Scenario, labels: Sequence[str], first: str, second: str) -> float:
    """Return the difference of two models in the thesis: of the means over labels of its medians over cases."""
    table = reported.dice(*scenario.place)
    found = table[table["label"].isin(labels)].pivot_table(index="label", columns="model", values="dice")
    second = SEPARATE if second == SEPARATE_SHARED and not scenario.params.own_modalities else second
    if not {first, second} <= set(found.columns) or len(found) < len(labels):
        return float("nan")
    return float((found[first] - found[second]).mean())


def _single_tasks(study: Study, metrics: pd.DataFrame) -> list[dict[str, object]]:
    """Finding 1: how far the losses lie apart on single tasks."""
    rows = []
    for scenario in study.scenarios.values():
        labels = list(scenario.tested_labels)
        means = replicate_means(metrics[metrics["scenario"] == scenario.name], labels)
        losses = [m for m in (NAIVE, DICE, SELECTIVE_DICE) if m in means.columns]
        if len(scenario.tasks) > 1 or len(losses) < 2:
            continue
        values = (means[losses].max(axis=1) - means[losses].min(axis=1)).to_numpy()
        known = reported.dice(*scenario.place)
        theirs = known[(known["label"] == "mean") & known["model"].isin(losses)]["dice"]
        rows.append(
            _row(
                "1", "Every loss learns every single task about as well", "largest difference of Dice between losses",
                "+".join(labels), scenario.name, Estimate.of(values), int(means[losses].notna().all(axis=1).sum()),
                thesis=float(theirs.max() - theirs.min()) if len(theirs) > 1 else np.nan,
            )
        )  # fmt: skip
    return rows


def _recognition(study: Study) -> list[dict[str, object]]:
    """Finding 3: what the naive model leaves out on images of the other cohorts, and what the selective one does."""
    done = [run for run in study.runs if run.model in (NAIVE, SELECTIVE) and finished_runs.is_finished(run)]
    shares = origin.relative_shares(origin.labelled_shares(study, done))
    rows = []
    for (scenario, task, model), part in shares.groupby(["scenario", "task", "model"], sort=False):
        number, who = ("3", "The naive model") if model == NAIVE else ("3b", "The selective model")
        claim = f"{who} and the origin of an image: what it labels on images of cohorts that do not draw it"
        name = "anatomy" if set(str(task).split("+")) <= KINDS["anatomy"] else str(task)
        values = part["share"].to_numpy()
        known = reported.scenario_place(*study.scenario(str(scenario)).place)
        rows.append(
            _row(
                number, claim, "share of the brain with these labels, as a part of that on own images", name,
                str(scenario), Estimate.of(values), len(values),
                thesis=0.0 if model == NAIVE and known is not None else np.nan,
            )
        )  # fmt: skip
    return rows


def _volumes(scenarios: Sequence[Scenario], metrics: pd.DataFrame) -> list[dict[str, object]]:
    """Finding 6a: lesions that selective Dice finds where there are none."""
    rows = []
    for scenario in scenarios:
        labels = endpoints(scenario).get("lesion", ())
        part = metrics[(metrics["scenario"] == scenario.name) & (metrics["model"] == SELECTIVE_DICE)]
        sums = part[part["label"].isin(labels)].groupby("replicate")[["volume_pred_ml", "volume_true_ml"]].sum()
        values = (sums["volume_pred_ml"] / sums["volume_true_ml"]).to_numpy()
        if len(values):
            claim = "Selective Dice finds lesions, but also where there are none"
            measure = "volume of lesions that it predicts, as a multiple of the true one"
            rows.append(_row("6a", claim, measure, "lesion", scenario.name, Estimate.of(values), len(values)))
    return rows


def _constructed(study: Study, scenarios: Sequence[Scenario], metrics: pd.DataFrame) -> list[dict[str, object]]:
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
            values = (a[SELECTIVE] - b[SELECTIVE]).to_numpy()
            rows.append(
                _row(
                    "7", "Models are much worse with IBSR than with MRBrainS13",
                    "mean Dice of selective cross-entropy, MRBrainS13+17 minus IBSR+17", "all labels", apart.name,
                    Estimate.of(values), len(values), thesis=_thesis_mean(alike) - _thesis_mean(apart), verdict=word,
                )
            )  # fmt: skip
    ours, theirs = reported.divergences_beside_thesis(study.cohorts, cohort_tables.open_cases(study))
    if theirs is not None and np.isfinite(rho := domain_distance.agreement(ours, theirs)[0]):
        claim = "MRBrainS cohorts are close in intensity, TumorSim is close to BraTS12, BrainWeb is far from all"
        measure = "Spearman's correlation of the divergences between cohorts with the thesis's"
        rows.append(
            _row("8", claim, measure, "T1", EVERY, Estimate.of(np.array([rho])), 1, thesis=1.0, verdict=word)
        )  # fmt: skip
    if (cost := _cost(study)) is not None:
        measure = "parameters of the separate networks, as a multiple of those of the selective one"
        claim, one = "Separate networks cost a network per task", Estimate.of(np.array([cost]))
        rows.append(
            _row("10", claim, measure, "parameters", EVERY, one, 1, thesis=2.0, verdict=BY_CONSTRUCTION)
        )  # fmt: skip
    return rows


def _thesis_mean(scenario: Scenario) -> float:
    """Return the mean Dice of selective cross-entropy in the thesis."""
    table = reported.dice(*scenario.place)
    return float(table.set_index(["model", "label"])["dice"][SELECTIVE, "mean"])


def _cost(study: Study) -> float | None:
    """Parameters of MultiUNet's networks as a multiple of the single network's, over scenarios with several tasks."""
    ratios = []
    for name, scenario in study.scenarios.items():
        counts = {
            run.model: sum(
                count_parameters(build_network(n.network, len(n.modalities), 1 + len(n.labels))) for n in run.networks
            )
            for run in study.runs_of(name)
            if run.model in (SEPARATE, SELECTIVE)
        }
        if len(counts) == 2 and len(scenario.tasks) > 1:
            ratios.append(counts[SEPARATE] / counts[SELECTIVE])
    return float(np.mean(ratios)) if ratios else None
