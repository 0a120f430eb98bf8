import numpy as np
import pytest

from multiseg_core.study.scenarios import Scenario
from multiseg_core.study.study import Study
from multiseg_core.thesis import evidence
from multiseg_core.thesis.evidence import ANATOMY_WMH, IBSR_WMH, Evidence, Missing

from ..conftest import tidy_scenarios


def test_means_leave_undefined_values_out() -> None:
    table = tidy_scenarios({("a", "dice"): {"gm": [0.5, 0.7], "wmh": [np.nan, 0.3]}})
    evidence = Evidence(table, {ANATOMY_WMH: "a"}, {})
    assert evidence.mean(ANATOMY_WMH, "dice") == pytest.approx((0.5 + 0.7 + 0.3) / 3)
    assert evidence.mean(ANATOMY_WMH, "dice", ["wmh"]) == pytest.approx(0.3)
    assert evidence.mean(ANATOMY_WMH, "dice", ["gm"], "volume_pred_ml") == pytest.approx(2 * 0.6)


def test_what_a_study_lacks_is_named() -> None:
    evidence = Evidence(tidy_scenarios({("a", "dice"): {"gm": [0.5]}}), {ANATOMY_WMH: "a"}, {})
    with pytest.raises(Missing, match="ibsr . mrbrains17 tested on mrbrains18"):
        evidence.mean(IBSR_WMH, "dice")
    with pytest.raises(Missing, match="a without multi_unet"):
        evidence.mean(ANATOMY_WMH, "multi_unet")
    with pytest.raises(Missing, match="divergence"):
        evidence.number("divergence")


def test_models_are_compared_on_the_values_that_all_have() -> None:
    table = tidy_scenarios(
        {
            ("a", "dice"): {"gm": [0.5, 0.7], "wmh": [np.nan, 0.3]},
            ("a", "cross_entropy"): {"gm": [0.4, np.nan], "wmh": [0.0, 0.2]},
            ("b", "dice"): {"gm": [0.1, 0.2]},
        }
    )
    evidence = Evidence(table, {ANATOMY_WMH: "a", IBSR_WMH: "b"}, {})
    dice, naive, other = (ANATOMY_WMH, "dice"), (ANATOMY_WMH, "cross_entropy"), (IBSR_WMH, "dice")
    # both have gm of the first case and wmh of the second
    assert evidence.means([dice, naive]) == pytest.approx([(0.5 + 0.3) / 2, (0.4 + 0.2) / 2])
    assert evidence.difference(dice, naive) == pytest.approx((0.1 + 0.1) / 2)
    assert evidence.difference(dice, naive, ["wmh"]) == pytest.approx(0.3 - 0.2)
    # of two scenarios, the labels that both were tested on
    assert evidence.difference(dice, other) == pytest.approx((0.4 + 0.5) / 2)
    with pytest.raises(Missing, match=r"a/dice and b/dice without \['wmh'\]"):
        evidence.difference(dice, other, ["wmh"])


def test_scenarios_with_other_test_cases_are_compared_by_their_means() -> None:
    table = tidy_scenarios({("a", "dice"): {"gm": [0.5, 0.7]}, ("b", "dice"): {"gm": [0.1, np.nan]}})
    table.loc[table["scenario"] == "b", "cohort"] = "another"
    evidence = Evidence(table, {ANATOMY_WMH: "a", IBSR_WMH: "b"}, {})
    assert evidence.difference((ANATOMY_WMH, "dice"), (IBSR_WMH, "dice")) == pytest.approx(0.6 - 0.1)


def test_the_naive_model_is_judged_on_the_validation_cases_of_its_scenario(
    smoke: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scenario may have a share of its own; the others' validation cases were not segmented."""
    asked = []
    usual = Scenario.split
    monkeypatch.setattr(Scenario, "split", lambda *which: (asked.append((which[0].name, which[1])), usual(*which))[1])
    shares = evidence._anatomy_on_lesion_images(smoke, {ANATOMY_WMH: "anatomy_wmh"})
    assert asked == [("anatomy_wmh", "mrbrains13"), ("anatomy_wmh", "mrbrains17")]
    assert len(shares) == len(usual(smoke.scenario("anatomy_wmh"), "mrbrains17")[1])
