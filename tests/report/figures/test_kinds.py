import importlib
import pkgutil

import numpy as np
import pandas as pd

from multiseg.report import figures
from multiseg.report.figures import cohort_charts, comparison_charts, result_charts, slices
from multiseg.report.figures.kinds import FigureKind


def all_kinds() -> list[FigureKind]:
    modules = [importlib.import_module(f"{figures.__name__}.{m.name}") for m in pkgutil.iter_modules(figures.__path__)]
    found = {id(value): value for module in modules for value in vars(module).values() if isinstance(value, FigureKind)}
    return list(found.values())


def reading(kind: FigureKind, rows: list[dict]) -> str:
    text = kind.describe(pd.DataFrame(rows))
    return text.removeprefix(kind.caption).strip()


def test_readings_of_results() -> None:
    boxes = [{"model": m, "dice": d} for m, d in (("dice", 0.2), ("dice", 0.4), ("oracle", 0.9), ("single_task", 1.0))]
    assert reading(result_charts.dice_boxes, boxes) == "Highest mean: Oracle, 0.900; lowest: Dice, 0.300."
    assert reading(result_charts.dice_boxes, boxes[:2]) == "Mean of Dice: 0.300."
    assert reading(result_charts.dice_boxes, [{"model": "dice", "dice": np.nan}]) == ""
    tests = [
        {"model_a": "dice", "model_b": "oracle", "significant": True},
        {"model_a": "dice", "model_b": "multi_unet", "significant": False},
    ]
    assert (
        reading(result_charts.significance_axis, tests)
        == "1 of 2 pairs differ significantly; not so Dice and MultiUNet."
    )
    assert reading(result_charts.significance_axis, tests[:1]) == "1 of 1 pairs differ significantly."
    pairs = [{"scenario": "s", "difference": d, **t} for d, t in zip((0.1, -0.2), tests, strict=True)]
    assert reading(comparison_charts.difference_intervals, pairs) == (
        "Largest difference: Dice minus MultiUNet, -0.200 (s). 1 of 2 pairs differ significantly."
    )
    history = [{"model": "dice", "validation_loss": v} for v in (0.5, 0.25, 0.75)]
    assert reading(result_charts.training_curves, history) == "Lowest validation loss: Dice 0.250."


def test_readings_of_slices() -> None:
    panel = [{"case": "a", "panel": p, "voxels": v} for p, v in (("ground truth", 3), ("ground truth", 4), ("dice", 5))]
    assert reading(slices.prediction_panel, panel) == "Case a. Labelled voxels: ground truth 7, Dice 5."
    naive = [
        {"cohort": "x", "label": "gm", "voxels_true": 9, "voxels_predicted": 0},
        {"cohort": "x", "label": "wm", "voxels_true": 9, "voxels_predicted": 8},
        {"cohort": "y", "label": "gm", "voxels_true": 1, "voxels_predicted": 0},
    ]
    assert reading(slices.naive_panel, naive) == (
        "x: the cohort draws GM, WM, the model WM; y: the cohort draws GM, the model nothing."
    )


def test_readings_of_cohorts() -> None:
    square = [
        {"cohort": "x", "x": 0.001, "y": 0.02, "z": 0.03}, {"cohort": "y", "x": 0.02, "y": 0.0, "z": 0.01},
        {"cohort": "z", "x": 0.03, "y": 0.01, "z": 0.0},
    ]  # fmt: skip
    assert (
        reading(cohort_charts.divergence_figure, square)
        == "Closest: y and z, 10.0 thousandths; farthest: x and z, 30.0."
    )
    assert reading(cohort_charts.divergence_figure, [{"cohort": "x", "x": 0.001}]) == ""
    volumes = [{"label": "GM", "cohort": c, "ml": v} for c, v in (("x", 1.0), ("x", 3.0), ("y", 5.0))]
    assert reading(cohort_charts.volume_figure, volumes) == "Means of cohorts: GM 2.0 to 5.0 ml."
    assert reading(cohort_charts.cohort_slices, [{"cohort": "x", "label": k} for k in ("csf", "gm")]) == "x (CSF, GM)."
    assert reading(cohort_charts.protocol_figure, [{"cohort": "x", "percent_of_slice": 12.3}]) == "x 12 % of the slice."


def test_kinds_have_names_of_their_own_and_captions() -> None:
    kinds = all_kinds()
    assert len({kind.name for kind in kinds}) == len(kinds) >= 15
    assert all(kind.caption.endswith(".") and kind.draw.__doc__ for kind in kinds)


def test_a_kind_is_called_as_its_function() -> None:
    kind = result_charts.dice_boxes
    assert kind.__name__ == "dice_boxes" and kind.thesis == (17, 20, 23, 26, 29, 34)
    rows = pd.DataFrame({"model": ["dice"], "label": "gm", "dice": [0.5]})
    assert len(kind(rows, ["gm"]).axes) == 1
