import numpy as np
import pandas as pd
import pytest

from multiseg_core import ledger
from multiseg_core.ledger import ANATOMY_TUMOUR, ANATOMY_WMH, IBSR_WMH, Evidence, Finding, Missing
from multiseg_core.study import Study


def metrics(dice: dict[tuple[str, str], dict[str, list[float]]], seeds: int = 1) -> pd.DataFrame:
    """Tidy rows from (scenario, model) -> label -> Dice per case; the same for every seed."""
    rows = []
    for (scenario, model), labels in dice.items():
        for label, values in labels.items():
            for seed in range(seeds):
                rows += [
                    {"scenario": scenario, "model": model, "seed": seed, "cohort": "test", "case": f"c{i}",
                     "label": label, "dice": value, "sensitivity": value, "volume_true_ml": 2.0,
                     "volume_pred_ml": 2.0 * value}
                    for i, value in enumerate(values)
                ]  # fmt: skip
    return pd.DataFrame(rows)


def test_means_leave_undefined_values_out() -> None:
    table = metrics({("a", "dice"): {"gm": [0.5, 0.7], "wmh": [np.nan, 0.3]}})
    evidence = Evidence(table, {ANATOMY_WMH: "a"}, {})
    assert evidence.mean(ANATOMY_WMH, "dice") == pytest.approx((0.5 + 0.7 + 0.3) / 3)
    assert evidence.mean(ANATOMY_WMH, "dice", ["wmh"]) == pytest.approx(0.3)
    assert evidence.mean(ANATOMY_WMH, "dice", ["gm"], "volume_pred_ml") == pytest.approx(2 * 0.6)


@pytest.mark.parametrize(
    ("low", "high", "above", "below"),
    [
        (0.3, 0.5, "holds", "does not hold"),
        (0.1, 0.2, "does not hold", "cannot tell"),
        (0.0, 0.1, "does not hold", "holds"),
        (0.1, 0.3, "cannot tell", "cannot tell"),
        (np.nan, np.nan, "cannot tell", "cannot tell"),
    ],
)
def test_verdicts(low: float, high: float, above: str, below: str) -> None:
    finding = Finding("x", "", "", 0.2, None, lambda evidence: 0.0)
    assert finding.verdict(low, high) == above
    finding = Finding("x", "", "", 0.2, None, lambda evidence: 0.0, below=True)
    assert finding.verdict(low, high) == below


def test_the_least_difference_over_scenarios_counts() -> None:
    table = metrics(
        {
            ("a", "selective_cross_entropy"): {"gm": [0.9, 0.7]}, ("a", "cross_entropy"): {"gm": [0.1, 0.1]},
            ("b", "selective_cross_entropy"): {"gm": [0.6, 0.6]}, ("b", "cross_entropy"): {"gm": [0.2, 0.4]},
        }
    )  # fmt: skip
    evidence = Evidence(table, {ANATOMY_WMH: "a", ANATOMY_TUMOUR: "b"}, {})
    two = next(f for f in ledger.FINDINGS if f.number == "2")
    assert two.statistic(evidence) == pytest.approx(min(0.8 - 0.1, 0.6 - 0.3))


def test_shared_cases_are_drawn_together() -> None:
    """The difference of two scenarios on the same cases is constant here, so every draw must give the same."""
    values = [0.2, 0.4, 0.9]
    table = metrics(
        {("a", "dice"): {"gm": values}, ("b", "dice"): {"gm": [v - 0.1 for v in values]}}, seeds=2
    )  # fmt: skip
    evidence = Evidence(table, {ANATOMY_WMH: "a", IBSR_WMH: "b"}, {})
    five = next(f for f in ledger.FINDINGS if f.number == "5")
    rng = np.random.default_rng(0)
    draws = [evidence.drawn(rng) for _ in range(20)]
    assert [five.statistic(draw) for draw in draws] == pytest.approx([0.1] * 20)
    assert len({round(draw.mean(ANATOMY_WMH, "dice"), 6) for draw in draws}) > 3  # but the means differ


def test_what_a_study_lacks_is_named() -> None:
    evidence = Evidence(metrics({("a", "dice"): {"gm": [0.5]}}), {ANATOMY_WMH: "a"}, {})
    with pytest.raises(Missing, match="ibsr . mrbrains17 tested on mrbrains18"):
        evidence.mean(IBSR_WMH, "dice")
    with pytest.raises(Missing, match="a without multi_unet"):
        evidence.mean(ANATOMY_WMH, "multi_unet")
    with pytest.raises(Missing, match="divergence"):
        evidence.number("divergence")


def test_ledger_of_the_smoke_study(smoke: Study) -> None:
    table = ledger.make_ledger(smoke, n_draws=20).set_index("finding")
    assert list(table.index) == [f.number for f in ledger.FINDINGS]
    # two networks of 2 labels + 1 and 3 + 1 classes against one of 4 + 1 classes, all else the same
    assert 1.5 < table.loc["10", "ours"] < 2.0 and table.loc["10", "verdict"] == "holds"
    # two test cases are too few to judge anything that is measured on them
    assert table.loc["2", "verdict"] == "cannot tell" and table.loc["2", "note"] == "too few test cases (2)"
    assert table.loc["6b", "verdict"] == "cannot tell" and "tumorsim" in table.loc["6b", "note"]
    judged = table[table["ours"].notna()]
    assert {"2", "3", "4", "6a", "8", "10"} <= set(judged.index) | {"3", "6a"}  # the smoke networks may label nothing
    assert (judged["low"] <= judged["high"]).all()
