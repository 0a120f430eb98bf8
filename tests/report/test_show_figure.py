import dataclasses
from pathlib import Path

import pandas as pd
import pytest

from multiseg.report import show_figure
from multiseg.report.figures import saving
from multiseg.report.figures.cohort_charts import multi_task_example
from multiseg.report.figures.comparison_charts import difference_intervals
from multiseg.report.figures.kinds import FigureKind
from multiseg.report.figures.result_charts import dice_boxes, training_curves
from multiseg.report.figures.slices import naive_panel
from multiseg.study.study import Study


def test_figures_of_the_thesis_are_named_after_their_number(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    def number(kind: FigureKind, scenario: str | None = "anatomy_wmh") -> int | None:
        return show_figure.figure_number(smoke, scenario, kind)

    assert (number(dice_boxes), number(training_curves), number(naive_panel)) == (26, None, None)
    assert (number(multi_task_example, None), number(difference_intervals, None)) == (2, None)
    assert number(multi_task_example) is None and number(dice_boxes, None) is None
    assert show_figure.file_name(26, "anatomy_wmh", "dice") == "26_anatomy_wmh_dice"
    assert show_figure.file_name(None, "anatomy_wmh", "training") == "anatomy_wmh_training"
    assert show_figure.file_name(2, None, "multi_task") == "02_multi_task"
    # what counts is what the cohorts imitate, not how they are called
    scenario = smoke.scenario("anatomy_wmh")
    train = (dataclasses.replace(scenario.train[0], imitates="ibsr"), scenario.train[1])
    monkeypatch.setitem(smoke.scenarios, "anatomy_wmh", dataclasses.replace(scenario, train=train))
    assert number(naive_panel) == 32
    # and that no label is another: a whole tumour on the thesis's cohorts is not in the thesis
    monkeypatch.setitem(smoke.scenarios, "anatomy_wmh", dataclasses.replace(scenario, labels=("csf", "whole_tumour")))
    assert number(dice_boxes) is None


def test_a_page_saves_names_and_describes(
    smoke: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: list[dict] = []
    monkeypatch.setattr(saving, "display", lambda data, metadata=None, raw=False: shown.append(data))
    monkeypatch.setattr(smoke, "folder", tmp_path)
    page = show_figure.Page(smoke, "anatomy_wmh")
    table = pd.DataFrame({"model": ["dice", "multi_unet"], "label": "gm", "dice": [0.25, 0.5]})
    page.figure(dice_boxes, table, ["gm"])
    path = tmp_path / "figures" / "26_anatomy_wmh_dice.png"
    alt = f"{dice_boxes.caption} Highest mean: MultiUNet, 0.500; lowest: Dice, 0.250."
    assert saving.read_texts(path) == (f"Thesis figure 26. {dice_boxes.caption}", alt)
    assert shown[0]["text/plain"] == alt
    page.figure(dice_boxes, table, ["gm"], name="mine", caption="A new one.", number=3)
    assert saving.read_texts(tmp_path / "figures" / "03_anatomy_wmh_mine.png")[0] == "Thesis figure 3. A new one."
    page.figure(dice_boxes, table[:0], ["gm"], otherwise="Nothing.")
    assert capsys.readouterr().out == "Nothing.\n"
    assert page.table("mean_dice", table).table is table
    assert (tmp_path / "tables" / "anatomy_wmh_mean_dice.csv").exists()
