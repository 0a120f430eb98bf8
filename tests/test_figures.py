from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from multiseg_core import exploration, figures, tables
from multiseg_core.statistics import thesis_test
from multiseg_core.study import Study


@pytest.fixture(autouse=True)
def close_figures() -> object:
    yield
    plt.close("all")


def test_equal_figures_are_equal_files(tmp_path: Path) -> None:
    table = pd.DataFrame({"x": [1, 2]})
    for name in ("a", "b"):
        figure, axes = plt.subplots()
        axes.plot([1, 2])
        figures.save(figure, table, tmp_path, name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.csv").read_text() == "x\n1\n2\n"


def test_colours_are_the_thesis_s_and_never_shared() -> None:
    colours = figures.label_colours(["csf", "gm", "wm", "wmh"])
    assert colours == {"csf": "#2ca02c", "gm": "#1f5fd0", "wm": "#f2d32b", "wmh": "#e0201b"}
    assert figures.label_colours(["oedema", "tumour"]) == {"oedema": "#e0201b", "tumour": "#2ca02c"}
    many = figures.label_colours(["csf", "tumour", "wmh", "oedema", "liver"])
    assert len(set(many.values())) == 5


def test_bars_join_models_that_do_not_differ() -> None:
    order = ["a", "b", "c", "d"]
    assert figures._joined(order, set()) == [("a", "d")]
    assert figures._joined(order, {frozenset("ad"), frozenset("ac")}) == [("a", "b"), ("b", "d")]
    assert figures._joined(order, {frozenset(p) for p in ("ab", "ac", "ad", "bc", "bd", "cd")}) == []


def test_overlay_shows_drawn_labels_only(smoke: Study) -> None:
    case = exploration.open_cases(smoke)["mrbrains17"][0]
    z = figures.best_slice(case, smoke.labels)
    overlay = figures.target_overlay(case, smoke.labels, z)
    wmh = [i for i, members in enumerate(case.sets) if members == {"wmh"}]
    assert set(np.unique(overlay)) <= {0, 4}
    assert ((overlay == 4) == np.isin(case.target[:, :, z], wmh)).all() and (overlay == 4).any()


def test_tables_of_panels_count_what_is_drawn(smoke: Study) -> None:
    case, predictions = tables.example_predictions(smoke, "anatomy_wmh")
    figure, table = figures.prediction_panel(case, predictions, smoke.labels, "FLAIR")
    z = table["slice"].iloc[0]
    rows = table.set_index(["panel", "label"])["voxels"]
    assert list(predictions) == smoke.params.scenarios["anatomy_wmh"].models
    for model, prediction in predictions.items():
        assert rows[model, "gm"] == (prediction[:, :, z] == 2).sum()
    assert len(figure.axes) == 8


def test_significance_axis_names_every_model(smoke: Study) -> None:
    metrics = pd.read_csv(smoke.folder / "metrics.csv")
    figure = figures.significance_axis(thesis_test(metrics), metrics.groupby("model")["dice"].mean())
    texts = " ".join(text.get_text() for text in figure.axes[0].texts)
    for name in ("MultiUNet", "naive", "Selective\nDice"):
        assert name in texts


def test_predicted_volumes_by_hand(smoke: Study) -> None:
    from multiseg_core import runs

    table = tables.predicted_volumes(smoke, "anatomy_wmh", ["cross_entropy"])
    case = smoke.split("mrbrains13")[1][0]
    prediction = runs.load_prediction(smoke, smoke.find_run("anatomy_wmh/cross_entropy/0"), case)
    assert table.loc[("cross_entropy", "mrbrains13"), "gm"] == pytest.approx((prediction == 2).sum() * 6**3 / 1000)


def test_sets_in_words() -> None:
    labels = ("csf", "gm", "wm", "wmh")
    assert figures.describe_set(frozenset({"background"}), labels) == "background"
    assert figures.describe_set(frozenset({"background", "gm", "csf"}), labels) == "background, CSF or GM"
    assert figures.describe_set(frozenset({"background", *labels}), labels) == "ignored (any class)"
