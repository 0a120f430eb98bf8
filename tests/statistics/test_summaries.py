import numpy as np
import pandas as pd
import pytest

from multiseg_core.statistics.summaries import mean_dice, surface_distances

from ..conftest import tidy


def test_mean_dice() -> None:
    result = mean_dice(tidy({"a": [[0.9, 0.8], [0.7, np.nan]]}))
    assert result.loc[("s", "a")].tolist() == pytest.approx([0.8, 0.8, (0.9 + 0.8 + 0.7) / 3])


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
