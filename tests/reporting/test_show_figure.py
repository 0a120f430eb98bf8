import dataclasses
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from multiseg_core.figures import saving
from multiseg_core.reporting import show_figure
from multiseg_core.study.study import Study


def test_figures_of_the_thesis_are_named_after_their_number(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    assert show_figure.figure_name(smoke, "anatomy_wmh", "dice") == "26_anatomy_wmh_dice"
    assert show_figure.figure_name(smoke, "anatomy_wmh", "training") == "anatomy_wmh_training"
    assert show_figure.figure_name(smoke, None, "multi_task") == "02_multi_task"
    assert show_figure.figure_name(smoke, None, "differences") == "differences"
    assert show_figure.caption_of(smoke, "anatomy_wmh", "dice").startswith("Thesis figure 26. Dice on the test cases")
    assert show_figure.caption_of(smoke, "anatomy_wmh", "training").startswith("Training loss")
    assert show_figure.caption_of(smoke, None, "cohort_csf_gm").startswith("Cohorts that draw the same labels")
    # what counts is what the cohorts imitate, not how they are called
    scenario = smoke.scenario("anatomy_wmh")
    train = (dataclasses.replace(scenario.train[0], imitates="ibsr"), scenario.train[1])
    monkeypatch.setitem(smoke.scenarios, "anatomy_wmh", dataclasses.replace(scenario, train=train))
    assert show_figure.figure_name(smoke, "anatomy_wmh", "naive") == "32_anatomy_wmh_naive"


def test_presenter_saves_names_and_describes(smoke: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[dict] = []
    monkeypatch.setattr(saving, "display", lambda data, metadata=None, raw=False: shown.append(data))
    monkeypatch.setattr(smoke, "folder", tmp_path)
    show = show_figure.presenter(smoke, "anatomy_wmh")
    table = pd.DataFrame({"model": ["dice", "multi_unet"], "label": "gm", "dice": [0.25, 0.5]})
    show("dice", plt.figure(), table)
    path = tmp_path / "figures" / "26_anatomy_wmh_dice.png"
    alt = f"{show_figure.CAPTIONS['dice']} Highest mean: MultiUNet, 0.500; lowest: Dice, 0.250."
    assert saving.read_texts(path) == (f"Thesis figure 26. {show_figure.CAPTIONS['dice']}", alt)
    assert shown[0]["text/plain"] == alt
    show("distance", plt.figure(), table, caption="A new one.", alt="Something new.")
    assert saving.read_texts(tmp_path / "figures" / "anatomy_wmh_distance.png") == ("A new one.", "Something new.")
    with pytest.raises(KeyError):
        show("distance", plt.figure(), table)
    plt.close("all")


def reading(kind: str, rows: list[dict]) -> str:
    text = show_figure.describe(kind, pd.DataFrame(rows))
    return text.removeprefix(show_figure.CAPTIONS[kind]).strip()


def test_readings_of_results() -> None:
    boxes = [{"model": m, "dice": d} for m, d in (("dice", 0.2), ("dice", 0.4), ("oracle", 0.9), ("single_task", 1.0))]
    assert reading("dice", boxes) == "Highest mean: Oracle, 0.900; lowest: Dice, 0.300."
    assert reading("dice", boxes[:2]) == "Mean of Dice: 0.300."
    assert reading("dice", [{"model": "dice", "dice": np.nan}]) == ""
    tests = [
        {"model_a": "dice", "model_b": "oracle", "significant": True},
        {"model_a": "dice", "model_b": "multi_unet", "significant": False},
    ]
    assert reading("significance", tests) == "1 of 2 pairs differ significantly; not so Dice and MultiUNet."
    assert reading("significance", tests[:1]) == "1 of 1 pairs differ significantly."
    pairs = [{"scenario": "s", "difference": d, **t} for d, t in zip((0.1, -0.2), tests, strict=True)]
    assert reading("differences", pairs) == (
        "Largest difference: Dice minus MultiUNet, -0.200 (s). 1 of 2 pairs differ significantly."
    )
    history = [{"model": "dice", "validation_loss": v} for v in (0.5, 0.25, 0.75)]
    assert reading("training", history) == "Lowest validation loss: Dice 0.250."


def test_readings_of_slices() -> None:
    panel = [{"case": "a", "panel": p, "voxels": v} for p, v in (("ground truth", 3), ("ground truth", 4), ("dice", 5))]
    assert reading("panel", panel) == "Case a. Labelled voxels: ground truth 7, Dice 5."
    naive = [
        {"cohort": "x", "label": "gm", "voxels_true": 9, "voxels_predicted": 0},
        {"cohort": "x", "label": "wm", "voxels_true": 9, "voxels_predicted": 8},
        {"cohort": "y", "label": "gm", "voxels_true": 1, "voxels_predicted": 0},
    ]
    assert reading("naive", naive) == (
        "x: the cohort draws GM, WM, the model WM; y: the cohort draws GM, the model nothing."
    )


def test_readings_of_cohorts() -> None:
    square = [
        {"cohort": "x", "x": 0.001, "y": 0.02, "z": 0.03}, {"cohort": "y", "x": 0.02, "y": 0.0, "z": 0.01},
        {"cohort": "z", "x": 0.03, "y": 0.01, "z": 0.0},
    ]  # fmt: skip
    assert reading("jensen_shannon", square) == "Closest: y and z, 10.0 thousandths; farthest: x and z, 30.0."
    assert reading("jensen_shannon", [{"cohort": "x", "x": 0.001}]) == ""
    volumes = [{"label": "GM", "cohort": c, "ml": v} for c, v in (("x", 1.0), ("x", 3.0), ("y", 5.0))]
    assert reading("label_volumes", volumes) == "Means of cohorts: GM 2.0 to 5.0 ml."
    assert reading("anatomy", [{"cohort": "x", "label": k} for k in ("csf", "gm")]) == "x (CSF, GM)."
    assert reading("csf_protocols", [{"cohort": "x", "percent_of_slice": 12.3}]) == "x 12 % of the slice."


def test_every_kind_has_a_caption_and_a_reading() -> None:
    assert set(show_figure._READINGS) == set(show_figure.CAPTIONS)
