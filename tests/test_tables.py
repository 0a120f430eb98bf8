import numpy as np
import pandas as pd

from multiseg_core import tables


def test_surface_distances_are_medians_that_bear_missed_labels() -> None:
    """HD95 of 1, 3 and a miss (infinite): 3; two misses of three: infinite; a case without the label does not count."""
    inf, nan = np.inf, np.nan
    rows = [
        ("dice", "wmh", 1.0, 0.5), ("dice", "wmh", inf, inf), ("dice", "wmh", 3.0, 1.0),
        ("dice", "gm", 2.0, 1.0), ("dice", "gm", nan, nan), ("dice", "gm", 4.0, 2.0),
        ("cross_entropy", "wmh", inf, inf), ("cross_entropy", "wmh", inf, inf), ("cross_entropy", "wmh", 1.0, 0.2),
    ]  # fmt: skip
    metrics = pd.DataFrame(rows, columns=["model", "label", "hd95_mm", "assd_mm"]).assign(scenario="s")
    table = tables.surface_distances(metrics)
    assert list(table.index) == [("s", "dice"), ("s", "cross_entropy")]
    assert table.loc[("s", "dice")].to_dict() == {
        ("wmh", "HD95"): 3.0, ("wmh", "ASSD"): 1.0, ("gm", "HD95"): 3.0, ("gm", "ASSD"): 1.5
    }  # fmt: skip
    assert table.loc[("s", "cross_entropy"), ("wmh", "HD95")] == inf
    assert np.isnan(table.loc[("s", "cross_entropy"), ("gm", "ASSD")])
