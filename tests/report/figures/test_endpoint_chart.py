import numpy as np
import pandas as pd

from multiseg.report.figures.endpoint_chart import endpoint_figure


def test_endpoints_that_no_model_was_scored_for_are_left_out() -> None:
    columns = ["scenario", "endpoint", "model", "dice", "low", "high", "reference", "margin"]
    rows = [
        ("s", "anatomy", "dice", 0.7, 0.6, 0.8, 0.75, 0.02),
        ("s", "lesion", "dice", np.nan, np.nan, np.nan, np.nan, 0.05),
    ]
    table = pd.DataFrame(rows, columns=columns)
    figure = endpoint_figure(table)
    assert figure is not None
    text = endpoint_figure.describe(table)
    assert text.endswith("anatomy: best Dice 0.700.")
    assert endpoint_figure(table[1:]) is None
