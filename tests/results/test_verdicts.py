"""Claims on made-up results: verdicts by arithmetic."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg.results import verdicts
from multiseg.results.verdicts import Claim
from multiseg.study import finished_runs


def judged(monkeypatch: pytest.MonkeyPatch, values: dict[str, list[float]], *asked: Claim) -> pd.DataFrame:
    """Judge claims on model -> a value per replicate of the scenario s, label a."""
    rows = [
        {"scenario": "s", "model": m, "replicate": r, "seed": 0, "cohort": "c", "subject": "x", "case": "x",
         "label": "a", "dice": v, "assd_mm": 10 * v}
        for m, of in values.items() for r, v in enumerate(of, start=1)
    ]  # fmt: skip
    monkeypatch.setattr(finished_runs, "metrics", lambda study: pd.DataFrame(rows))
    scenario = SimpleNamespace(tested_labels=("a",))
    study: Any = SimpleNamespace(scenarios={"s": scenario}, scenario=lambda name: scenario)
    return verdicts.judge(study, asked)


def claim(number: str, pairs: tuple[tuple[str, ...], ...], threshold: float, **more: Any) -> Claim:
    return Claim(number, "x is so", "what", "s", pairs, threshold, **more)


GOOD, BAD, NEAR = [0.90, 0.91, 0.92], [0.70, 0.71, 0.72], [0.895, 0.91, 0.915]


def test_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        claim("X1", (("good", "bad"), ("near", "bad")), 0.02),  # better by .2 everywhere
        claim("X2", (("good", "bad"), ("good", "near")), 0.02),  # not better than near
        claim("X3", (("near", "good"),), -0.02),  # not worse
        claim("X4", (("good",),), 0.85),
        claim("X5", (("bad", "good"),), 0.5, value="assd_mm", less_is_better=True),  # 2 mm less
        claim("X6", (("good", "gone"),), 0.02),  # a model that does not run
    ]
    table = judged(monkeypatch, {"good": GOOD, "bad": BAD, "near": NEAR}, *asked)
    whole = table[table["scenario"] == "every"].set_index("finding")
    expected = {"X1": "holds", "X2": "inconclusive", "X3": "holds", "X4": "holds", "X5": "holds"}  # one of five
    assert whole["verdict"].to_dict() == expected
    alone = judged(monkeypatch, {"good": GOOD, "bad": BAD, "near": NEAR}, asked[1])
    assert alone["verdict"].iloc[0] == "does not hold"
    assert whole["ours"].to_numpy() == pytest.approx([np.mean(NEAR) - np.mean(BAD), np.mean(GOOD) - np.mean(NEAR),
                                                      np.mean(NEAR) - np.mean(GOOD), 0.91, 2.0])  # fmt: skip
    assert whole["margin"].isna().to_dict() == {k: k == "X4" for k in expected}  # a height is no margin
    parts = table[table["verdict"] == "exploratory"]
    assert parts["endpoint"].tolist() == ["good - bad", "near - bad", "good - bad", "good - near"]
    summary, _, *lines = verdicts.answers(table, asked).splitlines()
    assert summary.startswith("Of 5 published findings 4 held here, 0 did not, and 1 stayed open. More replicates")
    assert lines[0].startswith("- X1. x is so: **holds** (what: 0.197, ") and len(lines) == 5
    assert "More replicates" not in verdicts.answers(table, [c for c in asked if c.number != "X2"])


def test_two_replicates_are_never_conclusive(monkeypatch: pytest.MonkeyPatch) -> None:
    table = judged(monkeypatch, {"good": GOOD[:2], "bad": BAD[:2]}, claim("X1", (("good", "bad"),), 0.02))
    assert table["verdict"].tolist() == ["inconclusive"] and table["low"].isna().all()


def test_failing_comparisons_are_corrected_for_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """P is .0125 + .001 by the t distribution with 2 degrees of freedom: enough for one comparison, not for two."""
    spread = 0.1 / stats.t.isf(0.0135, 2) * np.sqrt(3)  # standard deviation for a mean of -.1
    values = {"a": [-0.1 - spread, -0.1, -0.1 + spread], "b": [0.0, 0.0, 0.0], "c": [1.0, 1.0, 1.0]}
    assert judged(monkeypatch, values, claim("X1", (("a", "b"),), 0.0))["verdict"].tolist() == ["does not hold"]
    both = claim("X1", (("a", "b"), ("c", "b")), 0.0)
    assert judged(monkeypatch, values, both)["verdict"].iloc[0] == "inconclusive"


def test_claims_of_a_companion_are_corrected_for_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """P is .02 by the t distribution with 2 degrees of freedom: enough for one claim, not for two."""
    spread = 0.1 / stats.t.isf(0.02, 2) * np.sqrt(3)  # standard deviation for a mean of .1
    values = {"a": [0.1 - spread, 0.1, 0.1 + spread], "b": [0.0, 0.0, 0.0], "c": [0.0, 0.0, 0.0]}
    first, second = claim("X1", (("a", "b"),), 0.0), claim("X2", (("a", "c"),), 0.0)
    assert judged(monkeypatch, values, first)["verdict"].tolist() == ["holds"]
    assert judged(monkeypatch, values, first, second)["verdict"].tolist() == ["inconclusive", "inconclusive"]
