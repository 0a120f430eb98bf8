from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg_core.errors import UserError
from multiseg_core.images import read_image, require_same_grid
from multiseg_core.labels import CodeMap
from multiseg_core.params import PreprocessingParams
from multiseg_core.grids import Grid, rescaled
from multiseg_core.preprocessing import prepare, to_native, z_score

from .conftest import ball, save

ONE_MM = PreprocessingParams(spacing_mm=1)


def oblique(spacing: tuple[float, float, float], degrees: float, flips: tuple[int, int, int] = (1, 1, 1)) -> np.ndarray:
    """An affine rotated about z, with voxel sizes and flipped axes."""
    angle = np.deg2rad(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = rotation @ np.diag(np.array(spacing) * flips)
    affine[:3, 3] = (-20, 15, 7)
    return affine


def test_z_score_inside_and_fixed_value_outside() -> None:
    volume = np.array([[[1.0, 3.0, 100.0]]])
    mask = np.array([[[True, True, False]]])
    # mean 2, standard deviation 1
    assert z_score(volume, mask, -4.0, Path("x")).tolist() == [[[-1.0, 1.0, -4.0]]]


@pytest.mark.parametrize(
    "affine",
    [
        np.diag([1.0, 1.0, 1.0, 1.0]),
        oblique((1.0, 1.0, 3.0), 0, (-1, 1, 1)),
        oblique((1.5, 0.9, 2.0), 17, (-1, -1, 1)),
        np.array([[0, 0, 1.2, 3], [0.9, 0, 0, 2], [0, -1.1, 0, 1], [0, 0, 0, 1.0]]),  # permuted axes
    ],
)
def test_a_segmentation_returns_to_the_input_grid(tmp_path: Path, affine: np.ndarray) -> None:
    shape = (36, 34, 24)
    # balls in world coordinates (mm), so that the anatomy does not depend on the grid
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"))
    world = np.einsum("ij,jxyz->ixyz", affine[:3, :3], voxels) + affine[:3, 3].reshape(3, 1, 1, 1)
    centre = (affine @ [*((np.array(shape) - 1) / 2), 1])[:3].reshape(3, 1, 1, 1)
    distance = np.sqrt(((world - centre) ** 2).sum(0))
    labels = (distance < 10).astype(np.uint8) + (distance < 5)
    image = np.where(distance < 11, 100.0 + 30 * labels, 0).astype(np.float32)
    t1, seg = save(tmp_path / "t1.nii.gz", image, affine), save(tmp_path / "seg.nii.gz", labels, affine)
    code_map = CodeMap.build(("gm", "wm"), {1: "gm", 2: "wm"})
    prepared = prepare({"T1": t1}, ONE_MM, labels=seg, code_map=code_map)
    assert nib.aff2axcodes(prepared.affine) == ("R", "A", "S")
    assert np.allclose(nib.affines.voxel_sizes(prepared.affine), 1)
    assert prepared.target is not None
    # volumes survive: 4/3 pi r^3
    assert (prepared.target == 2).sum() == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.1)
    one_hot = np.stack([(prepared.target == k) for k in range(3)]).astype(np.float32)
    back = to_native(one_hot, prepared.affine, prepared.native_shape, prepared.native_affine)
    assert back.shape == shape
    for k in (1, 2):
        dice = 2 * ((back == k) & (labels == k)).sum() / ((back == k).sum() + (labels == k).sum())
        assert dice > 0.93


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0, 3.0])
def test_a_brain_cut_by_the_field_of_view_keeps_its_outer_slices(spacing_mm: float) -> None:
    grid = rescaled(Grid((20, 20, 20), np.eye(4)), spacing_mm)
    everywhere = np.stack([np.zeros(grid.shape), np.ones(grid.shape)]).astype(np.float32)
    assert (to_native(everywhere, grid.affine, (20, 20, 20), np.eye(4)) == 1).all()


def test_a_2_mm_grid_and_given_mask(tmp_path: Path) -> None:
    shape = (20, 20, 20)
    rng = np.random.default_rng(0)
    head = save(tmp_path / "head.nii.gz", rng.normal(100, 10, shape).astype(np.float32))
    mask = save(tmp_path / "mask.nii.gz", np.pad(np.ones((12, 12, 12), np.uint8), 4))
    prepared = prepare({"T1": head}, PreprocessingParams(spacing_mm=2), brain_mask=mask)
    assert prepared.mask.sum() == 6**3
    inside = prepared.images[0][prepared.mask]
    assert abs(inside.mean()) < 1e-5 and inside.std() == pytest.approx(1, abs=1e-5)
    assert (prepared.images[0][~prepared.mask] == -4).all()


def test_trailing_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", np.zeros((4, 5, 6, 1), np.float32))
    assert read_image(path).shape == (4, 5, 6)


def test_labels_outside_the_brain_mask_are_kept(tmp_path: Path) -> None:
    image = np.zeros((24, 24, 24), np.float32)
    image[8:16, 8:16, 8:16] = np.random.default_rng(0).normal(100, 5, (8, 8, 8))
    labels = np.zeros(image.shape, np.uint8)
    labels[20, 20, 20] = 1
    t1, seg = save(tmp_path / "t1.nii.gz", image), save(tmp_path / "seg.nii.gz", labels)
    prepared = prepare({"T1": t1}, ONE_MM, labels=seg, code_map=CodeMap.build(("gm",), {1: "gm"}))
    assert prepared.target is not None and (prepared.target == 1).sum() == 1


def test_bad_files(tmp_path: Path) -> None:
    good = save(tmp_path / "good.nii.gz", np.random.default_rng(0).normal(size=(6, 6, 6)).astype(np.float32))
    text = tmp_path / "text.nii.gz"
    text.write_text("not an image")
    nan = save(tmp_path / "nan.nii.gz", np.full((6, 6, 6), np.nan, np.float32))
    flat = save(tmp_path / "flat.nii.gz", np.ones((6, 6, 6), np.float32))
    mask = save(tmp_path / "mask.nii.gz", np.ones((6, 6, 6), np.uint8))
    small = save(tmp_path / "small.nii.gz", np.zeros((5, 6, 6), np.float32))
    moved = save(tmp_path / "moved.nii.gz", np.zeros((6, 6, 6), np.float32), np.diag([1, 1, 1.1, 1]))
    cut = tmp_path / "cut.nii.gz"
    big = save(tmp_path / "big.nii.gz", np.random.default_rng(0).normal(size=(30, 30, 30)).astype(np.float32))
    cut.write_bytes(big.read_bytes()[:-20000])
    with pytest.raises(UserError, match="missing.nii: no such file"):
        read_image(tmp_path / "missing.nii")
    with pytest.raises(UserError, match="text.nii.gz: not a readable NIfTI image"):
        read_image(text)
    with pytest.raises(UserError, match="cut.nii.gz: its voxels cannot be read"):
        prepare({"T1": cut}, ONE_MM)
    with pytest.raises(UserError, match="nan.nii.gz: holds NaN"):
        prepare({"T1": nan}, ONE_MM, brain_mask=mask)
    with pytest.raises(UserError, match="flat.nii.gz: the image is constant inside the brain"):
        prepare({"T1": good, "FLAIR": flat}, ONE_MM, brain_mask=mask)
    with pytest.raises(
        UserError, match=r"small.nii.gz: shape \(5, 6, 6\) differs from that of good.nii.gz, \(6, 6, 6\)"
    ):
        require_same_grid({"T1": good, "labels": small})
    with pytest.raises(UserError, match="moved.nii.gz: affine differs from that of good.nii.gz"):
        require_same_grid({"T1": good, "labels": moved})
