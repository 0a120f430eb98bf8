import numpy as np
import pytest
import torch
from torch.nn import functional as F

from multiseg_core.augmentation import LEVEL, transformed, vary_contrast, vary_shape_


class _Fixed:
    """Numbers by hand: of `standard_normal` (gamma, 3 linear, 3 quadratic, scale, shift) and of `random` (blur)."""

    def __init__(self, normal: list[float], uniform: list[float]) -> None:
        self.normal, self.uniform = normal, uniform

    def random(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.ones(shape) if shape[-1] == 1 else np.broadcast_to(np.array(self.uniform, float), shape)

    def standard_normal(self, shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(np.array(self.normal, float), shape)


def varied(monkeypatch: pytest.MonkeyPatch, x: torch.Tensor, normal: dict[int, float], blur: float = 0) -> torch.Tensor:
    numbers = [normal.get(k, 0.0) for k in range(9)]
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Fixed(numbers, [blur] * 3))
    return vary_contrast(x, 1.0, 0, 0)


def test_each_part_by_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    x = torch.tensor([0.0, 1, 2, 4]).view(1, 1, 4, 1, 1)
    flat = lambda y: y.flatten().tolist()  # noqa: E731
    assert flat(varied(monkeypatch, x, {})) == pytest.approx([0, 1, 2, 4])
    # gamma of 2: (v / 4)^2 4
    assert flat(varied(monkeypatch, x, {0: np.log(2)})) == pytest.approx([0, 0.25, 1, 4])
    assert flat(varied(monkeypatch, x, {7: np.log(2), 8: 0.5})) == pytest.approx([0.5, 2.5, 4.5, 8.5])
    # the field grows from -1 to 1 along the first axis: v + f / LEVEL (v + LEVEL)
    f = np.array([-1, -1 / 3, 1 / 3, 1]) / LEVEL
    v = np.array([0, 1, 2, 4.0])
    assert flat(varied(monkeypatch, x, {1: 1.0})) == pytest.approx((v + f * (v + LEVEL)).tolist())
    # blur: an eighth of each difference flows to the neighbour
    assert flat(varied(monkeypatch, x, {}, blur=1)) == pytest.approx([0.125, 1, 2 + 1 / 8, 4 - 2 / 8])


def test_patches_and_channels_vary_on_their_own_and_again_the_same() -> None:
    x = torch.randn(3, 2, 8, 8, 8)
    kept = x.clone()
    y = vary_contrast(x, 0.3, 5, 7)
    assert torch.equal(x, kept) and y.shape == x.shape and y.isfinite().all()
    assert torch.equal(y, vary_contrast(x, 0.3, 5, 7))
    assert not torch.equal(y, vary_contrast(x, 0.3, 5, 8)) and not torch.equal(y, vary_contrast(x, 0.3, 6, 7))
    same = vary_contrast(x[:1, :1].expand(3, 2, -1, -1, -1), 0.3, 5, 7)
    assert len({round(float(v), 5) for v in same.mean((2, 3, 4)).flatten()}) == 6
    assert torch.allclose(vary_contrast(x, 0.0, 5, 7), x, atol=1e-5)


def vary_shape(
    x: torch.Tensor, y: torch.Tensor, strength: float, spacing_mm: tuple[float, float, float], seed: int, step: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """As `vary_shape_`, on copies."""
    x, y = x.clone(), y.clone()
    vary_shape_(x, y, strength, spacing_mm, seed, step)
    return x, y


class _Turn:
    """Random numbers by hand: every patch is chosen, angles and logarithm of the scale are given."""

    def __init__(self, angles: list[float], log_scale: float) -> None:
        self.angles, self.log_scale = angles, log_scale

    def random(self, n: int) -> np.ndarray:
        return np.zeros(n)

    def normal(self, mean: float, sd: float, shape: int | tuple[int, ...]) -> np.ndarray:
        return np.full(shape, self.log_scale) if isinstance(shape, int) else np.tile(self.angles, (shape[0], 1))


@pytest.mark.parametrize(("axis", "plane"), [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))])
def test_a_quarter_turn_is_that_of_torch(monkeypatch: pytest.MonkeyPatch, axis: int, plane: tuple[int, int]) -> None:
    angles = [0.0, 0.0, 0.0]
    angles[axis] = np.pi / 2
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Turn(angles, 0.0))
    x, y = torch.randn(2, 2, 6, 6, 6), torch.randint(0, 4, (2, 6, 6, 6))
    turned, labels = vary_shape(x, y, 1.0, (1, 1, 1), 0, 0)
    found = [k for k in (1, 3) if torch.allclose(turned, x.rot90(k, [2 + a for a in plane]), atol=1e-4)]
    assert len(found) == 1 and torch.equal(labels, y.rot90(found[0], [1 + a for a in plane]))


def test_turns_are_made_in_the_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Voxels of 1 by 2: a box of 4 by 2 voxels is a square, which a quarter turn maps to itself."""
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Turn([0, 0, np.pi / 2], 0.0))
    y = torch.zeros(1, 8, 4, 4, dtype=torch.int64)
    y[:, 2:6, 1:3] = 1
    _, labels = vary_shape(y[:, None].float(), y, 1.0, (1, 2, 1), 0, 0)
    assert torch.equal(labels, y)
    _, other = vary_shape(y[:, None].float(), y, 1.0, (1, 1, 1), 0, 0)
    assert not torch.equal(other, y)
    # slices of three times the width: nothing turns out of their plane
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Turn([0.7, 0.7, 0], 0.0))
    x = torch.randn(1, 1, 8, 8, 8)
    assert torch.allclose(vary_shape(x, y.new_zeros(1, 8, 8, 8), 1.0, (1, 1, 3), 0, 0)[0], x, atol=1e-4)


@pytest.mark.parametrize("size", [(6, 5, 4), (7, 1, 3), (5, 6, 1)])
def test_patches_elsewhere_are_those_of_torch(size: tuple[int, int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, 3, 3, generator=generator)  # turned, sheared and scaled out of the patch
    images = torch.randn(3, 2, *size, generator=generator)
    target = torch.randint(0, 9, (3, *size), generator=generator)
    half = torch.tensor(size) / 2  # torch counts axes from the last, and from -1 to 1
    theta = torch.zeros(3, 3, 4)
    theta[:, :, :3] = (matrices * half / half[:, None]).flip(1, 2)
    grid = F.affine_grid(theta, [3, 1, *size], align_corners=False)
    drawn, labels = transformed(images, target, matrices)
    assert torch.allclose(drawn, F.grid_sample(images, grid, "bilinear", "border", align_corners=False), atol=1e-5)
    expected = F.grid_sample(target[:, None].float(), grid, "nearest", "border", align_corners=False)
    assert torch.equal(labels, expected[:, 0].long())


def test_scales_grow_what_is_in_the_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np.random, "default_rng", lambda seed: _Turn([0, 0, 0], -np.log(2)))
    y = torch.zeros(1, 8, 8, 8, dtype=torch.int64)
    y[:, 3:5, 3:5, 3:5] = 3
    _, labels = vary_shape(y[:, None].float(), y, 1.0, (1, 1, 1), 0, 0)
    expected = torch.zeros_like(y)
    expected[:, 2:6, 2:6, 2:6] = 3
    assert torch.equal(labels, expected)


def test_a_quarter_of_the_patches_changes_and_again_the_same() -> None:
    x, y = torch.randn(40, 1, 8, 8, 8), torch.randint(0, 3, (40, 8, 8, 8))
    a, b = vary_shape(x, y, 0.2, (1, 1, 1), 3, 4)
    changed = (a != x).flatten(1).any(1)
    assert 3 < changed.sum() < 20 and torch.equal(a[~changed], x[~changed]) and torch.equal(b[~changed], y[~changed])
    c, d = vary_shape(x, y, 0.2, (1, 1, 1), 3, 4)
    assert torch.equal(a, c) and torch.equal(b, d)
    assert set(b.unique().tolist()) <= {0, 1, 2}


def test_absent_channels_stay_absent_and_slices_are_patches_too() -> None:
    x = torch.randn(2, 2, 8, 8, 1)
    x[1, 0] = torch.nan
    y = vary_contrast(x, 0.5, 0, 0)
    assert torch.equal(y.isnan(), x.isnan())
    assert vary_contrast(torch.zeros(1, 1, 4, 4, 4), 0.5, 0, 0).isfinite().all()
