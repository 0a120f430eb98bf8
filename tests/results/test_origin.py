import numpy as np
import pandas as pd
import pytest

from multiseg.results import origin
from multiseg.study import finished_runs
from multiseg.study.study import Study


def test_shares_count_tissue_on_images_of_both_cohorts(smoke: Study) -> None:
    run = smoke.find_run("anatomy_wmh/cross_entropy/0")
    shares = origin.labelled_shares(smoke, [run, smoke.find_run("single_wmh/dice/0")])
    # lesions are no tissue, and a single task has no other cohort
    assert shares["task"].unique().tolist() == ["csf+gm+wm"] and shares["scenario"].unique().tolist() == ["anatomy_wmh"]
    assert shares.set_index("cohort")["own"].to_dict() == {"mrbrains13": True, "mrbrains17": False}
    (case,) = smoke.scenario("anatomy_wmh").split("mrbrains17")[1]
    inside = finished_runs.prediction(run, case)[np.asarray(smoke.open(case).mask)]
    assert shares.set_index("cohort").loc["mrbrains17", "share"] == pytest.approx(np.isin(inside, [1, 2, 3]).mean())


def test_relative_shares_by_hand() -> None:
    rows = [("s", "m", r, 0, "gm", c, own, v) for r, c, own, v in
            [(1, "a", True, 0.8), (1, "b", False, 0.2), (2, "a", True, 0.5), (2, "b", False, 0.5)]]  # fmt: skip
    table = origin.relative_shares(pd.DataFrame(rows, columns=list(origin.COLUMNS)))
    assert table["share"].tolist() == [0.25, 1.0] and table["replicate"].tolist() == [1, 2]
    assert origin.relative_shares(pd.DataFrame(rows[:1], columns=list(origin.COLUMNS))).empty
