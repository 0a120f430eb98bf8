import itertools

import nibabel as nib
import numpy as np
import pytest

from multiseg_core.preprocessing.grids import (
    Grid,
    aligned_with_world,
    field_of_view,
    gaussian_sigmas,
    is_rotated,
    resample,
    resample_labels_gaussian,
    rescaled,
)


def rotation(axis: int, degrees: float) -> np.ndarray:
    """A (3, 3) rotation about a world axis."""
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    matrix = np.eye(3)
    matrix[i, i] = matrix[j, j] = cos
    matrix[i, j], matrix[j, i] = -sin, sin
    return matrix


OBLIQUE = rotation(2, 30) @ rotation(0, 20)


def centred(spacing_mm: tuple[float, float, float], extent_mm: float, turn: np.ndarray) -> Grid:
    """A grid about (0.3, -0.2, 0.1) mm."""
    shape = tuple(int(np.ceil(extent_mm / s)) for s in spacing_mm)
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag(spacing_mm)
    affine[:3, 3] = np.array([0.3, -0.2, 0.1]) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    return Grid(shape, affine)


def sphere(grid: Grid, radius_mm: float) -> np.ndarray:
    """The voxels of a grid whose centre is within a radius about (0.13, 0.31, -0.27) mm."""
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(grid.affine, voxels)
    return ((world - (0.13, 0.31, -0.27)) ** 2).sum(-1) < radius_mm**2


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_rescaled_keeps_the_field_of_view() -> None:
    grid = Grid((10, 11, 4), np.diag([1.0, 1.0, 3.0, 1.0]))
    new = rescaled(grid, 2.0)
    assert new.shape == (5, 6, 6)  # 10, 11 and 12 mm
    # the outer face of the first voxel: centre minus half a voxel
    for axis, (old_size, new_size) in enumerate(zip((1, 1, 3), (2, 2, 2), strict=True)):
        assert grid.affine[axis, 3] - old_size / 2 == new.affine[axis, 3] - new_size / 2
    assert rescaled(grid, None) is grid


def test_the_world_grid_encloses_the_field_of_view() -> None:
    grid = centred((1.0, 2.0, 3.0), 30, rotation(2, 30))
    new = aligned_with_world(grid, 1.5)
    assert np.array_equal(new.affine[:3, :3], 1.5 * np.eye(3))
    # 30, 30 and 30 mm turned by 30 degrees about z
    assert new.shape == (28, 28, 20)
    assert np.ceil(30 * (np.cos(np.pi / 6) + np.sin(np.pi / 6)) / 1.5) == 28
    for corner in itertools.product(*[(0, n - 1) for n in grid.shape]):
        at = np.linalg.inv(new.affine) @ grid.affine @ [*corner, 1]
        assert (at[:3] > -0.5).all() and (at[:3] < np.array(new.shape) - 0.5).all()
    # without a spacing, each scanner axis takes the voxel size of the nearest axis of the image
    permuted = Grid((4, 5, 6), np.array([[0, 0, 3.0, 0], [1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1.0]]))
    assert np.array_equal(np.diag(aligned_with_world(permuted, None).affine), [3, 1, 2, 1])
    assert aligned_with_world(permuted, None).shape == (6, 4, 5)


def test_an_aligned_image_has_the_same_grid_in_the_world() -> None:
    grid = Grid((10, 11, 12), np.diag([1.0, 1.0, 2.0, 1.0]))
    for spacing in (None, 1.0, 1.5):
        kept, world = rescaled(grid, spacing), aligned_with_world(grid, spacing)
        assert kept.shape == world.shape and np.allclose(kept.affine, world.affine)


def test_rotated_is_more_than_scale_order_and_direction() -> None:
    grid = Grid((4, 4, 4), np.eye(4))
    permuted = Grid((4, 4, 4), np.array([[0, 0, -3.0, 0], [1, 0, 0, 0], [0, -2, 0, 0], [0, 0, 0, 1.0]]))
    assert not is_rotated(grid, permuted) and not is_rotated(permuted, grid)
    assert is_rotated(grid, centred((1.0, 1.0, 1.0), 4, rotation(1, 1)))
    assert not is_rotated(grid, centred((1.0, 1.0, 1.0), 4, rotation(1, 0.001)))


def test_permuted_and_flipped_axes_are_resampled_exactly() -> None:
    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    source = Grid((2, 3, 4), np.eye(4))
    # voxel (i, j, k) of the new grid is voxel (1 - k, i, j) of the old one
    to = Grid((3, 4, 2), np.array([[0, 0, -1.0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]))
    expected = volume[::-1].transpose(1, 2, 0)
    assert np.array_equal(resample(volume, source, to, 0), expected)
    assert np.allclose(resample(volume, source, to, 1), expected)


def test_field_of_view_ends_at_the_outer_faces() -> None:
    source = Grid((2, 2, 2), np.eye(4))  # from -0.5 to 1.5 mm
    affine = np.diag([0.5, 1.0, 1.0, 1.0])
    affine[0, 3] = -1.0  # centres at -1, -0.5, 0, 0.5, 1, 1.5, 2
    inside = field_of_view(source, Grid((7, 2, 2), affine))
    assert inside[:, 0, 0].tolist() == [False, True, True, True, True, True, False]
    values = resample(np.ones((2, 2, 2), np.float32), source, Grid((7, 2, 2), affine), 1, only_inside=True)
    assert np.array_equal(values > 0, inside)


def test_the_gaussian_makes_up_the_width_of_a_coarser_voxel() -> None:
    fine, coarse = centred((0.5, 1.0, 2.0), 12, np.eye(3)), centred((1.0, 1.0, 1.0), 12, np.eye(3))
    # twice as wide: full widths at half maximum add up in squares, 1 + 3 = 2 * 2, and FWHM = sqrt(8 ln 2) sigma
    assert gaussian_sigmas(fine, coarse) == pytest.approx([np.sqrt(3 / (8 * np.log(2))), 0, 0])
    # a rotated voxel of the same size is as wide
    assert gaussian_sigmas(coarse, centred((1.0, 1.0, 1.0), 12, OBLIQUE)) == pytest.approx([0, 0, 0], abs=1e-7)


@pytest.mark.parametrize(
    ("source_mm", "target_mm", "radius_mm", "nearest_below", "gaussian_above"),
    [
        # measured, nearest and Gaussian: .965 .979; .970 .991; .983 .994; .929 .957; a lesion of .3 ml: .914 .936
        (1.0, 1.0, 10.0, 0.97, 0.975),
        (1.0, 2.0, 10.0, 0.975, 0.985),
        (0.5, 1.0, 10.0, 0.985, 0.99),
        (2.0, 1.0, 10.0, 0.935, 0.95),
        (1.0, 1.0, 4.0, 0.92, 0.93),
    ],
)
def test_a_rotated_sphere(
    source_mm: float, target_mm: float, radius_mm: float, nearest_below: float, gaussian_above: float
) -> None:
    source = centred((source_mm,) * 3, 28, OBLIQUE)
    to = aligned_with_world(source, target_mm)
    drawn, truth = sphere(source, radius_mm).astype(np.uint8), sphere(to, radius_mm)
    nearest = resample(drawn, source, to, 0) == 1
    gaussian = resample_labels_gaussian(drawn, source, to) == 1
    assert dice(nearest, truth) < nearest_below < gaussian_above < dice(gaussian, truth)
    # the volume stays: 4/3 pi r^3
    volume = 4 / 3 * np.pi * radius_mm**3
    assert np.count_nonzero(gaussian) * target_mm**3 == pytest.approx(volume, rel=0.04)


def test_gaussian_labels_of_half_the_voxel_size_are_a_majority() -> None:
    source = Grid((8, 8, 8), np.diag([0.5, 0.5, 0.5, 1.0]))
    to = rescaled(source, 1.0)
    positions = np.zeros((8, 8, 8), np.uint8)
    positions[:4] = 3
    positions[4:, :, :5] = 2  # the voxel of 1 mm at 4:6 holds half of it
    positions[0, 0, 0] = 1  # one voxel of eight
    result = resample_labels_gaussian(positions, source, to)
    assert (result[:2] == 3).all() and (result[2:, :, :2] == 2).all() and (result[2:, :, 3:] == 0).all()


def test_gaussian_on_the_same_grid_changes_nothing() -> None:
    positions = np.random.default_rng(0).integers(0, 5, (6, 7, 8)).astype(np.uint8)
    grid = centred((1.0, 1.0, 1.0), 6, OBLIQUE)
    grid = Grid((6, 7, 8), grid.affine)
    assert np.array_equal(resample_labels_gaussian(positions, grid, grid), positions)
