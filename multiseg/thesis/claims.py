"""What a companion study found, as rules that are fixed before a run, and whether it holds in a study.

A claim compares models, or a model with a number, in one scenario. The unit is the replicate, as in the ledger of the
thesis (`findings`): *holds* if every comparison passes, *does not hold* if some fails, corrected for their number, else
*inconclusive*, after a correction for the number of claims of the companion (Holm). Fewer than three replicates are
never conclusive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

import numpy as np
import pandas as pd

from ..results.model_comparison import holm
from ..results.replicates import Estimate, in_every, replicate_means, verdict
from ..study import finished_runs
from ..study.study import Study
from .findings import COLUMNS, EVERY, EXPLORATORY


@dataclass(frozen=True)
class Claim:
    """A claim and its rule.

    Attributes
    ----------
    number
        A letter for the companion, and a number.
    claim, measure
        What is claimed, and what is measured, in words.
    scenario
        Where.
    pairs
        The comparisons: of each pair the value of the first model minus that of the second, or the value of the first
        alone where the second is None, must exceed `threshold`.
    threshold
        In units of `value`. Of differences it is a margin: above 0 the first must be better by that much, below 0 it
        must not be worse by more.
    labels
        Whose mean is compared; by default all that the test cohort draws.
    value
        Column of the metrics, of which more is better, unless `less_is_better`.
    less_is_better
        Turns the differences, for distances.
    published
        The difference in the source, where it prints one.
    """

    number: str
    claim: str
    measure: str
    scenario: str
    pairs: tuple[tuple[str, str | None], ...]
    threshold: float
    labels: tuple[str, ...] = ()
    value: str = "dice"
    less_is_better: bool = False
    published: float = float("nan")


def judge(study: Study, claims: Sequence[Claim]) -> pd.DataFrame:
    """Judge the claims of one companion by the finished runs of a study.

    Returns
    -------
    pd.DataFrame
        The columns of `findings.make_ledger`. A row per claim, with the scenario `EVERY`: the least difference and its
        verdict; below it a row per comparison, *exploratory*, whose endpoint names the models. Claims for which the
        study lacks a scenario or a model are left out.
    """
    rows: list[dict[str, object]] = []
    metrics = finished_runs.metrics(study)
    for c in claims:
        if c.scenario not in study.scenarios:
            continue
        labels = c.labels or study.scenario(c.scenario).tested_labels
        means = replicate_means(metrics[metrics["scenario"] == c.scenario], labels, c.value)
        if not {model for pair in c.pairs for model in pair if model is not None} <= set(means.columns):
            continue
        estimates, parts = [], []
        for first, second in c.pairs:
            values = means[first] - (0 if second is None else means[second])
            values = (-values if c.less_is_better else values).dropna().to_numpy(dtype=float)
            estimates.append(Estimate.of(values, c.threshold))
            parts.append((first if second is None else f"{first} - {second}", estimates[-1], len(values)))
        whole = in_every(estimates)
        rows.append(_row(c, "+".join(labels), EVERY, whole, min(n for *_, n in parts)))
        if len(parts) > 1:
            rows += [_row(c, name, c.scenario, e, n) for name, e, n in parts]
    table = pd.DataFrame(rows, columns=[*COLUMNS, "claim", "measure", "replicates", "p_above", "p_below"])
    asked = table["scenario"] == EVERY
    above, below = (holm(table.loc[asked, p].to_numpy(dtype=float)) for p in ("p_above", "p_below"))
    table.loc[asked, "verdict"] = [verdict(a, b) for a, b in zip(above, below, strict=True)]
    return table.drop(columns=["p_above", "p_below"])


def _row(c: Claim, endpoint: str, scenario: str, e: Estimate, n: int) -> dict[str, object]:
    is_whole = scenario == EVERY
    is_difference = all(second is not None for _, second in c.pairs)
    return {
        "finding": c.number, "endpoint": endpoint, "scenario": scenario,
        "thesis": c.published if is_whole else np.nan, "ours": e.mean, "low": e.low, "high": e.high,
        "margin": abs(c.threshold) if is_difference else np.nan, "claim": c.claim, "measure": c.measure,
        "verdict": EXPLORATORY, "replicates": n, "p_above": e.p_above, "p_below": e.p_below,
    }  # fmt: skip


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
    for row in asked.itertuples():
        interval = f", {row.low:.3f} to {row.high:.3f}" if np.isfinite(row.low) else ""
        lines.append(
            f"- {row.finding}. {row.claim}: **{row.verdict}** ({row.measure}: {row.ours:.3f}{interval}; "
            f"{row.replicates} replicates)"
        )
    return "\n".join([summary(asked["verdict"].tolist()), "", *lines])


def published(name: str) -> pd.DataFrame:
    """Return numbers that a companion's source prints, ``reference/NAME.csv``.

    The columns ``where`` and ``note`` say on which page or in which section, and what is odd.
    """
    with resources.files(__package__).joinpath(f"reference/{name}.csv").open(encoding="utf-8") as file:
        return pd.read_csv(file, keep_default_na=False, na_values=[""])
