import pytest

from multiseg.report import tables
from multiseg.report.figures.result_charts import dice_boxes, significance_axis, training_curves
from multiseg.report.figures.slices import naive_panel, prediction_panel
from multiseg.study import finished_runs
from multiseg.study.study import Study
from multiseg.thesis import reported


def test_dice_of_a_scenario_whatever_the_order() -> None:
    table = reported.dice(["mrbrains17", "mrbrains13"], "mrbrains18").set_index(["model", "label"])["dice"]
    assert table["selective_cross_entropy", "mean"] == 0.724879
    assert table["multi_unet", "csf"] == 0.71
    assert len(table) == 4 * 4 + 5  # four boxes of four labels, five means
    assert len(reported.dice(["mrbrains13"], "mrbrains18")) == 0


def test_the_divergences_are_symmetric() -> None:
    matrix = reported.divergences()
    assert list(matrix.index) == list(matrix.columns) and (matrix == matrix.T).all(axis=None)


def test_ours_beside_the_thesis_s(smoke: Study) -> None:
    metrics = finished_runs.metrics(smoke).query("scenario == 'anatomy_wmh'")
    table = reported.beside_thesis(smoke.scenario("anatomy_wmh"), metrics)
    assert table.loc["cross_entropy", ("gm", "thesis")] == 0.11
    part = metrics[(metrics["model"] == "dice") & (metrics["label"] == "gm")]["dice"]
    assert table.loc["dice", ("gm", "ours")] == pytest.approx(part.median())
    everything = metrics[metrics["model"] == "dice"]["dice"]
    assert table.loc["dice", ("mean", "ours")] == pytest.approx(everything.mean())
    assert table.loc["selective_dice", ("mean", "thesis")] == 0.645588
    assert table["csf", "thesis"].isna().loc["selective_dice"]


def test_predicted_volumes_by_hand(smoke: Study) -> None:
    table = tables.predicted_volumes(smoke, "anatomy_wmh", ["cross_entropy"])
    case = smoke.scenario("anatomy_wmh").split("mrbrains13")[1][0]
    prediction = finished_runs.prediction(smoke.find_run("anatomy_wmh/cross_entropy/0"), case)
    assert table.loc[("cross_entropy", "mrbrains13"), "gm"] == pytest.approx((prediction == 2).sum() * 6**3 / 1000)


@pytest.mark.parametrize(
    ("train", "test", "numbers"),
    [
        (["ibsr"], "ibsr", {"dice": 17, "panel": 18, "significance": 19, "naive": None}),
        (["mrbrains17"], "mrbrains17", {"dice": 20, "panel": 21, "significance": 22, "naive": None}),
        (["brats12"], "brats12", {"dice": 23, "panel": 25, "significance": 24, "naive": None}),
        # figure 32 shows the naive model of the IBSR scenario; the thesis has none of this one
        (["mrbrains17", "mrbrains13"], "mrbrains18", {"dice": 26, "panel": 28, "significance": 27, "naive": None}),
        (["ibsr", "mrbrains17"], "mrbrains18", {"dice": 29, "panel": 31, "significance": 30, "naive": 32}),
        (["brainweb", "brats12"], "tumorsim", {"dice": 34, "panel": 36, "significance": 35, "naive": 37}),
        (["mrbrains13"], "mrbrains18", {"dice": None, "panel": None, "significance": None, "naive": None}),
    ],
)
def test_figures_have_the_numbers_of_the_thesis(train: list[str], test: str, numbers: dict[str, int | None]) -> None:
    kinds = (dice_boxes, prediction_panel, significance_axis, naive_panel)
    assert {kind.name: reported.figure_number(train, test, kind.thesis) for kind in kinds} == numbers
    assert reported.figure_number(train, test, training_curves.thesis) is None
