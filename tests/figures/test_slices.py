import numpy as np

from multiseg_core.exploration import cohort_tables
from multiseg_core.figures import slices
from multiseg_core.reporting import tables
from multiseg_core.study.study import Study


def test_overlay_shows_drawn_labels_only(smoke: Study) -> None:
    case = cohort_tables.open_cases(smoke)["mrbrains17"][0]
    z = slices.best_slice(case, smoke.labels)
    overlay = slices.target_overlay(case, smoke.labels, z)
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
