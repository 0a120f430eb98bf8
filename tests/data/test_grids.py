import itertools

import numpy as np

from multiseg.data.grids import aligned_with_world, rescaled
from multiseg_core.grids import Grid, field_of_view, is_rotated


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


def test_field_of_view_ends_at_the_outer_faces() -> None:
    source = Grid((2, 2, 2), np.eye(4))  # from -0.5 to 1.5 mm
    affine = np.diag([0.5, 1.0, 1.0, 1.0])
    affine[0, 3] = -1.0  # centres at -1, -0.5, 0, 0.5, 1, 1.5, 2
    inside = field_of_view(source, Grid((7, 2, 2), affine))
    assert inside[:, 0, 0].tolist() == [False, True, True, True, True, True, False]
