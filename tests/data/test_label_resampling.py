"""What lies in a volume must lie at the same place, and be as large, on another grid."""

from collections.abc import Callable

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial import KDTree

from multiseg.data.grids import aligned_with_world, rescaled
from multiseg.data.label_resampling import (
    cost_table,
    resample_gaussian,
    resample_labels,
    resample_nearest,
    what_is_kept,
)
from multiseg_core.grids import Grid
from multiseg_core.resampling import gaussian_sigmas, resample
from tests.data.test_grids import OBLIQUE, centred


def sphere(grid: Grid, radius_mm: float) -> np.ndarray:
    """The voxels of a grid whose centre is within a radius about (0.13, 0.31, -0.27) mm."""
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), axis=-1)
    world = nib.affines.apply_affine(grid.affine, voxels)
    return ((world - (0.13, 0.31, -0.27)) ** 2).sum(-1) < radius_mm**2


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def test_permuted_and_flipped_axes_are_resampled_exactly() -> None:
    volume = np.arange(2 * 3 * 4, dtype=np.float32).reshape(2, 3, 4)
    source = Grid((2, 3, 4), np.eye(4))
    # voxel (i, j, k) of the new grid is voxel (1 - k, i, j) of the old one
    to = Grid((3, 4, 2), np.array([[0, 0, -1.0, 1], [1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1.0]]))
    expected = volume[::-1].transpose(1, 2, 0)
    assert np.allclose(resample(volume, source, to), expected)
    labels = volume.astype(np.uint8)
    for way in (resample_labels, resample_nearest, resample_gaussian):
        assert np.array_equal(way(labels, source, to), expected)


def balls(grid: Grid, radius_mm: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw many balls at random places, apart from each other; return the labels and the centres in mm."""
    gap = 2 * radius_mm + 9
    n = int(50 / gap)
    places = np.stack(np.meshgrid(*[np.arange(n)] * 3, indexing="ij"), -1).reshape(-1, 3)
    centres = (places - (n - 1) / 2) * gap + rng.uniform(-3, 3, (len(places), 3))
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in grid.shape], indexing="ij"), -1)
    distance, _ = KDTree(centres).query(nib.affines.apply_affine(grid.affine, voxels).reshape(-1, 3))
    return (distance <= radius_mm).reshape(grid.shape).astype(np.uint8), centres


def centroids(volume: np.ndarray, grid: Grid, centres: np.ndarray) -> np.ndarray:
    """Return the centroid of what lies around each centre, weighted by the volume; NaN where there is nothing."""
    at = np.argwhere(volume > 0)
    world, weight = nib.affines.apply_affine(grid.affine, at), volume[tuple(at.T)].astype(float)
    owner = KDTree(centres).query(world)[1]
    total = np.bincount(owner, weight, len(centres))
    sums = np.stack([np.bincount(owner, weight * world[:, axis], len(centres)) for axis in range(3)], -1)
    with np.errstate(invalid="ignore"):
        return sums / total[:, None]


GEOMETRIES = {
    "1 to 2": ((1.0, 1.0, 1.0), 2.0, np.eye(3)),
    "thick slices to 2": ((1.0, 1.0, 3.0), 2.0, np.eye(3)),
    "thick slices to 1": ((0.96, 0.96, 3.0), 1.0, np.eye(3)),
    "3 to 2": ((3.0, 3.0, 3.0), 2.0, np.eye(3)),
    "2 to 1": ((2.0, 2.0, 2.0), 1.0, np.eye(3)),
    "1 to 1.3": ((1.0, 1.0, 1.0), 1.3, np.eye(3)),
    "permuted": ((1.0, 1.0, 3.0), 2.0, np.eye(3)[[2, 0, 1]]),
    "flipped": ((1.0, 1.0, 1.0), 2.0, np.diag([-1.0, 1, -1])),
    "oblique": ((1.0, 1.0, 1.0), 1.5, OBLIQUE),
    "oblique thick": ((1.0, 1.0, 3.0), 2.0, OBLIQUE),
}


@pytest.mark.parametrize("name", GEOMETRIES)
def test_labels_and_images_stay_where_they_are_and_as_large(name: str) -> None:
    spacing_mm, target_mm, turn = GEOMETRIES[name]
    to_grid: Callable[[Grid, float], Grid] = rescaled if np.array_equal(turn, np.eye(3)) else aligned_with_world
    rng = np.random.default_rng(1)
    moved: dict[str, list[np.ndarray]] = {"labels": [], "image": []}
    before = after = 0.0
    for radius_mm in (1.6, 2.2, 3.2, 4.5) * 2:
        source = centred(spacing_mm, 90, turn)
        source.affine[:3, 3] += rng.uniform(-3, 3, 3)
        drawn, centres = balls(source, radius_mm, rng)
        to = to_grid(source, target_mm)
        labels, image = resample_labels(drawn, source, to), resample(drawn.astype(np.float32), source, to)
        was = centroids(drawn, source, centres)
        moved["labels"].append(centroids(labels, to, centres) - was)
        moved["image"].append(centroids(image, to, centres) - was)
        before += drawn.sum() * abs(np.linalg.det(source.affine))
        after += labels.sum() * abs(np.linalg.det(to.affine))
    for shifts in moved.values():
        assert np.abs(np.nanmean(np.concatenate(shifts), axis=0)).max() < 0.05  # mm
    assert after == pytest.approx(before, rel=0.01)


@pytest.mark.parametrize(
    "voxels", [[(0, 0, 0)], [(0, 0, 0), (1, 0, 0)], list(np.ndindex(2, 2, 2)), list(np.ndindex(3, 3, 3))]
)
def test_small_lesions_keep_their_volume_on_average(voxels: list[tuple[int, int, int]]) -> None:
    rng = np.random.default_rng(0)
    source = Grid((120, 120, 120), np.eye(4))
    drawn = np.zeros(source.shape, np.uint8)
    for corner in np.ndindex(12, 12, 12):  # 1,728 lesions, at least 5 mm apart
        for voxel in np.array(voxels) + np.array(corner) * 10 + rng.integers(0, 3, 3):
            drawn[tuple(voxel)] = 4
    result = resample_labels(drawn, source, rescaled(source, 2.0))
    assert set(np.unique(result)) == {0, 4}
    assert 8 * np.count_nonzero(result) == pytest.approx(np.count_nonzero(drawn), rel=0.01)


def test_labels_that_fill_the_brain_keep_their_volumes() -> None:
    rng = np.random.default_rng(0)
    source = Grid((60, 60, 20), np.diag([1.0, 1.0, 3.0, 1.0]))
    thickness = np.cumsum([0, 11, 2, 17, 1])  # sheets of 11, 2, 17 and 1 mm, folded
    height = (
        np.add.outer(np.arange(60), 3 * np.sin(np.arange(60) / 5))[..., None] - 10 + rng.normal(0, 0.3, (60, 60, 20))
    )
    drawn = np.digitize(height, thickness).astype(np.uint8) % 5
    to = rescaled(source, 2.0)
    result = resample_labels(drawn, source, to)
    assert 8 * np.bincount(result.ravel(), minlength=5)[1:] == pytest.approx(
        3 * np.bincount(drawn.ravel())[1:], rel=0.01
    )


@pytest.mark.parametrize("way", [resample_labels, resample_nearest, resample_gaussian])
def test_a_centre_half_way_between_slices_takes_either(way: Callable[..., np.ndarray]) -> None:
    source = Grid((20, 20, 4), np.diag([1.0, 1.0, 3.0, 1.0]))
    to = Grid((20, 20, 5), np.diag([1.0, 1.0, 2.0, 1.0]))
    to.affine[2, 3] = -0.5  # centres at -.5, 1.5, ...: the second lies half-way between the first two slices
    drawn = np.ones(source.shape, np.uint8)
    drawn[:, :, 1:] = 2
    tied = way(drawn, source, to)[:, :, 1]
    assert np.count_nonzero(tied == 1) == pytest.approx(200, abs=40)  # 10 for 400 tosses is a standard deviation
    assert np.array_equal(way(drawn, source, to), way(drawn, source, to))


@pytest.mark.parametrize("ratio", [2.0, 2.5, 3.0, 4.0])
def test_stripes_finer_than_the_voxels_are_not_aliased(ratio: float) -> None:
    source = Grid((240, 8, 8), np.eye(4))
    stripes = np.where(np.arange(240) % 2 == 0, 1.0, -1.0).astype(np.float32)[:, None, None] * np.ones(
        (1, 8, 8), np.float32
    )
    coarse = resample(stripes, source, rescaled(source, ratio))
    # at most the uneven voxel of an average over `ratio` is left; picking voxels would leave 1
    assert np.abs(coarse).max() <= 1 / ratio + 1e-5
    # and what is coarse stays
    slope = np.arange(240, dtype=np.float32)[:, None, None] * np.ones((1, 8, 8), np.float32)
    to = rescaled(source, ratio)
    at = to.affine[0, 3] + ratio * np.arange(to.shape[0])
    assert resample(slope, source, to)[2:-2, 1, 1] == pytest.approx(at[2:-2], abs=0.1)


def test_only_inside_is_0_beyond_the_outer_faces() -> None:
    source = Grid((2, 2, 2), np.eye(4))  # from -0.5 to 1.5 mm
    affine = np.diag([0.5, 1.0, 1.0, 1.0])
    affine[0, 3] = -1.0  # centres at -1, -0.5, 0, 0.5, 1, 1.5, 2
    values = resample(np.ones((2, 2, 2), np.float32), source, Grid((7, 2, 2), affine), only_inside=True)
    assert values[:, 0, 0].tolist() == [0, 1, 1, 1, 1, 1, 0]
    labels = np.full((2, 2, 2), 5, np.uint8)
    for way in (resample_labels, resample_nearest, resample_gaussian):
        assert way(labels, source, Grid((7, 2, 2), affine))[2:5, 0, 0].tolist() == [5, 5, 5]
        assert way(labels, source, Grid((7, 2, 2), affine))[[0, 6], 0, 0].tolist() == [0, 0]


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
    nearest = resample_nearest(drawn, source, to) == 1
    gaussian = resample_gaussian(drawn, source, to) == 1
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
    result = resample_gaussian(positions, source, to)
    assert (result[:2] == 3).all() and (result[2:, :, :2] == 2).all() and (result[2:, :, 3:] == 0).all()


def test_gaussian_on_the_same_grid_changes_nothing() -> None:
    positions = np.random.default_rng(0).integers(0, 5, (6, 7, 8)).astype(np.uint8)
    grid = centred((1.0, 1.0, 1.0), 6, OBLIQUE)
    grid = Grid((6, 7, 8), grid.affine)
    assert np.array_equal(resample_gaussian(positions, grid, grid), positions)


def test_what_a_grid_costs_is_counted() -> None:
    sets = (frozenset({"background"}), frozenset({"wmh"}), frozenset({"background", "wmh"}))
    fine, coarse = Grid((8, 8, 8), np.eye(4)), Grid((4, 4, 4), np.diag([2.0, 2, 2, 1]))
    drawn = np.zeros(fine.shape, np.uint8)
    drawn[0, 0, 0] = 1  # one voxel
    drawn[4:6, 4:6, 4:7] = 1  # 12 voxels
    drawn[7, 0, 0] = 2  # ignored
    stored = np.zeros(coarse.shape, np.uint8)
    stored[2, 2, 2] = 1
    (row,) = what_is_kept(drawn, fine, stored, coarse, sets)
    assert row == pytest.approx({"set": 1, "ml": 0.013, "ml_kept": 0.008, "pieces": 2, "pieces_kept": 1})
    table = cost_table([("a", "wmh", row), ("a", "wmh", {**row, "pieces_kept": 2}), ("b", "wmh", row)])
    assert table.iloc[0, :2].tolist() == ["a", "wmh"]
    assert table.iloc[0, 2:].tolist() == pytest.approx([0.026, 100 * 8 / 13, 4, 75])
    assert len(table) == 2 and cost_table([]).empty
