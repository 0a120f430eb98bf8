import re
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
import pytest

from multiseg.report.figures.names import model_title
from multiseg.report.summary import _by, collapsed_runs, mixed_conditions, provenance_table, scenario_in_short
from multiseg.study import finished_runs
from multiseg.study.study import Study


def trained(device: str = "cpu", bf16: bool = False, torch: str = "2.13.0+cpu", monai: str = "1.6.1") -> dict[str, Any]:
    return {"bf16": bf16, "provenance": {"device": device, "packages": {"torch": torch, "monai": monai}}}


def test_networks_of_one_kind_need_no_warning() -> None:
    assert mixed_conditions([]) == []
    assert mixed_conditions([trained(torch="2.13.0+cpu"), trained(torch="2.13.0+cu130")]) == []
    assert mixed_conditions([trained(device="NVIDIA A"), trained(device="NVIDIA B")]) == []


@pytest.mark.parametrize(
    ("other", "sentence"),
    [
        ({"device": "NVIDIA A"}, "kinds of device: CPU (2 networks), GPU (1 networks)"),
        ({"bf16": True}, "precisions: float32 (2 networks), bf16 (1 networks)"),
        ({"torch": "2.14.0"}, "versions of torch: 2.13.0 (2 networks), 2.14.0 (1 networks)"),
        ({"monai": "1.7"}, "versions of MONAI: 1.6.1 (2 networks), 1.7 (1 networks)"),
    ],
)
def test_a_study_that_mixes_them_says_so(other: dict[str, Any], sentence: str) -> None:
    """Networks of a CPU and a GPU, or of bf16 and float32, were compared without a word."""
    assert mixed_conditions([trained(), trained(), trained(**other)]) == [
        f"the networks were trained with different {sentence}"
    ]


def test_models_that_lost_a_label_or_the_background_are_told(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    columns = ["label", "dice", "volume_true_ml", "volume_pred_ml"]
    table = pd.DataFrame(
        [("csf", 0.1, 20.0, 80.0), ("gm", 0.02, 30.0, 1.0), ("wm", 0.8, 30.0, 29.0), ("wmh", np.nan, 0.0, 3.0)],
        columns=columns,
    )
    sound = pd.DataFrame([("gm", 0.9, 30.0, 31.0)], columns=columns)
    folder, model = smoke.runs[0].folder, model_title(smoke.runs[0].model)
    monkeypatch.setattr(finished_runs, "read_metrics", lambda path: table if path.parent == folder else sound)
    lost, painted, *rest = collapsed_runs(smoke)
    assert lost.endswith(": a Dice below 0.05 on validation images, GM by " + model)
    assert painted.endswith(": more than 3 times the volume on validation images, CSF by " + model)
    assert not rest


def test_many_models_are_counted_and_few_named() -> None:
    made = Counter(dict.fromkeys("abcde", 4))
    assert _by(Counter(a=4, b=1), made) == "a (4 of 4 runs), b (1 of 4 runs)"
    assert _by(Counter(a=4, b=1, c=1, d=2), made) == "4 models (8 of 20 runs)"
    assert _by(made, made) == "all 5 models (20 of 20 runs)"


def test_a_scenario_without_any_dice_is_told_in_words(smoke: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = finished_runs.metrics(smoke).assign(dice=np.nan)
    monkeypatch.setattr(finished_runs, "metrics", lambda study: nothing)
    assert scenario_in_short(smoke, "single_wmh") == "No case has a label that a model could be scored for."


def test_provenance_names_the_day(smoke: Study) -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", provenance_table(smoke).loc["made on", ""])
