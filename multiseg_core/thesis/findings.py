"""The ledger of findings: what the thesis claims in its conclusions, and whether it holds here.

Each claim is one number with a rule that is stated before the number is computed: it *holds* if the whole 95 %
interval lies on the right side of a threshold, *does not hold* if the whole interval lies on the other, and else one
*cannot tell*. Intervals come from a bootstrap that draws test cases, and seeds, with replacement; cases that two
scenarios share are drawn together. With one seed the interval says nothing about how another training would have ended.
Undefined values follow the rule that stands in `statistics.summaries`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..models import DICE, NAIVE, SELECTIVE, SELECTIVE_DICE, SEPARATE, SEPARATE_SHARED, UNIFORM
from ..study.study import Study
from .evidence import ANATOMY_TUMOUR, ANATOMY_WMH, IBSR_WMH, MULTI_TASK, Evidence, Missing, gather

MIN_CASES = 3
"""With fewer test cases, an interval over cases says nothing."""

COLUMNS = ("finding", "thesis", "ours", "low", "high", "verdict")
N_DRAWS = 1000

Statistic = Callable[[Evidence], float]


@dataclass(frozen=True)
class Claim:
    """One claim of the thesis.

    Attributes
    ----------
    number
        As in the thesis's conclusions.
    text
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
    text: str
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


# -- the claims ----------------------------------------------------------------------------------------------------


def _over_scenarios(difference: Callable[[Evidence, tuple[str, ...]], float]) -> Statistic:
    """The smallest difference over the multi-task scenarios that the study has."""

    def statistic(evidence: Evidence) -> float:
        here = [where for where in MULTI_TASK if where in evidence.scenarios]
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
            means = evidence.means([(where, model) for model in (NAIVE, DICE, SELECTIVE_DICE)])
            spreads.append(max(means) - min(means))
    if not spreads:
        raise Missing("no single-task scenario")
    return max(spreads)


def _minus(first: str, second: str) -> Callable[[Evidence, tuple[str, ...]], float]:
    return lambda evidence, where: evidence.difference((where, first), (where, second))


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "1", "Every loss learns every single task about as well",
        "largest difference of mean Dice between losses, over the single tasks", 0.10, 0.06, _mono, below=True,
    ),
    Claim(
        "2", "The naive model fails in every multi-task scenario",
        "selective cross-entropy minus naive, mean Dice, in the scenario where that is least", 0.2, 0.54,
        _over_scenarios(_minus(SELECTIVE, NAIVE)),
    ),
    Claim(
        "3", "The naive model recognises the origin of an image",
        "anatomy that it labels on lesion images, as a share of what it labels on anatomical ones (validation images)",
        0.5, 0.0, lambda evidence: evidence.number("anatomy on lesion images"), below=True,
    ),
    Claim(
        "4", "Selective cross-entropy is as good as MultiUNet or better everywhere",
        "selective cross-entropy minus MultiUNet, mean Dice, in the scenario where that is least", -0.03, -0.04,
        _over_scenarios(_minus(SELECTIVE, SEPARATE)),
    ),
    Claim(
        "4b", "Control: as 4 with IBSR, with MultiUNet limited to the images that the other models see",
        "selective cross-entropy minus MultiUNet with shared inputs, mean Dice, IBSR+17", -0.03, None,
        lambda e: _minus(SELECTIVE, SEPARATE_SHARED)(e, IBSR_WMH),
    ),
    Claim(
        "5", "Dice works when the training domains are alike and collapses when they are not",
        "mean Dice of the Dice model, MRBrainS13+17 minus IBSR+17", 0.2, 0.65,
        lambda e: e.difference((ANATOMY_WMH, DICE), (IBSR_WMH, DICE)),
    ),
    Claim(
        "6a", "Selective Dice finds lesions, but also where there are none",
        "volume of WMH that selective Dice predicts, as a multiple of the true one (MRBrainS13+17)", 1.5, None,
        lambda e: e.mean(ANATOMY_WMH, SELECTIVE_DICE, ["wmh"], "volume_pred_ml")
        / e.mean(ANATOMY_WMH, SELECTIVE_DICE, ["wmh"], "volume_true_ml"),
    ),
    Claim(
        "6b", "Selective Dice fails on oedema",
        "Dice of oedema, selective Dice minus selective cross-entropy", -0.1, None,
        lambda e: e.difference((ANATOMY_TUMOUR, SELECTIVE_DICE), (ANATOMY_TUMOUR, SELECTIVE), ["oedema"]), below=True,
    ),
    Claim(
        "7", "All models are much worse with IBSR than with MRBrainS13",
        "mean Dice of selective cross-entropy and MultiUNet, MRBrainS13+17 minus IBSR+17, the lesser of the two",
        0.05, 0.13,
        lambda e: min(e.difference((ANATOMY_WMH, m), (IBSR_WMH, m)) for m in (SELECTIVE, SEPARATE)),
    ),
    Claim(
        "8", "MRBrainS cohorts are close in intensity, TumorSim is close to BraTS12, BrainWeb is far from all",
        "Spearman's correlation of the divergences between cohorts with the thesis's", 0.8, 1.0,
        lambda e: e.number("divergence"),
    ),
    Claim(
        "9", "Sampling relevant labels is crucial for small lesions",
        "Dice of WMH, relevant-label sampling minus uniform sampling (selective cross-entropy, MRBrainS13+17)",
        0.1, None,
        lambda e: e.difference((ANATOMY_WMH, SELECTIVE), (ANATOMY_WMH, UNIFORM), ["wmh"]),
    ),
    Claim(
        "10", "MultiUNet costs twice as much as one network",
        "parameters of MultiUNet's networks, as a multiple of those of the selective network", 1.5, 2.0,
        lambda e: e.number("cost of MultiUNet"),
    ),
)  # fmt: skip
"""What the thesis claims, in the order of its conclusions."""


# -- the table -----------------------------------------------------------------------------------------------------


def make_ledger(study: Study, n_draws: int = N_DRAWS, seed: int = 0) -> pd.DataFrame:
    """Judge every claim on the finished runs of a study.

    One cannot tell where a scenario has fewer than `MIN_CASES` test cases.

    Returns
    -------
    pd.DataFrame
        ``finding, claim, measure, rule, thesis, ours, low, high, verdict``; NaN and *cannot tell* where the study lacks
        what a claim needs, with the reason in ``note``.
    """
    evidence = gather(study)
    rng = np.random.default_rng(seed)
    draws = [evidence.drawn(rng) for _ in range(n_draws)]
    rows = []
    for c in CLAIMS:
        ours, low, high, note = float("nan"), float("nan"), float("nan"), ""
        evidence.n_cases_used.clear()
        try:
            ours = c.statistic(evidence)
            low, high = np.nanquantile([c.statistic(draw) for draw in draws], [0.025, 0.975])
        except Missing as error:
            note = f"this study has not: {error}"
        few = min(evidence.n_cases_used, default=MIN_CASES)
        verdict = c.verdict(low, high)
        if few < MIN_CASES and not note:
            verdict, note = "cannot tell", f"too few test cases ({few})"
        rows.append(
            {
                "finding": c.number, "claim": c.text, "measure": c.measure, "rule": c.rule,
                "thesis": np.nan if c.thesis is None else c.thesis, "ours": ours, "low": low, "high": high,
                "verdict": verdict, "note": note,
            }
        )  # fmt: skip
    return pd.DataFrame(rows)
