from types import SimpleNamespace

import numpy as np

from multiseg.report.figures import overlays
from multiseg.report.figures.overlays import INVENTED, MISSED, RIGHT, Overlay


def test_the_truth_leaves_out_what_may_be_several() -> None:
    sets = [frozenset({"background", "gm"}), frozenset({"gm"}), frozenset({"wm"}), frozenset({"gm", "wm"})]
    case = SimpleNamespace(sets=sets, target=np.array([0, 1, 2, 3]).reshape(1, 1, 4))
    assert overlays.truth(case, ["gm", "wm"]).numbers.ravel().tolist() == [0, 1, 2, 0]  # type: ignore[arg-type]


def test_errors_of_all_labels_lie_in_one_overlay() -> None:
    sets = [frozenset({"background"}), frozenset({"gm"}), frozenset({"wm"})]
    case = SimpleNamespace(sets=sets, target=np.array([0, 0, 1, 1, 2, 2]).reshape(1, 1, 6))
    prediction = np.array([0, 1, 1, 0, 2, 1]).reshape(1, 1, 6)
    found, colours = overlays.errors(case, prediction, ["gm", "wm"])  # type: ignore[arg-type]
    missed, invented = MISSED - RIGHT, INVENTED - RIGHT
    # the last voxel is gm invented and wm missed: of two, that of the later label
    assert found.ravel().tolist() == [0, invented, 0, missed, 0, missed]
    assert len(colours) == 2


def test_uncertainty_grows_with_its_colours() -> None:
    found, colours = overlays.uncertainty(np.array([0, 0.02, 0.5, 1]).reshape(1, 1, 4))
    assert found.ravel().tolist() == [0, 0, 8, 16] and len(colours) == 16
    brightness = [sum(colour) for colour in colours]
    assert brightness == sorted(brightness)


def test_planes_have_up_on_top_and_left_on_the_left() -> None:
    grey = np.zeros((2, 3, 4))
    grey[0, :, 3] = 1.0  # left, at the top
    numbers = np.zeros(grey.shape, dtype=np.uint8)
    numbers[1, :, 0] = 1  # right, at the bottom
    painted = Overlay(numbers, [(1.0, 0.0, 0.0)])
    coronal = np.asarray(overlays.plane_picture(grey, painted, 1, 1, (1, 1, 1), 0.6, 4))
    assert coronal.shape == (4, 2, 3)
    assert coronal[0, 0].tolist() == [255, 255, 255] and coronal[3, 1].tolist() == [153, 0, 0]
    assert not coronal[1:3].any()


def test_pixels_are_square_whatever_the_voxels() -> None:
    grey = np.zeros((10, 10, 5))
    nothing = Overlay(np.zeros(grey.shape, dtype=np.uint8), [])
    # 20 mm from left to right, 30 mm from bottom to top
    assert overlays.plane_picture(grey, nothing, 1, 0, (2, 1, 6), 0.5, 90).size == (60, 90)
