import numpy as np
import pytest
from scipy import ndimage

from multiseg.data.phantom.fields import interpolate, random_displacement, smooth_noise
from tests.data.phantom.conftest import jacobian

SIZE = (4.0, 4.0, 4.0)


def test_smooth_noise_has_the_stated_scale() -> None:
    noise = smooth_noise(np.random.default_rng(0), (60, 60, 60), 8.0, (2.0, 2.0, 2.0))
    assert noise.mean() == pytest.approx(0, abs=0.3) and noise.std() == pytest.approx(1, abs=0.25)

    # a Gaussian of sigma s makes a correlation of exp(-d^2 / 4 s^2): at d = 8 mm 0.78, at 32 mm nearly none
    def correlation(voxels: int) -> float:
        return float(np.corrcoef(noise[:-voxels].ravel(), noise[voxels:].ravel())[0, 1])

    assert correlation(4) == pytest.approx(np.exp(-0.25), abs=0.12)
    assert abs(correlation(16)) < 0.2


def test_smooth_noise_is_as_smooth_in_mm_along_coarse_axes() -> None:
    noise = smooth_noise(np.random.default_rng(1), (60, 60, 60), 9.0, (1.5, 3.0, 3.0))
    along_x = np.corrcoef(noise[:-6].ravel(), noise[6:].ravel())[0, 1]
    along_y = np.corrcoef(noise[:, :-3].ravel(), noise[:, 3:].ravel())[0, 1]
    assert along_x == pytest.approx(along_y, abs=0.1)  # both 9 mm


@pytest.mark.parametrize("seed", range(3))
def test_displacements_do_not_fold(seed: int) -> None:
    parts = ((30.0, 5.0), (14.0, 2.0))
    field = random_displacement(np.random.default_rng(seed), (30, 36, 30), SIZE, parts)
    grid = 4.0 * np.stack(np.meshgrid(*[np.arange(n) for n in field.shape[1:]], indexing="ij"))
    assert jacobian(grid + field, 4.0).min() > 0
    assert 5 < np.abs(field).max() < 30


def test_opposite_velocities_give_inverse_displacements() -> None:
    """The exponential of -v undoes that of v, which a velocity taken as displacement would not."""
    there = random_displacement(np.random.default_rng(4), (24, 24, 24), SIZE, ((20.0, 6.0),))
    back = random_displacement(np.random.default_rng(4), (24, 24, 24), SIZE, ((20.0, -6.0),))
    grid = np.stack(np.meshgrid(*[np.arange(24.0)] * 3, indexing="ij"))
    at = grid + there / 4.0
    inner = (slice(None), *[slice(6, -6)] * 3)

    def left_over(undo: np.ndarray) -> float:
        moved = there + np.stack([ndimage.map_coordinates(d, at, order=1, mode="nearest") for d in undo])
        return float(np.abs(moved[inner]).max())

    assert left_over(back) < 0.8 and left_over(-there) > 3  # mm


def test_interpolation_agrees_with_scipy() -> None:
    rng = np.random.default_rng(0)
    volumes = rng.random((2, 5, 6, 7), dtype=np.float32)
    at = np.stack([rng.uniform(-2, n + 1, (4, 4, 4)) for n in (5, 6, 7)]).astype(np.float32)
    for beyond, mode in (("border", "nearest"), ("zeros", "grid-constant")):
        expected = np.stack([ndimage.map_coordinates(v, at, order=1, mode=mode, cval=0) for v in volumes])
        assert np.allclose(interpolate(volumes, at, beyond), expected, atol=1e-5)
