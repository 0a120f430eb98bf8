import pytest

from multiseg_core import runs, tables, thesis
from multiseg_core.study import Study


def test_dice_of_a_scenario_whatever_the_order() -> None:
    table = thesis.dice(["mrbrains17", "mrbrains13"], "mrbrains18").set_index(["model", "label"])["dice"]
    assert table["selective_cross_entropy", "mean"] == 0.724879
    assert table["multi_unet", "csf"] == 0.71
    assert len(table) == 4 * 4 + 5  # four boxes of four labels, five means
    assert len(thesis.dice(["mrbrains13"], "mrbrains18")) == 0


def test_the_divergences_are_symmetric() -> None:
    matrix = thesis.divergences()
    assert list(matrix.index) == list(matrix.columns) and (matrix == matrix.T).all(axis=None)


def test_ours_beside_the_thesis_s(smoke: Study) -> None:
    metrics = runs.collect_metrics(smoke).query("scenario == 'anatomy_wmh'")
    table = tables.beside_thesis(smoke, "anatomy_wmh", metrics)
    assert table.loc["cross_entropy", ("gm", "thesis")] == 0.11
    part = metrics[(metrics["model"] == "dice") & (metrics["label"] == "gm")]["dice"]
    assert table.loc["dice", ("gm", "ours")] == pytest.approx(part.median())
    everything = metrics[metrics["model"] == "dice"]["dice"]
    assert table.loc["dice", ("mean", "ours")] == pytest.approx(everything.mean())
    assert table.loc["selective_dice", ("mean", "thesis")] == 0.645588
    assert table["csf", "thesis"].isna().loc["selective_dice"]
