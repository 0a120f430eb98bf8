"""What companions show, by hand."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multiseg.report.figures import curves
from multiseg.study import finished_runs
from multiseg.study.study import Study
from multiseg.thesis import companion_tables as companions
from tests.conftest import ROOT


def test_cost_of_a_network_is_counted_by_hand() -> None:
    """Two levels, 2 and 4 filters, one channel in: weights per voxel of their level; normalisations are not counted."""
    spec = {"name": "encoder_decoder", "spatial_dims": 2, "base_filters": 2, "levels": 2}
    cost = companions.network_cost(spec, 1, 3, (8, 8, 1))
    down, bottom, up, head = 9 * 1 * 2, 9 * 2 * 4, 9 * 4 * 2, 2 * 3
    assert cost["parameters"] == down + bottom + up + 2 * (2 + 4 + 2) + head + 3
    # shapes are counted with two classes
    assert cost["multiply-adds per voxel"] == down + bottom / 4 + up + 2 * 2


@pytest.fixture
def made_up(monkeypatch: pytest.MonkeyPatch) -> Any:
    rows = [
        {"scenario": "s", "model": m, "replicate": r, "seed": 0, "cohort": "c", "subject": "x", "case": "x",
         "label": label, "dice": base + 0.01 * r + (0.1 if label == "b" else 0)}
        for m, base in (("small", 0.5), ("large", 0.6)) for r in (1, 2, 3) for label in "ab"
    ]  # fmt: skip
    monkeypatch.setattr(finished_runs, "metrics", lambda study: pd.DataFrame(rows))
    scenario = SimpleNamespace(tested_labels=("a", "b"), models=("small", "large", "not_run"))
    return SimpleNamespace(scenario=lambda name: scenario)


def test_means_over_replicates(made_up: Any) -> None:
    found = companions.model_dice(made_up, "s")
    assert found.index.tolist() == ["small", "large"] and found["replicates"].tolist() == [3, 3]
    assert found["mean"].to_numpy() == pytest.approx([0.57, 0.67])
    half = 4.302653 * 0.01 / np.sqrt(3)  # t for 2 degrees of freedom
    assert found.loc["small", "high"] == pytest.approx(0.57 + half)
    assert companions.label_means(made_up, "s").loc["large"].to_numpy() == pytest.approx([0.62, 0.72])
    texts = companions.dice_by_label(made_up, "s")
    assert texts.columns.tolist() == ["a", "b", "mean", "replicates"]
    assert texts.loc["small", "a"] == f"0.520 ({0.52 - half:.3f} to {0.52 + half:.3f})"


def test_curves_have_a_point_per_model(made_up: Any) -> None:
    x, series = pd.Series({"small": 3.0, "large": 30.0}), pd.Series({"small": "one", "large": "one"})
    table = companions.curves(made_up, ["s"], x, series, {"A": ["a"], "both": []})
    assert table[["panel", "model", "x"]].to_numpy().tolist() == [
        ["A", "small", 3.0], ["A", "large", 30.0], ["both", "small", 3.0], ["both", "large", 30.0],
    ]  # fmt: skip
    figure = curves.setting_curves(table, "size", {"to beat": 0.6}, True)
    assert [axes.get_title() for axes in figure.axes] == ["A", "both"]
    line = figure.axes[0].lines[0]
    assert figure.axes[0].get_ylim()[0] >= -0.02 and figure.axes[0].get_ylim()[1] <= 1.02
    assert line.get_xdata().tolist() == [3, 30] and line.get_ydata() == pytest.approx([0.52, 0.62])
    assert curves.setting_curves.describe(table).endswith("both, one: from 0.570 to 0.670, best 0.670.")
    assert companions.curves(made_up, [], x, series, {"A": []}).empty


def test_a_notebook_finds_its_scenarios_in_a_joined_study() -> None:
    study = Study(ROOT / "params" / "companions.yaml")
    assert companions.scenarios_of(study, "06_dropout_and_phases") == ["whole_tumour"]
    assert companions.scenarios_of(study, "09_separable_convolutions")[0] == "three_classes"
    settings = companions.settings(study, "whole_tumour", ["dropout"])["dropout"]
    assert settings[["cnn1_3", "cnn2_5", "cnn2_one_phase"]].tolist() == [0.3, 0.5, 0]
