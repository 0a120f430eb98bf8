import itertools

import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch

from multiseg.report.figures import comparison_charts, result_charts
from multiseg.results.thesis_test import thesis_test
from multiseg.settings.models import MODELS, SINGLE_TASK
from multiseg.study.study import Study

LABELS = ["csf", "gm", "wm", "wmh"]


def results(models: list[str], labels: list[str] = LABELS) -> pd.DataFrame:
    """Four cases; Dice rises by 0.001 from model to model: means that nearly coincide."""
    return pd.DataFrame(
        [
            {"scenario": "s", "model": model, "seed": 0, "cohort": "c", "case": f"case{i}", "label": label,
             "dice": 0.8 + 0.001 * m + 0.01 * i}
            for (m, model), i, label in itertools.product(enumerate(models), range(4), labels)
        ]
    )  # fmt: skip


def boxes(figure: Figure) -> list[list[PathPatch]]:
    return [[patch for patch in axes.patches if isinstance(patch, PathPatch)] for axes in figure.axes]


def overlapping(figure: Figure) -> list[tuple[str, str]]:
    """Pairs of texts in the axes of a figure that lie on each other."""
    figure.canvas.draw()
    texts = [text for axes in figure.axes for text in axes.texts]
    boxes = [text.get_window_extent() for text in texts]
    pairs = itertools.combinations(range(len(texts)), 2)
    return [(texts[a].get_text(), texts[b].get_text()) for a, b in pairs if boxes[a].overlaps(boxes[b])]


def test_boxes_are_quartiles() -> None:
    table = pd.DataFrame({"model": "dice", "label": "gm", "dice": [0.1, 0.2, 0.3, 0.4, 0.5, np.nan]})
    figure = result_charts.dice_boxes(table, ["gm"])
    (box,) = boxes(figure)[0]
    heights = box.get_path().vertices[:, 1]
    assert (heights.min(), heights.max()) == (pytest.approx(0.2), pytest.approx(0.4))
    assert to_hex(box.get_facecolor()).upper() == MODELS["dice"].colour
    points = [line for line in figure.axes[0].lines if line.get_marker() == "o"]
    assert points[0].get_ydata().tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_the_single_task_stands_first() -> None:
    single = pd.DataFrame({"model": SINGLE_TASK, "label": ["gm", "gm", "wm"], "dice": [0.9, 0.7, 0.6]})
    rows = pd.concat([single, results(["multi_unet", "dice"])])
    figure = result_charts.dice_boxes(rows, ["gm", "wm", "wmh"])
    found = boxes(figure)[0]
    assert len(found) == 8  # three boxes each for GM and WM, two for WMH, which has no single task
    hatched = [i for i, box in enumerate(found) if box.get_hatch()]
    assert hatched == [0, 3]
    assert found[0].get_path().vertices[:, 0].max() < found[1].get_path().vertices[:, 0].min()
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["Single task", "MultiUNet", "Dice"]


def test_many_boxes_take_two_rows() -> None:
    models = list(MODELS)[:9]
    figure = result_charts.dice_boxes(results(models), LABELS)
    assert [len(line) for line in boxes(figure)] == [18, 18]
    assert [[t.get_text() for t in axes.get_xticklabels()] for axes in figure.axes] == [["CSF", "GM"], ["WM", "WMH"]]
    assert len(result_charts.dice_boxes(results(models[:5]), LABELS).axes) == 1


def test_bars_join_models_that_do_not_differ() -> None:
    order = ["a", "b", "c", "d"]
    assert result_charts.joined(order, set()) == [("a", "d")]
    assert result_charts.joined(order, {frozenset("ad"), frozenset("ac")}) == [("a", "b"), ("b", "d")]
    assert result_charts.joined(order, {frozenset(p) for p in ("ab", "ac", "ad", "bc", "bd", "cd")}) == []


def test_significance_axis_names_every_model(smoke: Study) -> None:
    metrics = pd.read_csv(smoke.folder / "metrics.csv")
    figure = result_charts.significance_axis(thesis_test(metrics), metrics.groupby("model")["dice"].mean())
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    for name in ("MultiUNet", "naive", "Selective Dice"):
        assert name in texts


@pytest.mark.parametrize("spread", [0.0, 0.001, 1.0])
def test_names_on_the_axis_never_overlap(spread: float) -> None:
    models = list(MODELS)
    metrics = results(models)
    means = pd.Series({model: 0.3 + spread * 0.5 * i / len(models) for i, model in enumerate(models)})
    figure = result_charts.significance_axis(thesis_test(metrics), means)
    assert len(figure.axes[0].texts) == len(models)
    assert overlapping(figure) == []


def pairs(models: list[str]) -> pd.DataFrame:
    """Differences of 0.01, 0.02, ... with intervals 0.005 below and 0.02 above."""
    rows = [
        {"scenario": "s", "model_a": a, "model_b": b, "difference": 0.01 * i, "low": 0.01 * i - 0.005,
         "high": 0.01 * i + 0.02, "significant": True}
        for i, (a, b) in enumerate(itertools.combinations(models, 2), start=1)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_the_forest_keeps_pairs_with_the_reference_where_there_are_many() -> None:
    few = pairs(list(MODELS)[:6])
    assert comparison_charts.forest_pairs(few) is few
    others = pairs([f"model{i}" for i in range(9)])
    assert comparison_charts.forest_pairs(others) is others
    kept = comparison_charts.forest_pairs(pairs(list(MODELS)[:7]))
    assert list(kept["model_a"]) == ["selective_cross_entropy"] * 6
    assert list(kept["model_b"]) == [m for m in list(MODELS)[:7] if m != "selective_cross_entropy"]
    # the second pair, MultiUNet - selective cross-entropy, 0.02 (0.015 to 0.04), is turned round
    assert kept.iloc[0][["difference", "low", "high"]].tolist() == pytest.approx([-0.02, -0.04, -0.015])
    # pair 12, selective cross-entropy - Dice, is not
    assert kept.iloc[2][["difference", "low", "high"]].tolist() == pytest.approx([0.12, 0.115, 0.14])
    figure = comparison_charts.difference_intervals(pairs(list(MODELS)[:7]))
    assert len(figure.axes[0].get_yticklabels()) == 6
    assert "only pairs with Selective cross-entropy" in figure.axes[0].get_xlabel()


def test_training_curves_wrap() -> None:
    models = list(MODELS)[:9]
    history = pd.DataFrame(
        [
            {"model": model, "network": 0, "seed": 0, "step": step, "training_loss": 1 / step,
             "validation_loss": 2 / step}
            for model, step in itertools.product(models, (1, 2))
        ]
    )  # fmt: skip
    figure = result_charts.training_curves(history)
    places = [axes.get_subplotspec() for axes in figure.axes]
    assert {(place.rowspan.start, place.colspan.start) for place in places} == {
        (r, c) for r in (0, 1) for c in range(5)
    }
    assert [len(axes.lines) for axes in figure.axes] == [2] * 9 + [0]
    assert figure.axes[8].lines[1].get_ydata().tolist() == [2, 1]


def test_loss_of_dice_without_a_divergence_is_left_out() -> None:
    rows = [("dice", "a", "gm", 0.01, 0.1), ("dice", "b", "gm", 0.02, 0.2), ("dice", "c", "gm", np.nan, 0.0)]
    table = pd.DataFrame(rows, columns=["model", "cohort", "label", "divergence", "loss"]).assign(test_cohort="t")
    axes = comparison_charts.shift_figure(table).axes[0]
    assert [text.get_text() for text in axes.texts] == ["a → t", "b → t"]
    points = [line for line in axes.lines if line.get_marker() == "o"]
    assert [float(line.get_ydata()[0]) for line in points] == [0.1, 0.2]
    assert float(points[0].get_xdata()[0]) == pytest.approx(10.0)
