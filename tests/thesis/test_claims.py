"""The companions' rules on made-up results: verdicts by arithmetic."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from multiseg.study import finished_runs
from multiseg.study.study import Study
from multiseg.thesis import claims, companions, dropout_and_phases, separable_convolutions
from multiseg.thesis.claims import Claim
from tests.conftest import ROOT


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
    return claims.judge(study, asked)


def claim(number: str, pairs: tuple[tuple[str, str | None], ...], threshold: float, **more: Any) -> Claim:
    return Claim(number, "x is so", "what", "s", pairs, threshold, **more)


GOOD, BAD, NEAR = [0.90, 0.91, 0.92], [0.70, 0.71, 0.72], [0.895, 0.91, 0.915]


def test_verdicts(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        claim("X1", (("good", "bad"), ("near", "bad")), 0.02),  # better by .2 everywhere
        claim("X2", (("good", "bad"), ("good", "near")), 0.02),  # not better than near
        claim("X3", (("near", "good"),), -0.02),  # not worse
        claim("X4", (("good", None),), 0.85),
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
    summary, _, *lines = claims.answers(table, asked).splitlines()
    assert summary.startswith("Of 5 published findings 4 held here, 0 did not, and 1 stayed open. More replicates")
    assert lines[0].startswith("- X1. x is so: **holds** (what: 0.197, ") and len(lines) == 5
    assert "More replicates" not in claims.answers(table, [c for c in asked if c.number != "X2"])


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


@pytest.mark.parametrize("module", [dropout_and_phases, separable_convolutions], ids=lambda m: m.NOTEBOOK)
def test_what_claims_speak_of_is_in_their_study(module: Any) -> None:
    study = Study(ROOT / "params" / f"{module.__name__.rpartition('.')[2]}.yaml")
    assert companions.CLAIMS[module.NOTEBOOK] is module.CLAIMS
    assert study.params.notebooks == [module.NOTEBOOK] and study.params.replicates >= 3
    numbers = [c.number for c in module.CLAIMS]
    assert len(set(numbers)) == len(numbers)
    for c in module.CLAIMS:
        scenario = study.scenario(c.scenario)
        assert scenario.params.notebook == module.NOTEBOOK and set(c.labels) <= set(scenario.tested_labels)
        assert {model for pair in c.pairs for model in pair if model} <= set(scenario.models)


def test_companions_train_the_same_networks_alone_and_joined() -> None:
    whole = Study(ROOT / "params" / "companions.yaml")
    joined = {run.name: [n.key for n in run.networks] for run in whole.runs}
    alone: dict[str, list[str]] = {}
    for name in whole.params.base or ():
        alone |= {run.name: [n.key for n in run.networks] for run in Study(ROOT / "params" / name).runs}
    assert alone == joined


def test_sources_beside_ours() -> None:
    found = pd.DataFrame({"mean": [0.7, 0.5, 0.6, 0.9, 0.8]}, index=["cnn1_0", "cnn1_2", "cnn1_5", "cnn2_0", "cnn2_5"])
    table = dropout_and_phases.beside(claims.published("dropout_and_phases"), found).set_index("what")["ours"]
    assert table["CNN1, Dice at every dropout but 0.2: above"] == 0.6  # the least of .7 and .6
    assert table["CNN2, best dropout"] == 0 and table["CNN2, Dice at every dropout after 50 epochs: above"] == 0.8
    assert pd.isna(table["images per step"])
    ours = pd.DataFrame({"gm": [0.8], "parameters": [7]}, index=["unet_1"])
    beside = separable_convolutions.beside(claims.published("separable_convolutions"), ours)
    known = beside.set_index(["model", "what"])["ours"].dropna()
    assert known.to_dict() == {("unet_1", "parameters"): 7, ("unet_1", "Dice of the myocardium"): 0.8}


def test_means_that_the_source_prints_are_told_apart_from_those_of_its_numbers() -> None:
    """The notes of `separable_convolutions.csv`, by arithmetic."""
    table = claims.published("separable_convolutions").set_index(["model", "what"])
    values = table["published"]
    for model, mean in (("unet_1", 0.748), ("unet_2", 0.772)):
        tissues = values[model][["Dice of the myocardium", "Dice of the blood pool"]].mean()
        assert (
            tissues == pytest.approx(mean, abs=0.0006) and f"{mean:.3f}"[1:] in table.loc[(model, "mean Dice"), "note"]
        )
    first = values["unet_1"][[f"cross-entropy of the {c}" for c in ("background", "myocardium", "blood pool")]].mean()
    assert round(float(first), 3) == 0.046 and values["unet_1", "mean cross-entropy"] == 0.042
