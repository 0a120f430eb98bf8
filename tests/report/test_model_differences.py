"""The headline: expected values are arithmetic on metrics that are made up."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from multiseg.report import model_differences, summary
from multiseg.report.figures.endpoint_chart import difference_figure
from multiseg.study.study import Study

DICE = {  # model -> Dice of csf, gm and wm, and of wmh, by replicate
    "multi_unet": ([0.80, 0.82, 0.81], [0.60, 0.62, 0.64]),
    "cross_entropy": ([0.70, 0.70, 0.70], [0.66, 0.66, 0.66]),
    "selective_cross_entropy": ([0.81, 0.83, 0.82], [0.61, 0.61, 0.61]),
    "pseudo_labels": ([0.81, 0.83, 0.82], [0.50, 0.50, 0.50]),
    "oracle": ([0.82, 0.84, 0.83], [0.65, 0.65, 0.65]),
}


@pytest.fixture
def study(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> Study:
    """The smoke study, as if its scenario of WMH had those models."""
    scenario = smoke.scenarios["anatomy_wmh"]
    several = replace(scenario, params=scenario.params.changed(models=list(DICE)))
    monkeypatch.setattr(smoke, "scenarios", {"anatomy_wmh": several})
    return smoke


def metrics() -> pd.DataFrame:
    rows = [
        ("anatomy_wmh", model, r, 0, "mrbrains18", "a", "a", label, dice)
        for model, by_task in DICE.items()
        for labels, values in zip((("csf", "gm", "wm"), ("wmh",)), by_task, strict=True)
        for label in labels
        for r, dice in enumerate(values, start=1)
    ]
    columns = ["scenario", "model", "replicate", "seed", "cohort", "subject", "case", "label", "dice"]
    return pd.DataFrame(rows, columns=columns)


def test_distances_are_paired_over_replicates(study: Study) -> None:
    table = model_differences.difference_table(study, metrics())
    row = table.loc[("anatomy_wmh", "anatomy", "selective_cross_entropy")]
    assert row["dice"] == pytest.approx(0.82) and row["replicates"] == 3
    # the same in every replicate: no spread, whatever the replicates do
    assert [row[k] for k in ("minus oracle", "minus oracle low", "minus oracle high")] == pytest.approx(
        [-0.01] * 3, abs=1e-6
    )
    lesion = table.loc[("anatomy_wmh", "lesion", "multi_unet")]
    half = 4.302653 * 0.02 / np.sqrt(3)  # t of 2 degrees of freedom
    assert lesion["minus oracle"] == pytest.approx(-0.03)
    assert lesion["minus oracle high"] - lesion["minus oracle"] == pytest.approx(half, rel=1e-5)
    assert np.isnan(lesion["minus separate"])  # it is what the others are compared with


def test_candidates_have_one_network_and_no_complete_labels(study: Study) -> None:
    order = model_differences.ranking(study, model_differences.difference_table(study, metrics()))
    assert list(order.index) == ["selective_cross_entropy", "cross_entropy", "pseudo_labels"]
    assert order.loc["selective_cross_entropy", "mean"] == pytest.approx((0.82 + 0.61) / 2)
    # what each loses against the best candidate where it loses most
    assert order["behind"].to_list() == pytest.approx([0.05, 0.12, 0.16])


def test_answers_are_the_numbers_in_words(study: Study) -> None:
    answers = model_differences.answers(study, model_differences.difference_table(study, metrics()))
    first, second, third = answers
    assert first.startswith("Selective cross-entropy: the highest mean Dice, 0.715 over 2 endpoints. Selective cross")
    assert first.endswith("is never more than 0.050 behind the best at any task.")
    assert "the oracle. anatomy wmh: anatomy -0.010 (-0.010 to -0.010), lesions -0.040" in second
    assert "learn from the data of one task alone. anatomy wmh: anatomy +0.010 (+0.010 to +0.010)" in third


def test_without_roles_it_says_so(study: Study) -> None:
    some = metrics()
    some = some[some["model"].isin(["cross_entropy", "selective_cross_entropy"])]
    answers = model_differences.answers(study, model_differences.difference_table(study, some))
    assert answers["What do I lose against complete labels?"].startswith("This study does not say")
    none = model_differences.answers(study, model_differences.difference_table(study, some[:0]))
    assert len(none) == 1 and none.iloc[0].startswith("No model with one network")


def test_the_chart_shows_what_has_the_reference(study: Study) -> None:
    table = model_differences.difference_table(study, metrics())
    drawn = difference_figure(table, "minus oracle")
    assert drawn is not None
    figure, shown = drawn
    assert len(figure.axes) == 2 and set(shown["model"]) == set(DICE) - {"oracle"}
    assert "anatomy wmh, anatomy: best selective cross-entropy -0.010" in difference_figure.describe(shown).lower()
    assert difference_figure(table.assign(**{"minus oracle": np.nan}), "minus oracle") is None
    # a failure is an arrow, and the others keep their room
    failed = table.copy()
    failed.loc[
        ("anatomy_wmh", "anatomy", "cross_entropy"), ["minus oracle", "minus oracle low", "minus oracle high"]
    ] = -0.8
    drawn = difference_figure(failed, "minus oracle")
    assert drawn is not None
    left = drawn[0].axes[0]
    assert left.get_xlim() == pytest.approx((-0.06, 0.06)) and [t.get_text() for t in left.texts] == ["-0.80"]


def test_networks_that_learn_less_than_their_pseudo_labels_know_are_told(study: Study) -> None:
    (sentence,) = summary.weak_pseudo_labels(study, metrics())
    assert sentence == (
        "anatomy wmh, lesions: Pseudo-labels reaches a Dice of 0.50, and the networks that made its labels 0.62"
    )


def test_readers_see_intervals_beside_numbers(study: Study) -> None:
    shown = model_differences.with_intervals(model_differences.difference_table(study, metrics()))
    assert list(shown.columns) == ["dice", "minus oracle", "minus separate", "minus selective CE"]
    row = shown.loc[("anatomy_wmh", "anatomy", "selective_cross_entropy")]
    assert row["dice"] == "0.820 (0.795 to 0.845)" and row["minus oracle"] == "-0.010 (-0.010 to -0.010)"
    assert row["minus selective CE"] == "–"


def test_the_best_at_every_task_is_called_so(study: Study) -> None:
    some = metrics()
    some.loc[(some["model"] == "selective_cross_entropy") & (some["label"] == "wmh"), "dice"] = 0.9
    answers = model_differences.answers(study, model_differences.difference_table(study, some))
    assert answers.iloc[0].endswith(
        "over 2 endpoints. It is the best at every task of those with one network that run in every scenario."
    )
