import re
from types import SimpleNamespace

import numpy as np
import pandas as pd

from multiseg.data.store import StoredCase
from multiseg.report import tables
from multiseg.report.figures import case_viewer, comparison_charts, overlays, result_charts, slices
from multiseg.study import finished_runs
from multiseg.study.study import Study
from tests.conftest import tidy

RIGHT, MISSED, INVENTED = overlays.RIGHT, overlays.MISSED, overlays.INVENTED


def test_errors_are_told_apart_and_silence_is_none() -> None:
    """Rows: background that may hide gm, gm, wm, and a coarse set."""
    sets = [frozenset({"background", "gm"}), frozenset({"gm"}), frozenset({"wm"}), frozenset({"gm", "wm"})]
    case = SimpleNamespace(sets=sets, target=np.array([0, 1, 1, 2, 2, 3, 0]).reshape(1, 1, 7))
    prediction = np.array([1, 1, 0, 1, 2, 1, 0]).reshape(1, 1, 7)
    errors = overlays.error_map(case, prediction, ["gm", "wm"], "gm")  # type: ignore[arg-type]
    assert errors.ravel().tolist() == [0, RIGHT, MISSED, INVENTED, 0, 0, 0]
    errors = overlays.error_map(case, prediction, ["gm", "wm"], "wm")  # type: ignore[arg-type]
    assert errors.ravel().tolist() == [0, 0, 0, MISSED, RIGHT, 0, 0]


def test_slices_lie_where_most_errors_are() -> None:
    errors = np.zeros((5, 6, 7), dtype=np.uint8)
    assert slices.telling_slices(errors) == (2, 3, 3)
    errors[0] = RIGHT
    errors[0, 1, 2] = 0
    assert slices.telling_slices(errors)[0] == 0
    errors[3, 4, 5:] = MISSED
    errors[2, 4, 5] = INVENTED
    assert slices.telling_slices(errors) == (3, 4, 5)


def test_ranked_cases_are_worst_median_and_best(smoke: Study) -> None:
    rows = tables.ranked_cases(smoke, "anatomy_wmh", "gm", "selective_cross_entropy")
    run = next(r for r in smoke.runs_of("anatomy_wmh") if r.model == "selective_cross_entropy")
    dice = finished_runs.read_metrics(run.folder / "metrics.csv").query("label == 'gm'")["dice"]
    assert rows[0].rank == "worst" and rows[0].dice == dice.min() and rows[-1].dice == dice.max()
    assert len(rows) == min(3, dice.notna().sum())
    for row in rows:
        assert row.uncertainty is not None and row.uncertainty.shape == row.prediction.shape
        assert row.uncertainty.min() == 0 and 0 < row.uncertainty.max() <= 1
    panel = slices.case_panel(rows, run.labels, "gm", "FLAIR", run.model)
    assert panel is not None and len(panel[0].axes) == 4 * len(rows)
    bare = slices.case_panel([row._replace(uncertainty=None) for row in rows], run.labels, "gm", "FLAIR", run.model)
    assert bare is not None and len(bare[0].axes) == 3 * len(rows)
    assert tables.ranked_cases(smoke, "anatomy_wmh", "gm", "conditioned") == []
    assert tables.shown_model(smoke, "anatomy_wmh") == "selective_cross_entropy"
    assert tables.shown_model(smoke, "single_wmh") == "cross_entropy"


def test_mosaics_hold_every_voxel_where_the_viewer_looks() -> None:
    volume = np.arange(5 * 3 * 4).reshape(5, 3, 4)
    mosaic = case_viewer.mosaic(volume)
    columns = mosaic.shape[1] // 3
    for x, y, z in np.ndindex(*volume.shape):
        row, column = divmod(x, columns)
        assert mosaic[row * 4 + 3 - z, column * 3 + y] == volume[x, y, z]


def test_the_viewer_needs_no_network(cohorts: dict[str, list[StoredCase]]) -> None:
    case = cohorts["mrbrains18"][0]
    page = case_viewer.case_viewer(case, {"dice": np.zeros(case.target.shape, np.uint8)}, ["csf", "wmh"], "FLAIR")
    assert not re.search(r"https?://", page) and "function brainsprite" in page
    assert re.findall(r"<option[^>]*>(.*?)</option>", page) == ["ground truth", "Dice", "Dice: errors"]
    assert re.search(r"[\d.]+ MB of this page", page)


def pairs(rows: list[tuple[str, str, float, bool]]) -> pd.DataFrame:
    means = {"oracle": 0.9, "dice": 0.8, "multi_unet": 0.7}
    return pd.DataFrame(
        [
            {"scenario": "s", "model_a": a, "model_b": b, "mean_a": means[a], "mean_b": means[b], "difference": d,
             "significant": sure}
            for a, b, d, sure in rows
        ]
    )  # fmt: skip


def test_the_matrix_shows_better_minus_worse_and_frames_what_is_sure() -> None:
    table = pairs(
        [("dice", "oracle", -0.1, True), ("dice", "multi_unet", 0.1, False), ("multi_unet", "oracle", -0.2, True)]
    )
    figure = comparison_charts.difference_matrix(table)
    assert figure is not None
    (axes,) = figure.axes
    assert [t.get_text() for t in axes.get_yticklabels()] == ["Oracle", "Dice"]
    assert [t.get_text() for t in axes.get_xticklabels()] == ["Dice", "MultiUNet"]
    found = {t.get_position(): t.get_text() for t in axes.texts}
    assert found == {(0, 0): "+.100", (1, 1): "+.100", (1, 0): "+.200"}
    assert sum(not patch.get_fill() for patch in axes.patches) == 2
    assert comparison_charts.difference_matrix(table.assign(difference=np.nan)) is None


def test_a_model_far_below_is_an_arrow_with_its_median() -> None:
    metrics = tidy({"dice": [[0.8], [0.82]], "oracle": [[0.85], [0.9]], "cross_entropy": [[0.1], [0.2]]})
    figure = result_charts.dice_zoomed(metrics, ["l0"])
    assert figure is not None
    low, high = figure.axes[0].get_xlim()
    assert 0.7 < low < 0.8 and 0.9 < high < 1
    assert [t.get_text() for t in figure.axes[0].texts] == ["0.15"]
    assert result_charts.dice_zoomed(metrics.assign(dice=np.nan), ["l0"]) is None


def test_the_axis_is_zoomed_only_where_models_are_far() -> None:
    tests = pairs([("dice", "oracle", -0.1, True)])
    near = pd.Series({"dice": 0.8, "oracle": 0.85})
    assert result_charts.significance_zoomed(tests, near) is None
    assert result_charts.significance_zoomed(tests, pd.concat([near, pd.Series({"cross_entropy": 0.2})])) is not None
