import numpy as np
import pandas as pd
import pytest

from multiseg.results import cohort_tables, domain_distance
from multiseg.study import finished_runs
from multiseg.study.study import Study


def test_own_cohort_dice_of_each_task_comes_from_its_network_alone(smoke: Study) -> None:
    """Lesions have the last word in MultiUNet, so theirs must equal those of the merged prediction."""
    table = finished_runs.single_tasks(smoke.runs_of("anatomy_wmh"))
    drawn = {cohort: set(part["label"]) for cohort, part in table.groupby("cohort")}
    assert drawn == {"mrbrains13": {"csf", "gm", "wm"}, "mrbrains17": {"wmh"}}
    run = next(run for run in smoke.runs_of("anatomy_wmh") if run.model == "multi_unet")
    merged = finished_runs.read_metrics(run.folder / "validation.csv")
    lesions = merged.query("cohort == 'mrbrains17'").set_index(["case", "label"])["dice"]
    alone = table.query("cohort == 'mrbrains17'").set_index(["case", "label"])["dice"]
    pd.testing.assert_series_equal(alone, lesions)
    tested = finished_runs.metrics(smoke)
    tested = tested[tested["scenario"] == "anatomy_wmh"]
    both = domain_distance.with_single_task(smoke.runs_of("anatomy_wmh"), tested)
    assert list(dict.fromkeys(both["model"]))[:2] == ["single_task", "multi_unet"]
    assert len(both) == len(table) + len(tested)


def test_loss_of_dice_is_own_minus_test(smoke: Study) -> None:
    divergence = domain_distance.divergences(cohort_tables.open_cases(smoke))
    every = domain_distance.dice_losses(smoke, finished_runs.metrics(smoke), divergence)
    assert set(every["scenario"]) == {"anatomy_wmh", "anatomy_tumour"}  # not the one that is tested on its own cohort
    losses = every[every["scenario"] == "anatomy_wmh"]
    assert list(every.columns) == list(domain_distance.LOSS_COLUMNS)
    assert set(losses["model"]) == {"multi_unet", "selective_cross_entropy"}
    assert (losses["test_cohort"] == "mrbrains18").all() and (losses["divergence"] > 0).all()
    np.testing.assert_allclose(losses["loss"], losses["dice_own"] - losses["dice_test"])
    metrics = finished_runs.metrics(smoke).query("scenario == 'anatomy_wmh'")
    for row in losses.itertuples():
        part = metrics.query("model == @row.model and label == @row.label")["dice"]
        assert row.dice_test == pytest.approx(part.mean())


def losses_table(rows: list[tuple[str, str, str, float, float]]) -> pd.DataFrame:
    table = pd.DataFrame(rows, columns=["model", "cohort", "label", "divergence", "loss"])
    return table.assign(scenario="s", test_cohort="t")


def test_correlation_is_over_pairs_of_cohorts() -> None:
    """Labels of a pair are averaged: losses .2, .3, .6 rise with the divergences, although single labels do not."""
    table = losses_table(
        [
            ("dice", "a", "gm", 0.01, 0.1), ("dice", "a", "wm", 0.01, 0.3),
            ("dice", "b", "gm", 0.02, 0.6), ("dice", "b", "wm", 0.02, 0.0),
            ("dice", "c", "gm", 0.03, 0.6), ("multi_unet", "a", "gm", 0.01, 0.1), ("multi_unet", "b", "gm", 0.02, 0.2),
            ("dice", "d", "gm", np.nan, -5.0),
        ]
    )  # fmt: skip
    found = domain_distance.rank_correlations(table).set_index("model")
    assert found.loc["dice", "pairs"] == 3 and found.loc["dice", "rho"] == pytest.approx(1.0)
    assert found.loc["multi_unet", "pairs"] == 2 and np.isnan(found.loc["multi_unet", "rho"])
