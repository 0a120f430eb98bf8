import math

import numpy as np
import pytest
import SimpleITK
import torch
from monai.metrics import DiceMetric, compute_average_surface_distance, compute_hausdorff_distance
from scipy import ndimage

from multiseg_core.metrics import METRICS, SIZES_ML, confusion, label_metrics, lesion_counts, surface_distances
from tests.conftest import ball


def s(*names: str) -> frozenset[str]:
    return frozenset(names)


PIECES = ("lesion", *SIZES_ML)

SETS = (s("background"), s("gm"), s("wmh"), s("background", "gm", "wmh"))


def test_all_metrics_by_hand() -> None:
    target = np.array([[[0, 1, 1, 1, 2, 3]]])
    prediction = np.array([[[1, 1, 1, 0, 0, 1]]])
    # gm: TP 2, FN 1, FP 1 (voxel 0), TN 1 (voxel 4); the ignored voxel does not count
    result = label_metrics(target, prediction, SETS, ("gm", "wmh"), spacing_mm=2)
    lesions = {name: result["gm"].pop(name) for name in list(result["gm"]) if name.startswith(tuple(PIECES))}
    assert list(lesions.values()) == [1, 1, 1, 0, 1, 1, 1, 0, 0, 0, 0]  # one of .024 ml, found by one
    assert (*result["gm"], *lesions) == METRICS
    assert result["gm"] == pytest.approx(
        {
            "dice": 2 * 2 / (2 * 2 + 1 + 1),
            "jaccard": 2 / (2 + 1 + 1),
            "sensitivity": 2 / 3,
            "specificity": 1 / 2,
            "volume_true_ml": 3 * 8 / 1000,
            "volume_pred_ml": 3 * 8 / 1000,
            "false_ml": 8 / 1000,
            # surfaces are voxels 1, 2, 3 and 0, 1, 2: distances 0, 0, 1 and 1, 0, 0 voxels of 2 mm
            "hd95_mm": 0.9 * 2,  # between the second and the third of 0, 0, 1, at 95 % of the way from first to last
            "assd_mm": 2 * (1 + 1) / 6,
        }
    )
    # wmh: TP 0, FN 1, FP 0, TN 4
    assert result["wmh"]["dice"] == 0 and result["wmh"]["specificity"] == 1
    assert math.isinf(result["wmh"]["hd95_mm"])


def test_undefined_values_are_nan() -> None:
    target, prediction = np.zeros((1, 1, 4), int), np.zeros((1, 1, 4), int)
    absent = label_metrics(target, prediction, SETS, ("gm", "wmh"), 1)["gm"]
    assert math.isnan(absent["dice"]) and math.isnan(absent["jaccard"]) and math.isnan(absent["sensitivity"])
    assert absent["specificity"] == 1 and math.isnan(absent["hd95_mm"]) and math.isnan(absent["assd_mm"])
    full = label_metrics(target + 1, prediction + 1, SETS, ("gm", "wmh"), 1)["gm"]
    assert full["dice"] == 1 and math.isnan(full["specificity"])


def test_labels_that_the_target_cannot_show_are_left_out() -> None:
    sets = (s("background", "gm"), s("wmh"))
    result = label_metrics(np.array([[[0, 1]]]), np.array([[[1, 2]]]), sets, ("gm", "wmh"), 1)
    assert list(result) == ["wmh"]
    # the background of this cohort certainly is not a lesion: predicting one there is a false positive
    assert label_metrics(np.array([[[0, 1]]]), np.array([[[2, 2]]]), sets, ("gm", "wmh"), 1)["wmh"]["dice"] == 2 / 3


def test_false_positives_of_a_label_that_is_known_absent() -> None:
    sets = (s("background"), s("gm"))  # a cohort of healthy subjects
    result = label_metrics(np.array([[[0, 1, 1]]]), np.array([[[2, 2, 1]]]), sets, ("gm", "wmh"), 10)["wmh"]
    assert result["false_ml"] == result["volume_pred_ml"] == 2 and result["volume_true_ml"] == 0
    assert result["specificity"] == 1 / 3 and result["lesions_false"] == 1
    assert math.isnan(result["dice"]) and math.isnan(result["sensitivity"])


def test_lesions_by_hand() -> None:
    target, prediction = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    target[0, 0, 0] = target[1, 1, 1] = True  # corners touch: one lesion, .02 ml, found
    target[4:8, 4:8, 4:8] = True  # .64 ml, found by two pieces
    target[0, 8, :6] = True  # .06 ml, missed
    prediction[1, 1, 1] = prediction[4, 4, 4] = prediction[7, 7, 7] = prediction[8, 0, 0] = True  # the last is false
    found = lesion_counts(target, prediction, voxel_ml=0.01)
    assert found == {
        "lesions_true": 3, "lesions_found": 2, "lesions_predicted": 4, "lesions_false": 1,
        "lesion_f1": pytest.approx(2 * (2 / 3) * (3 / 4) / (2 / 3 + 3 / 4)),
        "small_true": 1, "small_found": 1, "medium_true": 1, "medium_found": 0, "large_true": 1, "large_found": 1,
    }  # fmt: skip
    nothing = lesion_counts(target & False, target & False, 0.01)
    assert math.isnan(nothing.pop("lesion_f1")) and set(nothing.values()) == {0}
    assert lesion_counts(target, target & False, 0.01)["lesion_f1"] == 0


def test_lesions_equal_simpleitk() -> None:
    rng = np.random.default_rng(0)
    fields = ndimage.gaussian_filter(rng.standard_normal((2, 40, 40, 40)), (0, 1.2, 1.2, 1.2))
    target, prediction = fields[0] > 0.13, fields[0] + 0.8 * fields[1] > 0.16

    def pieces(mask: np.ndarray) -> np.ndarray:
        image = SimpleITK.ConnectedComponent(SimpleITK.GetImageFromArray(mask.astype(np.uint8)), True)
        return SimpleITK.GetArrayFromImage(image)

    true, predicted = pieces(target), pieces(prediction)
    n, m = int(true.max()), int(predicted.max())
    found = [k for k in range(1, n + 1) if prediction[true == k].any()]
    real = [k for k in range(1, m + 1) if target[predicted == k].any()]
    volume = {k: (true == k).sum() * 0.008 for k in range(1, n + 1)}
    small = [k for k in volume if volume[k] <= 0.05]
    counts = lesion_counts(target, prediction, 0.008)
    assert n > 50 and 0 < len(found) < n and 0 < len(real) < m
    assert (counts["lesions_true"], counts["lesions_found"]) == (n, len(found))
    assert (counts["lesions_predicted"], counts["lesions_false"]) == (m, m - len(real))
    assert (counts["small_true"], counts["small_found"]) == (len(small), len(set(small) & set(found)))
    assert counts["lesion_f1"] == pytest.approx(2 * len(found) / n * len(real) / m / (len(found) / n + len(real) / m))


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
    # more pairs than a byte can number
    rng = np.random.default_rng(0)
    target, prediction = rng.integers(0, 20, (2, 500), dtype=np.uint8)
    counts = confusion(target, prediction, 20, 20)
    assert counts.sum() == 500 and counts[3, 17] == ((target == 3) & (prediction == 17)).sum()


def test_surface_distances_of_two_cubes() -> None:
    target, prediction = np.zeros((2, 12, 12, 12), bool)
    target[2:7, 2:7, 2:7] = True
    prediction[5:10, 2:7, 2:7] = True  # 3 voxels further
    # the surface of a cube of 5 has 5^3 - 3^3 = 98 voxels; distances by brute force over all pairs
    surface = [np.argwhere(m & ~eroded) for m, eroded in ((target, _erode(target)), (prediction, _erode(prediction)))]
    assert [len(s) for s in surface] == [98, 98]
    pairs = np.linalg.norm(surface[0][:, None] - surface[1][None], axis=-1)
    distances = [pairs.min(1), pairs.min(0)]
    hd95, assd = surface_distances(target, prediction, spacing_mm=1.5)
    assert assd == pytest.approx(1.5 * np.concatenate(distances).mean())
    assert hd95 == pytest.approx(1.5 * 3)


def _erode(mask: np.ndarray) -> np.ndarray:
    out = np.zeros_like(mask)
    for x, y, z in np.argwhere(mask):
        out[x, y, z] = all(mask[x + i, y + j, z + k] for i, j, k in
                           ((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)))  # fmt: skip
    return out


@pytest.mark.filterwarnings("ignore:monai.metrics.utils get_mask_edges:FutureWarning")
def test_surface_distances_equal_monai() -> None:
    rng = np.random.default_rng(0)
    shape = (24, 20, 22)
    for _ in range(5):
        # two balls that touch the border of the volume, with holes and specks
        masks = [
            (ball(shape, tuple(rng.uniform(4, 16, 3)), rng.uniform(4, 8)) ^ (rng.random(shape) < 0.02))
            for _ in range(2)
        ]
        one_hot = [torch.from_numpy(m)[None, None] for m in masks]
        hd95 = compute_hausdorff_distance(*one_hot, include_background=True, percentile=95, spacing=1.2)
        assd = compute_average_surface_distance(*one_hot, include_background=True, symmetric=True, spacing=1.2)
        assert surface_distances(*masks, spacing_mm=1.2) == pytest.approx((hd95.item(), assd.item()), rel=1e-5)


def test_voxel_sizes_that_differ_between_the_axes() -> None:
    target, prediction = np.zeros((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    target[2, 4, 4] = prediction[5, 4, 4] = True  # 3 voxels apart along the first axis
    assert surface_distances(target, prediction, (0.5, 1, 4)) == (3 * 0.5, 3 * 0.5)
    prediction[5, 4, 4], prediction[2, 5, 5] = False, True
    assert surface_distances(target, prediction, (0.5, 1, 4)) == pytest.approx((np.hypot(1, 4),) * 2)
    # the nearest voxel in mm is not the nearest in voxels: 2 mm away along the first axis, 4 along the last
    prediction[6, 4, 4], prediction[2, 5, 5], prediction[2, 4, 5] = True, False, True
    assert surface_distances(target, prediction, (0.5, 1, 4))[1] == pytest.approx((2 + 2 + 4) / 3)
    volumes = label_metrics(target.astype(np.uint8), prediction.astype(np.uint8), SETS[:2], ("gm", "wmh"), (0.5, 1, 4))
    assert volumes["gm"]["volume_pred_ml"] == 2 * 0.5 * 1 * 4 / 1000
