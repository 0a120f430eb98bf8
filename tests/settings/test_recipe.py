import numpy as np
import pytest

from multiseg.settings.recipe import (
    mirror_likeness,
    plan_batch,
    plan_levels,
    plan_patch,
    plan_spacing,
    plan_steps,
    typical,
)
from multiseg_core.networks import UNet


def test_the_typical_image_is_the_median_one() -> None:
    size, extent = typical([(10, 10, 10), (20, 20, 20), (40, 30, 20)], [(1, 1, 1), (1, 1, 2), (2, 1, 2)])
    assert size.tolist() == [1, 1, 2] and extent.tolist() == [20, 20, 40]


def test_of_thick_slices_the_thinnest_tenth_counts() -> None:
    sizes = [(1.0, 1.0, z) for z in np.linspace(4, 8, 11)]  # 4.4 is the tenth percentile
    size, _ = typical([(100, 100, 10)] * 11, sizes)
    assert size == pytest.approx([1, 1, 4.4])


def test_voxels_grow_until_a_patch_shows_a_third() -> None:
    # 180 mm; 27,000 voxels are a cube of 30: a third of 180 mm at 2 mm
    spacing = plan_spacing(np.ones(3), np.full(3, 180.0), 27_000)
    assert spacing == pytest.approx([2, 2, 2], rel=0.01) and len(set(spacing)) == 1
    # enough voxels: none grows
    assert plan_spacing(np.array([0.5, 0.5, 2]), np.array([35.0, 50, 35]), 10**6) == [0.5, 0.5, 2]
    # slices of 8 mm stay, for voxels in the plane are finer: 10 slices of s^2 by (100 / s)^2 with s = 2 are 25,000
    spacing = plan_spacing(np.array([1, 1, 8.0]), np.array([300, 300, 80.0]), 25_000)
    assert spacing == pytest.approx([2, 2, 8], rel=0.01)


def test_strides_and_kernels_of_isotropic_voxels() -> None:
    found = plan_levels((32, 32, 32), (1, 1, 1), 4)
    assert found.strides == ((2, 2, 2),) * 3 and found.kernels == ((3, 3, 3),) * 4 and found.multiple == (8, 8, 8)


def test_thick_slices_are_not_halved_until_voxels_are_alike() -> None:
    """1, 1, 4 mm: halved in the plane to 2, 2, 4 and 4, 4, 4, and then everywhere."""
    found = plan_levels((64, 64, 16), (1, 1, 4), 4)
    assert found.strides == ((2, 2, 1), (2, 2, 1), (2, 2, 2))
    assert found.kernels == ((3, 3, 1), (3, 3, 1), (3, 3, 3), (3, 3, 3))
    assert UNet(1, 2, 2, levels=4, strides=found.strides, kernels=found.kernels).size_divisor == found.multiple


def test_no_axis_gets_smaller_than_four_voxels() -> None:
    found = plan_levels((32, 8, 4), (1, 1, 1), 4)
    assert found.strides == ((2, 2, 1), (2, 1, 1), (2, 1, 1))
    assert plan_levels((4, 4, 4), (1, 1, 1), 4).strides == ((1, 1, 1),)  # two levels at least


def test_a_patch_of_one_slice_makes_a_network_of_slices() -> None:
    found = plan_levels((64, 64, 1), (1, 1, 0.5), 3)
    assert found.strides == ((2, 2, 1),) * 2 and found.kernels == ((3, 3, 1),) * 3


@pytest.mark.parametrize(
    ("shape", "spacing", "multiple", "voxels", "patch"),
    [
        ((35, 50, 35), (1, 1, 1), (8, 8, 8), 50_000, [32, 48, 32]),  # a box around a hippocampus: nearly all of it
        ((180, 216, 180), (1, 1, 1), (8, 8, 8), 33_000, [32, 32, 32]),
        ((180, 216, 180), (2, 1, 1), (8, 8, 8), 20_000, [16, 32, 32]),  # as wide in mm as deep
        ((200, 200, 10), (2, 2, 8), (8, 8, 1), 41_000, [64, 64, 10]),
        ((5, 5, 5), (1, 1, 1), (8, 8, 8), 100, [8, 8, 8]),  # one of each at least
        ((400, 400, 1), (1, 1, 1), (8, 8, 1), 4096, [64, 64, 1]),
    ],
)
def test_patches_grow_along_their_shortest_side(
    shape: tuple[int, ...], spacing: tuple[float, ...], multiple: tuple[int, ...], voxels: int, patch: list[int]
) -> None:
    assert plan_patch(shape, spacing, multiple, voxels) == patch


def test_likeness_of_mirror_images() -> None:
    rng = np.random.default_rng(0)
    half = rng.normal(size=(20, 30, 25)).cumsum(axis=1)
    head = np.concatenate([half, half[::-1]])
    assert mirror_likeness(head, 0) == pytest.approx(1)
    assert mirror_likeness(np.swapaxes(head, 0, 2), 2) == pytest.approx(1)
    ramp = np.broadcast_to(np.arange(40.0)[:, None, None], (40, 8, 8))
    assert mirror_likeness(ramp, 0) == pytest.approx(-1) and mirror_likeness(ramp, 1) == pytest.approx(1)
    assert mirror_likeness(np.ones((20, 20, 20)), 0) == 0
    # by hand, blocks are single voxels: 0 1 3 against 3 1 0, less the mean of 4/3
    line = np.array([0.0, 1, 3]).reshape(3, 1, 1)
    a = np.array([0, 1, 3]) - 4 / 3
    assert mirror_likeness(line, 0) == pytest.approx((a * a[::-1]).sum() / (a * a).sum())


@pytest.mark.parametrize(
    "patch, batch", [((32, 32, 32), 6), ((60, 60, 14), 4), ((128, 128, 1), 12), ((128, 128, 128), 2)]
)
def test_a_step_sees_four_patches_worth_of_voxels_or_two_patches(patch: tuple[int, int, int], batch: int) -> None:
    assert plan_batch(patch, 50_000) == batch


def test_steps_of_a_budget() -> None:
    """5 minutes of 20e9 operations a second are 6e12: 1,200 steps of 5e9, and 50 at least."""
    assert plan_steps(5e9, 5) == 1200
    assert plan_steps(5e9, 4.9) == 1150
    assert plan_steps(5e9, 0.01) == 50
