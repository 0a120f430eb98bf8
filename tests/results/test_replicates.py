import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg.results.replicates import ALPHA, Interval, in_every, in_some, replicate_means, verdict


def rows(values: dict[str, dict[int, dict[str, list[float]]]]) -> pd.DataFrame:
    """Tidy rows from model -> replicate -> subject -> Dice of its cases."""
    return pd.DataFrame(
        [
            {"scenario": "s", "model": m, "replicate": r, "seed": 0, "cohort": "c", "subject": who,
             "case": f"{who}{r}{i}", "label": "gm", "dice": dice}
            for m, replicates in values.items()
            for r, subjects in replicates.items()
            for who, cases in subjects.items()
            for i, dice in enumerate(cases)
        ]
    )  # fmt: skip


def test_means_of_replicates_by_hand() -> None:
    metrics = rows({"a": {1: {"p": [0.8, 0.6], "q": [0.3]}, 2: {"p": [0.5]}}, "b": {1: {"p": [0.1], "q": [0.2]}}})
    means = replicate_means(metrics, ["gm"])
    assert means["a"].tolist() == pytest.approx([(0.7 + 0.3) / 2, 0.5])
    assert means.loc[1, "b"] == pytest.approx(0.15) and np.isnan(means.loc[2, "b"])
    assert replicate_means(metrics, ["wmh"]).empty


def test_an_estimate_is_student_s() -> None:
    values = np.array([0.03, 0.05, 0.01, np.nan, 0.04])
    found, t = Interval.of(values, 0.02), stats.ttest_1samp(values[[0, 1, 2, 4]], 0.02, alternative="greater")
    assert found.p_above == pytest.approx(t.pvalue) and found.p_below == pytest.approx(1 - t.pvalue)
    interval = t.confidence_interval  # one-sided
    assert interval(1 - ALPHA).low == pytest.approx(found.low)
    assert (found.low + found.high) / 2 == pytest.approx(found.mean) == pytest.approx(np.nanmean(values))
    two = Interval.of(values[:2])
    assert two.mean == pytest.approx(0.04) and np.isnan([two.low, two.high, two.p_above, two.p_below]).all()
    assert verdict(two.p_above, two.p_below) == "inconclusive"


def test_everywhere_and_somewhere_by_hand() -> None:
    good, bad = Interval(0.3, 0.2, 0.4, 0.001, 0.999), Interval(0.1, -0.1, 0.3, 0.9, 0.02)
    every, some = in_every([good, bad, good]), in_some([good, bad, good])
    assert (every.mean, every.low, every.high) == (0.1, -0.1, 0.3)
    assert every.p_above == 0.9 and every.p_below == pytest.approx(3 * 0.02)
    assert (some.mean, some.low, some.high) == (0.3, 0.2, 0.4)
    assert some.p_above == pytest.approx(3 * 0.001) and some.p_below == 0.999
    unknown = Interval(0.5, *[np.nan] * 4)
    assert np.isnan(in_every([good, unknown]).p_above) and in_every([good, unknown]).mean == 0.3


@pytest.mark.parametrize(("truth", "right"), [(0.0, "holds"), (-0.06, "does not hold")])
def test_verdicts_are_wrong_as_rarely_as_they_say(truth: float, right: str) -> None:
    """The bootstrap interval of a minimum over three scenarios said *does not hold* wrongly in 38 % of studies."""
    generator = np.random.default_rng(3)
    found = []
    for _ in range(1500):
        three = [Interval.of(generator.normal(truth, 0.02, 4), -0.03) for _ in range(3)]
        every = in_every(three)
        found.append(verdict(every.p_above, every.p_below))
    wrong = {"holds", "does not hold"} - {right}
    assert np.mean([v in wrong for v in found]) <= 0.025
    # at the margin itself either verdict is an error, of which "holds everywhere" is the rarer
    at = [in_every([Interval.of(generator.normal(-0.03, 0.02, 4), -0.03) for _ in range(3)]) for _ in range(1500)]
    assert np.mean([verdict(e.p_above, e.p_below) != "inconclusive" for e in at]) <= 0.05
