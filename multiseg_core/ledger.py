"""The ledger of findings: what the thesis claims in its conclusions, and whether it holds here.

Each finding is one number with a rule that is stated before the number is computed: it *holds* if the whole 95 %
interval lies on the right side of a threshold, *does not hold* if the whole interval lies on the other, and else one
*cannot tell*. Intervals come from a bootstrap that draws test cases, and seeds, with replacement; cases that two
scenarios share are drawn together. With one seed the interval says nothing about how another training would have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from . import domains, exploration, runs
from .study import MODELS, Study

MIN_CASES = 3
"""With fewer test cases, an interval over cases says nothing."""

COLUMNS = ("finding", "thesis", "ours", "low", "high", "verdict")
N_DRAWS = 1000
ANATOMY_WMH = ("mrbrains13", "mrbrains17", "mrbrains18")
IBSR_WMH = ("ibsr", "mrbrains17", "mrbrains18")
ANATOMY_TUMOUR = ("brainweb", "brats12", "tumorsim")
"""The multi-task scenarios of the thesis: training cohorts, then the test cohort."""

Statistic = Callable[["Evidence"], float]


class Missing(Exception):
    """A statistic needs a scenario, model or label that the study does not have."""


@dataclass(frozen=True)
class Finding:
    """One claim.

    Attributes
    ----------
    number
        As in the thesis's conclusions.
    claim
        What it says.
    measure
        The number that stands for it, in words.
    threshold
        The claim holds if the number is above (or, if `below`, below) this.
    thesis
        The number in the thesis, None where it gives none.
    statistic
        Computes the number.
    """

    number: str
    claim: str
    measure: str
    threshold: float
    thesis: float | None
    statistic: Statistic
    below: bool = False

    @property
    def rule(self) -> str:
        """When the claim counts as holding."""
        return f"{'below' if self.below else 'above'} {self.threshold:g}"

    def verdict(self, low: float, high: float) -> str:
        """Judge an interval."""
        if not (np.isfinite(low) and np.isfinite(high)):
            return "cannot tell"
        if self.below:
            low, high, threshold = -high, -low, -self.threshold
        else:
            threshold = self.threshold
        return "holds" if low > threshold else "does not hold" if high <= threshold else "cannot tell"


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
        scenario = self._scenario(where)
        known = self.labels(where, model)
        wanted = known if labels is None else [label for label in labels if label in known]
        if not wanted:
            raise Missing(f"{scenario}/{model} without {labels}")
        self.n_cases_used.append(len(self.cases[self.cohort_of[scenario]]))
        picked = np.ix_(self.drawn_seeds, self.drawn_cases[self.cohort_of[scenario]])
        values = np.stack([self.arrays[scenario, model, label, value][picked] for label in wanted])
        return float(np.nanmean(values)) if np.isfinite(values).any() else float("nan")

    def _scenario(self, where: tuple[str, ...]) -> str:
        if where not in self.scenarios:
            raise Missing(" + ".join(where[:-1]) + f" tested on {where[-1]}")
        return self.scenarios[where]

    def number(self, name: str) -> float:
        """Return the mean of an extra number."""
        if name not in self.extra:
            raise Missing(name)
        return float(np.mean(self.extra[name]))


# -- the findings --------------------------------------------------------------------------------------------------


def _over_scenarios(difference: Callable[[Evidence, tuple[str, ...]], float]) -> Statistic:
    """The smallest difference over the multi-task scenarios that the study has."""

    def statistic(evidence: Evidence) -> float:
        here = [where for where in (ANATOMY_WMH, IBSR_WMH, ANATOMY_TUMOUR) if where in evidence.scenarios]
        if not here:
            raise Missing("no multi-task scenario of the thesis")
        return min(difference(evidence, where) for where in here)

    return statistic


def _mono(evidence: Evidence) -> float:
    """The largest spread between losses over the single tasks."""
    spreads = []
    for cohort in ("ibsr", "mrbrains17", "brats12"):
        where = (cohort, cohort)
        if where in evidence.scenarios:
            models = ("cross_entropy", "dice", "selective_dice")
            means = [evidence.mean(where, model) for model in models]
            spreads.append(max(means) - min(means))
    if not spreads:
        raise Missing("no single-task scenario")
    return max(spreads)


def _minus(first: str, second: str) -> Callable[[Evidence, tuple[str, ...]], float]:
    return lambda evidence, where: evidence.mean(where, first) - evidence.mean(where, second)


FINDINGS: tuple[Finding, ...] = (
    Finding(
        "1", "Every loss learns every single task about as well",
        "largest difference of mean Dice between losses, over the single tasks", 0.10, 0.06, _mono, below=True,
    ),
    Finding(
        "2", "The naive model fails in every multi-task scenario",
        "selective cross-entropy minus naive, mean Dice, in the scenario where that is least", 0.2, 0.54,
        _over_scenarios(_minus("selective_cross_entropy", "cross_entropy")),
    ),
    Finding(
        "3", "The naive model recognises the origin of an image",
        "anatomy that it labels on lesion images, as a share of what it labels on anatomical ones (validation images)",
        0.5, 0.0, lambda evidence: evidence.number("anatomy on lesion images"), below=True,
    ),
    Finding(
        "4", "Selective cross-entropy is as good as MultiUNet or better everywhere",
        "selective cross-entropy minus MultiUNet, mean Dice, in the scenario where that is least", -0.03, -0.04,
        _over_scenarios(_minus("selective_cross_entropy", "multi_unet")),
    ),
    Finding(
        "5", "Dice works when the training domains are alike and collapses when they are not",
        "mean Dice of the Dice model, MRBrainS13+17 minus IBSR+17", 0.2, 0.65,
        lambda e: e.mean(ANATOMY_WMH, "dice") - e.mean(IBSR_WMH, "dice"),
    ),
    Finding(
        "6a", "Selective Dice finds lesions, but also where there are none",
        "volume of WMH that selective Dice predicts, as a multiple of the true one (MRBrainS13+17)", 1.5, None,
        lambda e: e.mean(ANATOMY_WMH, "selective_dice", ["wmh"], "volume_pred_ml")
        / e.mean(ANATOMY_WMH, "selective_dice", ["wmh"], "volume_true_ml"),
    ),
    Finding(
        "6b", "Selective Dice fails on oedema",
        "Dice of oedema, selective Dice minus selective cross-entropy", -0.1, None,
        lambda e: e.mean(ANATOMY_TUMOUR, "selective_dice", ["oedema"])
        - e.mean(ANATOMY_TUMOUR, "selective_cross_entropy", ["oedema"]), below=True,
    ),
    Finding(
        "7", "All models are much worse with IBSR than with MRBrainS13",
        "mean Dice of selective cross-entropy and MultiUNet, MRBrainS13+17 minus IBSR+17, the lesser of the two",
        0.05, 0.13,
        lambda e: min(
            e.mean(ANATOMY_WMH, m) - e.mean(IBSR_WMH, m) for m in ("selective_cross_entropy", "multi_unet")
        ),
    ),
    Finding(
        "8", "MRBrainS cohorts are close in intensity, TumorSim is close to BraTS12, BrainWeb is far from all",
        "Spearman's correlation of the divergences between cohorts with the thesis's", 0.8, 1.0,
        lambda e: e.number("divergence"),
    ),
    Finding(
        "9", "Sampling relevant labels is crucial for small lesions",
        "Dice of WMH, relevant-label sampling minus uniform sampling (selective cross-entropy, MRBrainS13+17)",
        0.1, None,
        lambda e: e.mean(ANATOMY_WMH, "selective_cross_entropy", ["wmh"])
        - e.mean(ANATOMY_WMH, "selective_cross_entropy_uniform", ["wmh"]),
    ),
    Finding(
        "10", "MultiUNet costs twice as much as one network",
        "parameters of MultiUNet's networks, as a multiple of those of the selective network", 1.5, 2.0,
        lambda e: e.number("cost of MultiUNet"),
    ),
)  # fmt: skip
"""The findings, in the order of the thesis's conclusions."""


# -- the table -----------------------------------------------------------------------------------------------------


def make_ledger(study: Study, n_draws: int = N_DRAWS, seed: int = 0) -> pd.DataFrame:
    """Judge every finding on the finished runs of a study.

    One cannot tell where a scenario has fewer than `MIN_CASES` test cases.

    Returns
    -------
    pd.DataFrame
        ``finding, claim, measure, rule, thesis, ours, low, high, verdict``; NaN and *cannot tell* where the study lacks
        what a finding needs, with the reason in ``note``.
    """
    evidence = gather(study)
    rng = np.random.default_rng(seed)
    draws = [evidence.drawn(rng) for _ in range(n_draws)]
    rows = []
    for f in FINDINGS:
        ours, low, high, note = float("nan"), float("nan"), float("nan"), ""
        evidence.n_cases_used.clear()
        try:
            ours = f.statistic(evidence)
            low, high = np.nanquantile([f.statistic(draw) for draw in draws], [0.025, 0.975])
        except Missing as error:
            note = f"this study has not: {error}"
        few = min(evidence.n_cases_used, default=MIN_CASES)
        verdict = f.verdict(low, high)
        if few < MIN_CASES and not note:
            verdict, note = "cannot tell", f"too few test cases ({few})"
        rows.append(
            {
                "finding": f.number, "claim": f.claim, "measure": f.measure, "rule": f.rule,
                "thesis": np.nan if f.thesis is None else f.thesis, "ours": ours, "low": low, "high": high,
                "verdict": verdict, "note": note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def gather(study: Study) -> Evidence:
    """Collect what the findings need from the finished runs of a study."""
    metrics = runs.collect_metrics(study)
    scenarios = {}
    for name, s in study.params.scenarios.items():
        scenarios[tuple(exploration.imitated(study, cohort) for cohort in (*s.train, s.test))] = name
    extra: dict[str, np.ndarray] = {}
    if len(share := _anatomy_on_lesion_images(study, scenarios)):
        extra["anatomy on lesion images"] = share
    ours, theirs = exploration.divergences(study, exploration.open_cases(study))
    if theirs is not None:
        extra["divergence"] = np.array([domains.agreement(ours, theirs)[0]])
    if (cost := _cost(study)) is not None:
        extra["cost of MultiUNet"] = np.array([cost])
    return Evidence(metrics, scenarios, extra)


def _anatomy_on_lesion_images(study: Study, scenarios: Mapping[tuple[str, ...], str]) -> np.ndarray:
    """What the naive model labels as anatomy on lesion images, relative to anatomical ones, a number per lesion image.

    Over the multi-task scenarios and seeds; a share of the brain each, divided by the mean share on anatomical images.
    """
    shares = []
    for where in (ANATOMY_WMH, IBSR_WMH, ANATOMY_TUMOUR):
        if where not in scenarios:
            continue
        labels = study.scenario_labels(scenarios[where])
        anatomy = [k for k, label in enumerate(labels, start=1) if label in ("csf", "gm", "wm")]
        for run in study.runs_of(scenarios[where]):
            if MODELS[run.model] != MODELS["cross_entropy"]:
                continue
            found: list[list[float]] = []
            for cohort in study.scenario(run.scenario).train:
                found.append([])
                for case in study.split(cohort)[1]:
                    stored = study.store.open(case, study.cohorts[cohort])
                    prediction = runs.load_prediction(study, run, case)
                    found[-1].append(np.isin(prediction, anatomy).sum() / np.count_nonzero(stored.mask))
            anatomical, lesion = found[0], found[-1]
            if np.mean(anatomical) > 0:
                shares += [share / np.mean(anatomical) for share in lesion]
    return np.array(shares)


def _cost(study: Study) -> float | None:
    """Parameters of MultiUNet's networks as a multiple of the single network's, over the multi-task scenarios."""
    from .models import build_network, count_parameters

    ratios = []
    for name in study.params.scenarios:
        counts = {}
        for run in study.runs_of(name):
            counts[run.model] = sum(
                count_parameters(build_network(study.params.network, len(n.modalities), study.label_space(n).n_classes))
                for n in run.networks
            )
        if "multi_unet" in counts and "selective_cross_entropy" in counts and len(study.tasks(name)) > 1:
            ratios.append(counts["multi_unet"] / counts["selective_cross_entropy"])
    return float(np.mean(ratios)) if ratios else None
