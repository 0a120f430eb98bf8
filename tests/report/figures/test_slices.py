import types

import matplotlib.pyplot as plt
import numpy as np

from multiseg.report import tables
from multiseg.report.figures import overlays, slices
from multiseg.report.figures.names import label_title
from multiseg.results import cohort_tables
from multiseg.study.study import Study


def test_overlay_shows_drawn_labels_only(smoke: Study) -> None:
    case = cohort_tables.open_cases(smoke)["mrbrains17"][0]
    z = slices.best_slice(case, smoke.labels)
    overlay = overlays.truth(case, smoke.labels).numbers[:, :, z]
    wmh = [i for i, members in enumerate(case.sets) if members == {"wmh"}]
    assert set(np.unique(overlay)) <= {0, 4}
    assert ((overlay == 4) == np.isin(case.target[:, :, z], wmh)).all() and (overlay == 4).any()


def test_tables_of_panels_count_what_is_drawn(smoke: Study) -> None:
    case, predictions = tables.example_predictions(smoke, "anatomy_wmh")
    figure, table = slices.prediction_panel(case, predictions, smoke.labels, "FLAIR")
    z = table["slice"].iloc[0]
    rows = table.set_index(["panel", "label"])["voxels"]
    assert list(predictions) == smoke.params.scenarios["anatomy_wmh"].models
    for model, prediction in predictions.items():
        assert rows[model, "gm"] == (prediction[:, :, z] == 2).sum()
    assert len(figure.axes) == 8


def test_a_coarse_set_is_drawn_as_itself() -> None:
    """It was painted as the first of its labels."""
    sets = (frozenset({"background"}), frozenset({"wm"}), frozenset({"gm", "csf"}), frozenset({"background", "wm"}))
    target = np.array([[0, 1], [2, 3]], dtype=np.uint8)[..., None]
    case = types.SimpleNamespace(sets=sets, target=target)
    names = slices.drawn_sets(case, ["csf", "gm", "wm"])  # type: ignore[arg-type]
    assert names == ["wm", "csf or gm"]
    assert overlays.truth(case, names).numbers[:, :, 0].tolist() == [[0, 1], [2, 0]]  # type: ignore[arg-type]
    assert label_title("csf or gm") == "CSF or GM"


def test_a_legend_of_nothing_is_none() -> None:
    """As of a cohort of controls, or one without labels: matplotlib cannot lay out a legend of no columns."""
    figure = plt.figure()
    slices.label_legend(figure, [])
    assert not figure.legends
