import numpy as np
import pandas as pd
import pytest

from multiseg.results.summaries import lesion_table, mean_dice, surface_distances
from tests.conftest import tidy


def test_mean_dice() -> None:
    result = mean_dice(tidy({"a": [[0.9, 0.8], [0.7, np.nan]]}))
    assert result.loc[("s", "a")].tolist() == pytest.approx([0.8, 0.8, (0.9 + 0.8 + 0.7) / 3])


def test_a_label_that_is_nowhere_has_no_column() -> None:
    table = tidy({"a": [[0.9, np.nan], [0.7, np.nan]]})
    assert list(mean_dice(table).columns) == ["l0", "mean"]


def test_mean_dice_leaves_undefined_values_out_model_by_model() -> None:
    result = mean_dice(tidy({"a": [[0.9, 0.8], [0.7, np.nan]], "b": [[0.5, np.nan], [0.1, np.nan]]}))
    assert result.loc[("s", "a"), "mean"] == pytest.approx((0.9 + 0.8 + 0.7) / 3)
    assert result.loc[("s", "b"), "mean"] == pytest.approx(0.3) and np.isnan(result.loc[("s", "b"), "l1"])


def test_mean_dice_keeps_the_order_of_scenarios_models_and_labels() -> None:
    first = tidy({"c": [[0.1]], "a": [[0.2]]}).assign(scenario="z", label="wmh")
    second = tidy({"b": [[0.3]], "c": [[0.4]], "a": [[np.nan]]})
    result = mean_dice(pd.concat([first, second]))
    assert list(result.index) == [("z", "c"), ("z", "a"), ("s", "b"), ("s", "c"), ("s", "a")]
    assert list(result.columns) == ["wmh", "l0", "mean"] and result.columns.name == "label"
    assert result["mean"].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, np.nan], nan_ok=True)


def test_surface_distances_are_medians_that_bear_missed_labels() -> None:
    """HD95 of 1, 3 and a miss (infinite): 3; two misses of three: infinite; a case without the label does not count."""
    inf, nan = np.inf, np.nan
    rows = [
        ("dice", "wmh", 1.0, 0.5), ("dice", "wmh", inf, inf), ("dice", "wmh", 3.0, 1.0),
        ("dice", "gm", 2.0, 1.0), ("dice", "gm", nan, nan), ("dice", "gm", 4.0, 2.0),
        ("cross_entropy", "wmh", inf, inf), ("cross_entropy", "wmh", inf, inf), ("cross_entropy", "wmh", 1.0, 0.2),
    ]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=["model", "label", "hd95_mm", "assd_mm"]).assign(scenario="s")
    table = surface_distances(metrics)
    assert list(table.index) == [("s", "dice"), ("s", "cross_entropy")]
    assert table.loc[("s", "dice")].to_dict() == {
        ("wmh", "HD95"): 3.0, ("wmh", "ASSD"): 1.0, ("gm", "HD95"): 3.0, ("gm", "ASSD"): 1.5
    }  # fmt: skip
    assert table.loc[("s", "cross_entropy"), ("wmh", "HD95")] == inf
    assert np.isnan(table.loc[("s", "cross_entropy"), ("gm", "ASSD")])


def test_lesions_are_counted_over_all_cases() -> None:
    names = "lesions_found lesions_true lesions_false lesion_f1 volume_pred_ml volume_true_ml false_ml small_found"
    columns = [*names.split(), "small_true", "medium_found", "medium_true", "large_found", "large_true"]
    rows = [[1, 4, 2, 0.3, 3, 5, 1, 0, 3, 0, 0, 1, 1], [1, 1, 0, 1.0, 6, 5, 1, 0, 0, 0, 0, 1, 1]]
    metrics = pd.DataFrame(rows, columns=columns, dtype=float).assign(scenario="s", model="m", label="wmh")
    row = lesion_table(pd.concat([metrics, metrics.assign(label="gm")]), ["wmh"]).loc[("s", "m", "wmh")]
    assert len(row) == 8 and row["found"] == 2 / 5
    assert row["small"] == 0 and row["large"] == 1 and np.isnan(row["medium"])
    assert row["false per case"] == 1 and row["F1"] == 0.65
    assert row["bias (ml)"] == -0.5 and row["false ml per case"] == 1
