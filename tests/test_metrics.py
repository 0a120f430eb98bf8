import math

import numpy as np
import pytest
import torch
from monai.metrics import DiceMetric

from multiseg_core.metrics import confusion, label_metrics


def s(*names: str) -> frozenset[str]:
    return frozenset(names)


SETS = (s("background"), s("gm"), s("wmh"), s("background", "gm", "wmh"))


def test_all_metrics_by_hand() -> None:
    target = np.array([[[0, 1, 1, 1, 2, 3]]])
    prediction = np.array([[[1, 1, 1, 0, 0, 1]]])
    # gm: TP 2, FN 1, FP 1 (voxel 0), TN 1 (voxel 4); the ignored voxel does not count
    result = label_metrics(target, prediction, SETS, ("gm", "wmh"), spacing_mm=2)
    assert result["gm"] == pytest.approx(
        {
            "dice": 2 * 2 / (2 * 2 + 1 + 1),
            "jaccard": 2 / (2 + 1 + 1),
            "sensitivity": 2 / 3,
            "specificity": 1 / 2,
            "volume_true_ml": 3 * 8 / 1000,
            "volume_pred_ml": 3 * 8 / 1000,
        }
    )
    # wmh: TP 0, FN 1, FP 0, TN 4
    assert result["wmh"]["dice"] == 0 and result["wmh"]["specificity"] == 1


def test_undefined_values_are_nan() -> None:
    target, prediction = np.zeros((1, 1, 4), int), np.zeros((1, 1, 4), int)
    absent = label_metrics(target, prediction, SETS, ("gm", "wmh"), 1)["gm"]
    assert math.isnan(absent["dice"]) and math.isnan(absent["jaccard"]) and math.isnan(absent["sensitivity"])
    assert absent["specificity"] == 1
    full = label_metrics(target + 1, prediction + 1, SETS, ("gm", "wmh"), 1)["gm"]
    assert full["dice"] == 1 and math.isnan(full["specificity"])


def test_labels_that_the_target_cannot_show_are_left_out() -> None:
    sets = (s("background", "gm"), s("wmh"))
    result = label_metrics(np.array([[[0, 1]]]), np.array([[[1, 2]]]), sets, ("gm", "wmh"), 1)
    assert list(result) == ["wmh"]
    # the background of this cohort certainly is not a lesion: predicting one there is a false positive
    assert label_metrics(np.array([[[0, 1]]]), np.array([[[2, 2]]]), sets, ("gm", "wmh"), 1)["wmh"]["dice"] == 2 / 3


def test_dice_equals_monai() -> None:
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 3, (2, 9, 8, 7))
    ours = label_metrics(target, prediction, SETS, ("gm", "wmh"), 1)
    one_hot = [torch.nn.functional.one_hot(torch.tensor(x), 3).movedim(-1, 0)[None] for x in (prediction, target)]
    monai = DiceMetric(include_background=False, reduction="none")(*one_hot)[0]
    assert [ours["gm"]["dice"], ours["wmh"]["dice"]] == pytest.approx(monai.tolist(), abs=1e-6)


def test_confusion_counts_every_voxel_once() -> None:
    assert confusion(np.array([0, 0, 1]), np.array([1, 0, 1]), 2, 3).tolist() == [[1, 1, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="differ in shape"):
        confusion(np.zeros(3, int), np.zeros(4, int), 2, 2)
