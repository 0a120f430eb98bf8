import numpy as np
import pytest

from multiseg_core.study.study import Study
from multiseg_core.thesis import findings
from multiseg_core.thesis.evidence import ANATOMY_TUMOUR, ANATOMY_WMH, IBSR_WMH, Evidence
from multiseg_core.thesis.findings import Claim

from ..conftest import tidy_scenarios


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
    finding = Claim("x", "", "", 0.2, None, lambda evidence: 0.0)
    assert finding.verdict(low, high) == above
    finding = Claim("x", "", "", 0.2, None, lambda evidence: 0.0, below=True)
    assert finding.verdict(low, high) == below


def test_the_least_difference_over_scenarios_counts() -> None:
    table = tidy_scenarios(
        {
            ("a", "selective_cross_entropy"): {"gm": [0.9, 0.7]}, ("a", "cross_entropy"): {"gm": [0.1, 0.1]},
            ("b", "selective_cross_entropy"): {"gm": [0.6, 0.6]}, ("b", "cross_entropy"): {"gm": [0.2, 0.4]},
        }
    )  # fmt: skip
    evidence = Evidence(table, {ANATOMY_WMH: "a", ANATOMY_TUMOUR: "b"}, {})
    two = next(f for f in findings.CLAIMS if f.number == "2")
    assert two.statistic(evidence) == pytest.approx(min(0.8 - 0.1, 0.6 - 0.3))


def test_losses_are_compared_on_the_values_that_all_have() -> None:
    table = tidy_scenarios(
        {
            ("a", "cross_entropy"): {"gm": [0.9, np.nan]},
            ("a", "dice"): {"gm": [0.5, 0.1]},
            ("a", "selective_dice"): {"gm": [0.7, 0.3]},
        }
    )
    one = next(f for f in findings.CLAIMS if f.number == "1")
    assert one.statistic(Evidence(table, {("ibsr", "ibsr"): "a"}, {})) == pytest.approx(0.9 - 0.5)


def test_shared_cases_are_drawn_together() -> None:
    """The difference of two scenarios on the same cases is constant here, so every draw must give the same."""
    values = [0.2, 0.4, 0.9]
    table = tidy_scenarios(
        {("a", "dice"): {"gm": values}, ("b", "dice"): {"gm": [v - 0.1 for v in values]}}, seeds=2
    )  # fmt: skip
    evidence = Evidence(table, {ANATOMY_WMH: "a", IBSR_WMH: "b"}, {})
    five = next(f for f in findings.CLAIMS if f.number == "5")
    rng = np.random.default_rng(0)
    draws = [evidence.drawn(rng) for _ in range(20)]
    assert [five.statistic(draw) for draw in draws] == pytest.approx([0.1] * 20)
    assert len({round(draw.mean(ANATOMY_WMH, "dice"), 6) for draw in draws}) > 3  # but the means differ


def test_ledger_of_the_smoke_study(smoke: Study) -> None:
    table = findings.make_ledger(smoke, n_draws=20).set_index("finding")
    assert list(table.index) == [f.number for f in findings.CLAIMS]
    # two networks of 2 labels + 1 and 3 + 1 classes against one of 4 + 1 classes, all else the same
    assert 1.5 < table.loc["10", "ours"] < 2.0 and table.loc["10", "verdict"] == "holds"
    # one or two test cases are too few to judge anything that is measured on them
    assert table.loc["1", "note"] == "too few test cases (1)"
    assert table.loc["2", "verdict"] == "cannot tell" and table.loc["2", "note"] == "too few test cases (2)"
    # what is missing is named: a model of a scenario, a scenario
    assert table.loc["6b", "verdict"] == "cannot tell"
    assert table.loc["6b", "note"] == "this study has not: anatomy_tumour without selective_dice"
    assert table.loc["5", "note"] == "this study has not: ibsr + mrbrains17 tested on mrbrains18"
    judged = table[table["ours"].notna()]
    # the smoke networks may label nothing
    assert {"1", "2", "3", "4", "6a", "8", "10"} <= set(judged.index) | {"3", "6a"}
    assert (judged["low"] <= judged["high"]).all()
