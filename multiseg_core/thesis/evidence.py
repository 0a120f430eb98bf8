"""What the findings are judged by: results whose cases and seeds can be drawn again, collected from finished runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from ..exploration import cohort_tables, domain_distance
from ..models import NAIVE, SELECTIVE, SEPARATE
from ..networks import build_network, count_parameters
from ..statistics.bootstrap import mean_defined
from ..study import finished_runs
from ..study.study import Study
from . import reported

ANATOMY_WMH = ("mrbrains13", "mrbrains17", "mrbrains18")
IBSR_WMH = ("ibsr", "mrbrains17", "mrbrains18")
ANATOMY_TUMOUR = ("brainweb", "brats12", "tumorsim")
MULTI_TASK = (ANATOMY_WMH, IBSR_WMH, ANATOMY_TUMOUR)
"""The multi-task scenarios of the thesis: training cohorts, then the test cohort."""

Tested = tuple[tuple[str, ...], str]
"""A scenario, by the thesis's names as above, and a model."""


class Missing(Exception):
    """A statistic needs a scenario, model or label that the study does not have."""


class Evidence:
    """Results by scenario, model, seed, case and label, whose cases and seeds can be drawn again.

    Parameters
    ----------
    metrics
        Tidy rows of all runs.
    scenarios
        (training cohorts ..., test cohort), by the thesis's names -> scenario of the study.
    extra
        Numbers that do not depend on the test cases, by name: one per validation case or one alone, (n,).
    """

    def __init__(
        self, metrics: pd.DataFrame, scenarios: Mapping[tuple[str, ...], str], extra: Mapping[str, np.ndarray]
    ) -> None:
        self.scenarios, self.extra = scenarios, extra
        self.n_cases_used: list[int] = []  # numbers of test cases behind the means that were asked for
        self.seeds = sorted(metrics["seed"].unique())
        self.cases = {c: list(part["case"].unique()) for c, part in metrics.groupby("cohort")}
        self.drawn_seeds = np.arange(len(self.seeds))
        self.drawn_cases = {cohort: np.arange(len(cases)) for cohort, cases in self.cases.items()}
        self.arrays: dict[tuple[str, str, str, str], np.ndarray] = {}  # (seeds, cases)
        self.cohort_of: dict[str, str] = {}
        for (scenario, model, label), part in metrics.groupby(["scenario", "model", "label"]):
            cohort = part["cohort"].iloc[0]
            self.cohort_of[scenario] = cohort
            for value in ("dice", "sensitivity", "volume_true_ml", "volume_pred_ml"):
                table = part.pivot_table(index="seed", columns="case", values=value, dropna=False)
                self.arrays[scenario, model, label, value] = table.reindex(
                    index=self.seeds, columns=self.cases[cohort]
                ).to_numpy()

    def drawn(self, rng: np.random.Generator) -> Evidence:
        """Return the same evidence with cases and seeds drawn with replacement."""
        other = object.__new__(Evidence)
        other.__dict__.update(self.__dict__)
        other.n_cases_used = []
        other.drawn_seeds = rng.integers(len(self.seeds), size=len(self.seeds))
        other.drawn_cases = {c: rng.integers(len(cases), size=len(cases)) for c, cases in self.cases.items()}
        other.extra = {k: v[rng.integers(len(v), size=len(v))] for k, v in self.extra.items()}
        return other

    def labels(self, where: tuple[str, ...], model: str) -> list[str]:
        """Return the labels on which a model was tested."""
        scenario = self._scenario(where)
        found = [label for s, m, label, v in self.arrays if (s, m, v) == (scenario, model, "dice")]
        if not found:
            raise Missing(f"{scenario} without {model}")
        return found

    def mean(
        self, where: tuple[str, ...], model: str, labels: Sequence[str] | None = None, value: str = "dice"
    ) -> float:
        """Return the mean over drawn seeds and cases, and over labels; undefined values are left out."""
        return self.means([(where, model)], labels, value)[0]

    def difference(self, first: Tested, second: Tested, labels: Sequence[str] | None = None) -> float:
        """Return the difference of two mean Dice over the values that both have."""
        a, b = self.means([first, second], labels)
        return a - b

    def means(self, tested: Sequence[Tested], labels: Sequence[str] | None = None, value: str = "dice") -> list[float]:
        """Return the mean of each of several models over drawn seeds and cases, and over labels.

        Only the labels that all were tested on count, and, where the test cohort is the same, only the values that all
        have: the rule for undefined values that stands in `statistics.summaries`.
        """
        known = [self.labels(where, model) for where, model in tested]
        wanted = [k for k in known[0] if all(k in other for other in known) and (labels is None or k in labels)]
        if not wanted:
            names = " and ".join(f"{self._scenario(where)}/{model}" for where, model in tested)
            raise Missing(f"{names} without {labels or 'a label in common'}")
        parts = []
        for where, model in tested:
            scenario = self._scenario(where)
            cohort = self.cohort_of[scenario]
            self.n_cases_used.append(len(self.cases[cohort]))
            picked = np.ix_(self.drawn_seeds, self.drawn_cases[cohort])
            parts.append(np.stack([self.arrays[scenario, model, label, value][picked] for label in wanted]))
        if len({self.cohort_of[self._scenario(where)] for where, _ in tested}) == 1:
            undefined = np.isnan(parts).any(axis=0)
            parts = [np.where(undefined, np.nan, values) for values in parts]
        return [float(mean_defined(values.ravel(), 0)) for values in parts]

    def _scenario(self, where: tuple[str, ...]) -> str:
        if where not in self.scenarios:
            raise Missing(" + ".join(where[:-1]) + f" tested on {where[-1]}")
        return self.scenarios[where]

    def number(self, name: str) -> float:
        """Return the mean of an extra number."""
        if name not in self.extra:
            raise Missing(name)
        return float(np.mean(self.extra[name]))


# -- collecting it -------------------------------------------------------------------------------------------------


def gather(study: Study) -> Evidence:
    """Collect what the findings need from the finished runs of a study. Raises `UserError` if there is none."""
    metrics = finished_runs.metrics(study)
    scenarios = {}
    for name, scenario in study.scenarios.items():
        scenarios[tuple(cohort.imitates for cohort in (*scenario.train, scenario.test))] = name
    extra: dict[str, np.ndarray] = {}
    if len(share := _anatomy_on_lesion_images(study, scenarios)):
        extra["anatomy on lesion images"] = share
    ours, theirs = reported.divergences_beside_thesis(study.cohorts, cohort_tables.open_cases(study))
    if theirs is not None:
        extra["divergence"] = np.array([domain_distance.agreement(ours, theirs)[0]])
    if (cost := _cost(study)) is not None:
        extra["cost of MultiUNet"] = np.array([cost])
    return Evidence(metrics, scenarios, extra)


def _anatomy_on_lesion_images(study: Study, scenarios: Mapping[tuple[str, ...], str]) -> np.ndarray:
    """What the naive model labels as anatomy on lesion images, relative to anatomical ones, a number per lesion image.

    Over the multi-task scenarios and seeds; a share of the brain each, divided by the mean share on anatomical images.
    """
    shares = []
    for where in MULTI_TASK:
        if where not in scenarios:
            continue
        scenario = study.scenario(scenarios[where])
        anatomy = [k for k, label in enumerate(scenario.labels, start=1) if label in reported.ANATOMY]
        for run in study.runs_of(scenario.name):
            if run.model != NAIVE:
                continue
            found: list[list[float]] = []
            for cohort in scenario.train:
                found.append([])
                for case in scenario.split(cohort.name)[1]:
                    labelled = np.isin(finished_runs.prediction(run, case), anatomy).sum()
                    found[-1].append(labelled / np.count_nonzero(study.open(case).mask))
            anatomical, lesion = found[0], found[-1]
            if np.mean(anatomical) > 0:
                shares += [share / np.mean(anatomical) for share in lesion]
    return np.array(shares)


def _cost(study: Study) -> float | None:
    """Parameters of MultiUNet's networks as a multiple of the single network's, over the multi-task scenarios."""
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
