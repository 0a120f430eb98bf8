import itertools
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from multiseg.data.cohorts import Case, Cohort
from multiseg.data.grids import rescaled
from multiseg.data.image_files import read_image, require_same_grid
from multiseg.data.inspect_case import inspect_case
from multiseg.data.prepare import normalised, prepare
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg_core.errors import UserError
from multiseg_core.grids import Grid, voxel_sizes
from multiseg_core.labels import CodeMap
from multiseg_core.resampling import most_probable_on
from tests.conftest import RobexStandIn, ball, save

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
    assert normalised(volume, mask, PreprocessingParams(), Path("x")).tolist() == [[[-1.0, 1.0, -4.0]]]


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
    prepared = prepare(Case("c", "1", {"T1": t1}, seg), ONE_MM, code_map)
    assert nib.aff2axcodes(prepared.grid.affine) == ("R", "A", "S")
    assert np.allclose(nib.affines.voxel_sizes(prepared.grid.affine), 1)
    assert prepared.target is not None
    # volumes survive: 4/3 pi r^3
    assert (prepared.target == 2).sum() == pytest.approx(4 / 3 * np.pi * 5**3, rel=0.1)
    one_hot = np.stack([(prepared.target == k) for k in range(3)]).astype(np.float32)
    back = most_probable_on(one_hot, prepared.grid, prepared.native_grid)
    assert back.shape == shape
    for k in (1, 2):
        dice = 2 * ((back == k) & (labels == k)).sum() / ((back == k).sum() + (labels == k).sum())
        assert dice > 0.93


@pytest.mark.parametrize("spacing_mm", [1.0, 2.0, 3.0])
def test_a_brain_cut_by_the_field_of_view_keeps_its_outer_slices(spacing_mm: float) -> None:
    grid = rescaled(Grid((20, 20, 20), np.eye(4)), spacing_mm)
    everywhere = np.stack([np.zeros(grid.shape), np.ones(grid.shape)]).astype(np.float32)
    assert (most_probable_on(everywhere, grid, Grid((20, 20, 20), np.eye(4))) == 1).all()


def test_a_2_mm_grid_and_given_mask(tmp_path: Path) -> None:
    shape = (20, 20, 20)
    rng = np.random.default_rng(0)
    head = save(tmp_path / "head.nii.gz", rng.normal(100, 10, shape).astype(np.float32))
    mask = save(tmp_path / "mask.nii.gz", np.pad(np.ones((12, 12, 12), np.uint8), 4))
    prepared = prepare(Case("c", "1", {"T1": head}, brain_mask=mask), PreprocessingParams(spacing_mm=2))
    assert prepared.mask.sum() == 6**3
    inside = prepared.images[0][prepared.mask]
    assert abs(inside.mean()) < 1e-5 and inside.std() == pytest.approx(1, abs=1e-5)
    assert (prepared.images[0][~prepared.mask] == -4).all()


def test_trailing_axis_of_length_one_is_dropped(tmp_path: Path) -> None:
    path = save(tmp_path / "x.nii.gz", np.zeros((4, 5, 6, 1), np.float32))
    assert read_image(path).shape == (4, 5, 6)


def test_labels_outside_the_brain_are_counted_and_change_nothing(tmp_path: Path) -> None:
    image = np.zeros((24, 24, 24), np.float32)
    image[8:16, 8:16, 8:16] = np.random.default_rng(0).normal(100, 5, (8, 8, 8))
    labels = np.zeros(image.shape, np.uint8)
    labels[20:22, 20, 20], labels[10, 10, 10] = 1, 1
    affine = np.diag([2.0, 1.0, 1.0, 1.0])
    t1, seg = save(tmp_path / "t1.nii.gz", image, affine), save(tmp_path / "seg.nii.gz", labels, affine)
    code_map = CodeMap.build(("gm",), {1: "gm"})
    prepared = prepare(Case("c", "1", {"T1": t1}, seg), PreprocessingParams(spacing_mm=None), code_map)
    assert prepared.outside_ml == {1: pytest.approx(2 * 0.002)}
    assert prepared.native is not None and (prepared.native.target == 1).sum() == 3  # they are scored
    without = prepare(Case("c", "1", {"T1": t1}), PreprocessingParams(spacing_mm=None))
    assert without.images.shape == prepared.images.shape == (1, 16, 16, 16)  # the brain and its margin
    assert np.array_equal(without.images, prepared.images)


def cohort_case(folder: Path) -> dict[str, Path]:
    """A case whose images differ in how tightly their brain was extracted, and whose labels reach beyond both."""
    rng = np.random.default_rng(0)
    shape = (26, 28, 24)
    files = {}
    for name, radius in (("FLAIR", 7), ("T1", 9)):
        inside = ball(shape, (13, 14, 12), radius)
        volume = np.where(inside, rng.normal(100, 10, shape), 0).astype(np.float32)
        files[name] = save(folder / f"{name}.nii.gz", volume, np.diag([-1.0, 1.2, 1.1, 1.0]))
    files["labels"] = save(
        folder / "labels.nii.gz", ball(shape, (13, 14, 12), 11).astype(np.uint8), np.diag([-1.0, 1.2, 1.1, 1.0])
    )
    return files


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"orientation": "world"},
        {"orientation": "native"},
        {"spacing_mm": None},
        {"spacing_mm": 2.0},
        {"spacing_mm": [2.0, 1.0, 3.0]},
        {"label_interpolation": "nearest"},
        {"label_interpolation": "gaussian"},
        {"brain_extraction": "none"},
        {"brain_extraction": "robex"},
        {"z_score": False},
        {"outside_value": 3.0},
        {"crop": False},
        {"clip_values": [10.0, 90.0]},
        {"clip_percentiles": [1, 99]},
        {"resample_to": "first"},
    ],
    ids=str,
)
def test_a_case_is_prepared_alike_with_and_without_labels_in_any_order(
    tmp_path: Path, robex: RobexStandIn, changes: dict[str, Any]
) -> None:
    params = PreprocessingParams(**changes)
    files = cohort_case(tmp_path)
    images = {m: files[m] for m in ("FLAIR", "T1")}
    code_map = CodeMap.build(("gm",), {1: "gm"})
    case = Case("c", "1", images, files["labels"])
    stored = prepare(case, params, code_map)
    predicted = prepare(Case("c", "1", {m: files[m] for m in ("T1", "FLAIR")}), params)
    assert np.array_equal(stored.images, predicted.images[::-1])
    assert np.array_equal(stored.mask, predicted.mask) and np.array_equal(stored.grid.affine, predicted.grid.affine)
    assert np.array_equal(stored.native_grid.affine, predicted.native_grid.affine)


def test_every_key_of_preprocessing_is_in_the_test_above() -> None:
    cases = test_a_case_is_prepared_alike_with_and_without_labels_in_any_order.pytestmark[0].args[1]  # type: ignore[attr-defined]
    assert {key for case in cases for key in case} == set(PreprocessingParams.model_fields)


def test_one_voxel_of_huge_value_flattens_the_rest_unless_it_is_clipped(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 20), np.float32)
    image[4:16, 4:16, 4:16] = np.random.default_rng(0).normal(100, 10, (12, 12, 12))
    image[10, 10, 10] = 1e7
    path = save(tmp_path / "t1.nii.gz", image)
    plain = prepare(Case("c", "1", {"T1": path}), ONE_MM)
    assert np.percentile(plain.images[0][plain.mask], [5, 95]) == pytest.approx([-0.024, -0.024], abs=0.002)
    clipped = prepare(Case("c", "1", {"T1": path}), ONE_MM.changed(clip_percentiles=[0.5, 99.5]))
    assert np.percentile(clipped.images[0][clipped.mask], [5, 95]) == pytest.approx([-1.645, 1.645], abs=0.15)


def test_images_and_labels_on_other_grids_are_brought_to_the_first(tmp_path: Path) -> None:
    shape = (24, 24, 24)
    smooth = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 3) * 100 + 50
    image = np.where(ball(shape, (12, 12, 12), 9), smooth, 0).astype(np.float32)
    labels = ball(shape, (12, 12, 12), 5).astype(np.uint8)
    t1 = save(tmp_path / "t1.nii.gz", image)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])
    affine[0, 3] = 23
    turned = save(tmp_path / "flair.nii.gz", image[::-1].copy(), affine)
    seg = save(tmp_path / "seg.nii.gz", labels[::-1].copy(), affine)
    code_map = CodeMap.build(("gm",), {1: "gm"})
    images = {"T1": t1, "FLAIR": turned}
    message = r"flair.nii.gz: affine differs .* up to 23 mm .*only the order or direction .*first"
    with pytest.raises(UserError, match=message):
        prepare(Case("c", "1", images, seg), ONE_MM, code_map)
    found = prepare(Case("c", "1", images, seg), ONE_MM.changed(resample_to="first"), code_map)
    assert np.array_equal(found.images[0], found.images[1])
    alone = prepare(Case("c", "1", {"T1": t1}, save(tmp_path / "seg1.nii.gz", labels)), ONE_MM, code_map)
    assert np.array_equal(found.images[0], alone.images[0]) and np.array_equal(found.target, alone.target)
    far = save(tmp_path / "far.nii.gz", image, nib.affines.from_matvec(np.eye(3), [90, 0, 0]))
    with pytest.raises(UserError, match="far.nii.gz: lies beside the T1 of its case"):
        prepare(Case("c", "1", {"T1": t1, "FLAIR": far}), ONE_MM.changed(resample_to="first"))


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
    with pytest.raises(UserError, match="text.nii.gz: not a readable image"):
        read_image(text)
    with pytest.raises(UserError, match="cut.nii.gz: not a readable image .it is damaged and cannot be unpacked"):
        prepare(Case("c", "1", {"T1": cut}), ONE_MM)
    with pytest.raises(UserError, match="nan.nii.gz: holds NaN"):
        prepare(Case("c", "1", {"T1": nan}, brain_mask=mask), ONE_MM)
    with pytest.raises(UserError, match="flat.nii.gz: the image is constant inside the brain"):
        prepare(Case("c", "1", {"T1": good, "FLAIR": flat}, brain_mask=mask), ONE_MM)
    with pytest.raises(
        UserError, match=r"small.nii.gz: shape \(5, 6, 6\) differs from that of good.nii.gz, \(6, 6, 6\)"
    ):
        require_same_grid({"T1": good, "labels": small})
    with pytest.raises(UserError, match="moved.nii.gz: affine differs from that of good.nii.gz"):
        require_same_grid({"T1": good, "labels": moved})


FLIPS_AND_ORDERS = [
    (order, flips)
    for order, flips in zip(
        itertools.permutations(range(3)),
        [(1, 1, 1), (-1, 1, 1), (-1, -1, 1), (1, 1, -1), (-1, -1, -1), (1, -1, 1)],
        strict=True,
    )
]


def speckled(tmp_path: Path, affine: np.ndarray) -> tuple[Path, Path, np.ndarray, np.ndarray]:
    """A brain with random codes, the hardest to bring back: image, labels, codes and brain."""
    shape = (15, 17, 19)
    rng = np.random.default_rng(0)
    brain = ball(shape, (6, 9, 10), 5.5)
    codes = np.where(brain, rng.integers(0, 4, shape), 0).astype(np.uint8)
    image = np.where(brain, rng.normal(100, 10, shape), 0).astype(np.float32)
    return save(tmp_path / "t1.nii.gz", image, affine), save(tmp_path / "seg.nii.gz", codes, affine), codes, brain


@pytest.mark.parametrize(("order", "flips"), FLIPS_AND_ORDERS)
@pytest.mark.parametrize("degrees", [0, 17])
@pytest.mark.parametrize(
    ("sizes", "spacing_mm", "orientation"),
    [
        ((1.2, 1.2, 1.2), 1.2, "closest_canonical"),
        ((1.2, 1.2, 1.2), 1.2, "native"),
        ((1.0, 0.7, 3.0), None, "closest_canonical"),
    ],
)
def test_a_label_map_of_the_same_spacing_returns_voxel_for_voxel(
    tmp_path: Path,
    order: tuple[int, ...],
    flips: tuple[int, int, int],
    degrees: float,
    sizes: tuple[float, float, float],
    spacing_mm: float | None,
    orientation: str,
) -> None:
    affine = oblique(sizes, degrees, flips)
    affine[:3, :3] = affine[:3, list(order)]
    t1, seg, codes, brain = speckled(tmp_path, affine)
    code_map = CodeMap.build(("csf", "gm", "wm"), {1: "csf", 2: "gm", 3: "wm"})
    params = PreprocessingParams(orientation=orientation, spacing_mm=spacing_mm)
    prepared = prepare(Case("c", "1", {"T1": t1}, seg), params, code_map)
    # cropped, turned, and every voxel is there
    assert prepared.target is not None and prepared.target.size < codes.size
    assert sorted(voxel_sizes(prepared.grid.affine)) == pytest.approx(sorted(sizes), abs=1e-6)
    back = most_probable_on(one_hot(prepared.target, 4), prepared.grid, prepared.native_grid)
    assert np.array_equal(back[brain], codes[brain]) and not back[~brain].any()


@pytest.mark.parametrize("spacing_mm", [2.0, [1.0, 2.0, 4.0]])
def test_check_tells_what_the_voxels_of_the_store_cost(tmp_path: Path, spacing_mm: Any) -> None:
    """It took sizes from left to right, back to front and foot to head for those along the axes of the file."""
    affine = np.array([[0, 0, 1.2, 3], [0.9, 0, 0, 2], [0, -1.1, 0, 1], [0, 0, 0, 1.0]])
    t1, seg, codes, _ = speckled(tmp_path, affine)
    save(seg, codes * (np.random.default_rng(1).random(codes.shape) < 0.1), affine)
    case, params = Case("c", "1", {"T1": t1}, seg), PreprocessingParams(spacing_mm=spacing_mm)
    code_map = CodeMap.build(("csf", "gm", "wm"), {1: "csf", 2: "gm", 3: "wm"})
    stored = prepare(case, params, code_map).kept
    assert len(stored) == 3 and inspect_case(case, Cohort("c", (case,), ("T1",), code_map), params)["kept"] == stored


def one_hot(target: np.ndarray, n: int) -> np.ndarray:
    return np.stack([target == k for k in range(n)]).astype(np.float32)


def balls_in_world(shape: tuple[int, int, int], affine: np.ndarray) -> np.ndarray:
    """Two concentric balls, of 12 and 6 mm, about the middle of the image: codes 1 and 2."""
    voxels = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
    centre = nib.affines.apply_affine(affine, (np.array(shape) - 1) / 2)
    distance = np.sqrt(((nib.affines.apply_affine(affine, voxels) - centre) ** 2).sum(-1))
    return (distance < 12).astype(np.uint8) + (distance < 6)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@pytest.mark.parametrize(
    ("spacing_mm", "bounds"),
    # measured: .994 .993; .949 .924 (nearest neighbour .933 .910); 1 1, as voxels of half the size lose nothing
    [(1.0, (0.99, 0.99)), (2.0, (0.94, 0.915)), (0.5, (0.9999, 0.9999))],
)
def test_a_rotated_label_map_returns_nearly_whole(
    tmp_path: Path, spacing_mm: float, bounds: tuple[float, float]
) -> None:
    affine = oblique((1.0, 1.0, 1.0), 25, (-1, 1, 1))
    codes = balls_in_world((32, 34, 30), affine)
    rng = np.random.default_rng(0)
    image = np.where(codes > 0, rng.normal(100, 10, codes.shape), 0).astype(np.float32)
    t1, seg = save(tmp_path / "t1.nii.gz", image, affine), save(tmp_path / "seg.nii.gz", codes, affine)
    params = PreprocessingParams(orientation="world", spacing_mm=spacing_mm)
    prepared = prepare(Case("c", "1", {"T1": t1}, seg), params, CodeMap.build(("gm", "wm"), {1: "gm", 2: "wm"}))
    assert prepared.target is not None
    assert np.array_equal(prepared.grid.affine[:3, :3], spacing_mm * np.eye(3))  # along the scanner axes
    back = most_probable_on(one_hot(prepared.target, 3), prepared.grid, prepared.native_grid)
    for k, bound in zip((1, 2), bounds, strict=True):
        assert dice(back == k, codes == k) > bound


@pytest.mark.parametrize("degrees", [0, 17])
@pytest.mark.parametrize("orientation", ["closest_canonical", "world"])
def test_labels_keep_their_volume_unless_told_otherwise(tmp_path: Path, degrees: float, orientation: str) -> None:
    code_map = CodeMap.build(("csf", "gm", "wm"), {1: "csf", 2: "gm", 3: "wm"})
    t1, seg, _, _ = speckled(tmp_path, oblique((1.0, 1.0, 1.0), degrees))
    drawn = np.bincount(np.asarray(nib.load(seg).dataobj).astype(int).ravel(), minlength=4)[1:]

    def volumes(interpolation: str) -> np.ndarray:
        params = PreprocessingParams(
            spacing_mm=1.4, label_interpolation=interpolation, orientation=orientation, crop=False
        )
        found = prepare(Case("c", "1", {"T1": t1}, seg), params, code_map).target
        assert found is not None
        return 1.4**3 * np.bincount(found.ravel(), minlength=4)[1:]

    assert volumes("auto") == pytest.approx(drawn, rel=0.04)
    # isolated voxels are what a majority takes away
    assert np.abs(volumes("gaussian") / drawn - 1).max() > 0.05


def test_labels_on_a_grid_of_their_own(tmp_path: Path) -> None:
    image_affine = oblique((1.0, 1.0, 1.5), 12)
    shape = (32, 34, 22)
    drawn = balls_in_world(shape, image_affine)
    image = np.where(drawn > 0, 100.0 + 30 * drawn, 0).astype(np.float32)
    # the same anatomy drawn at half the voxel size, with other axes, on a field of view of its own
    label_affine = np.zeros((4, 4))
    label_affine[:3, :3] = [[0, -0.5, 0], [0, 0, 0.5], [0.5, 0, 0]]
    label_affine[3, 3] = 1
    middle = nib.affines.apply_affine(image_affine, (np.array(shape) - 1) / 2)
    label_affine[:3, 3] = middle - label_affine[:3, :3] @ [28.5, 28.5, 28.5]
    codes = balls_in_world((58, 58, 58), label_affine)
    t1 = save(tmp_path / "t1.nii.gz", image, image_affine)
    seg = save(tmp_path / "seg.nii.gz", codes, label_affine)
    code_map = CodeMap.build(("gm", "wm"), {1: "gm", 2: "wm"})
    with pytest.raises(UserError, match=r"seg.nii.gz: shape \(58, 58, 58\) differs"):
        prepare(Case("c", "1", {"T1": t1}, seg), ONE_MM, code_map)

    def target(params: PreprocessingParams) -> np.ndarray:
        prepared = prepare(Case("c", "1", {"T1": t1}, seg, labels_on_own_grid=True), params, code_map)
        assert prepared.target is not None and prepared.native_grid.shape == shape
        truth = balls_in_world(prepared.target.shape, prepared.grid.affine) if not params.crop else None
        if truth is not None:  # the middle of the uncropped grid is the middle of the image
            assert all(dice(prepared.target == k, truth == k) > 0.97 for k in (1, 2))
        return prepared.target

    target(ONE_MM.changed(crop=False))
    # 4/3 pi (12^3 - 6^3) and 4/3 pi 6^3 mm^3, on voxels of 1 mm
    volumes = (4 / 3 * np.pi * (12**3 - 6**3), 4 / 3 * np.pi * 6**3)
    gaussian = target(ONE_MM)
    assert np.bincount(gaussian.ravel())[1:] == pytest.approx(volumes, rel=0.03)
    nearest = target(ONE_MM.changed(label_interpolation="nearest"))
    assert np.bincount(nearest.ravel())[1:] == pytest.approx(volumes, rel=0.03)
    assert not np.array_equal(gaussian, nearest)
    label_affine[:3, 3] += 1000
    save(tmp_path / "seg.nii.gz", codes, label_affine)
    with pytest.raises(UserError, match="seg.nii.gz: lies beside the images of its case"):
        target(ONE_MM)


def test_an_upsampled_grid_of_its_own_is_nearest_neighbour(tmp_path: Path) -> None:
    image = np.pad(np.random.default_rng(0).normal(100, 5, (8, 8, 8)), 4).astype(np.float32)
    # labels on voxels of 2 mm over the same 16 mm
    codes = np.zeros((8, 8, 8), np.uint8)
    codes[3:5, 3:5, 3:5] = np.random.default_rng(1).integers(0, 2, (2, 2, 2))
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = 0.5
    t1, seg = save(tmp_path / "t1.nii.gz", image), save(tmp_path / "seg.nii.gz", codes, affine)
    code_map = CodeMap.build(("gm",), {1: "gm"})
    params = ONE_MM.changed(crop=False)
    prepared = prepare(Case("c", "1", {"T1": t1}, seg, labels_on_own_grid=True), params, code_map)
    assert np.array_equal(prepared.target, codes.repeat(2, 0).repeat(2, 1).repeat(2, 2))


def test_a_whole_head_goes_to_robex(tmp_path: Path, robex: RobexStandIn) -> None:
    shape = (20, 22, 24)
    head = np.random.default_rng(0).normal(100, 10, shape).astype(np.float32)
    affine = np.diag([-1.0, 1, 1, 1])
    t1 = save(tmp_path / "t1.nii.gz", head, affine)
    prepared = prepare(Case("c", "1", {"T1": t1}), ONE_MM)
    assert np.count_nonzero(prepared.mask) == np.count_nonzero(robex.mask(shape))
    inside = prepared.images[0][prepared.mask]
    assert abs(inside.mean()) < 1e-5 and (prepared.images[0][~prepared.mask] == -4).all()
    (seen,) = robex.images
    assert nib.aff2axcodes(seen.affine) == ("R", "A", "S") and np.array_equal(seen.get_fdata(), head[::-1])
    robex.answer = np.zeros(shape)
    with pytest.raises(UserError, match="t1.nii.gz: ROBEX found no brain"):
        prepare(Case("c", "1", {"T1": t1}), ONE_MM)


def test_every_step_can_be_left_out(tmp_path: Path) -> None:
    affine = oblique((1.0, 2.0, 3.0), 40, (-1, 1, -1))
    image = np.random.default_rng(0).normal(100, 10, (9, 8, 7)).astype(np.float32)
    codes = np.random.default_rng(1).integers(0, 2, image.shape).astype(np.uint8)
    t1, seg = save(tmp_path / "t1.nii.gz", image, affine), save(tmp_path / "seg.nii.gz", codes, affine)
    params = PreprocessingParams(
        orientation="native", spacing_mm=None, brain_extraction="none", z_score=False, crop=False
    )
    prepared = prepare(Case("c", "1", {"T1": t1}, seg), params, CodeMap.build(("gm",), {1: "gm"}))
    assert np.array_equal(prepared.images[0], image) and np.array_equal(prepared.target, codes)
    assert prepared.mask.all() and np.allclose(prepared.grid.affine, affine, atol=1e-5)
    assert voxel_sizes(prepared.grid.affine) == pytest.approx((1, 2, 3), abs=1e-6)


def test_the_corners_of_a_rotated_grid_are_outside(tmp_path: Path) -> None:
    affine = oblique((1.0, 1.0, 1.0), 45)
    image = np.random.default_rng(0).normal(100, 10, (20, 20, 4)).astype(np.float32)
    t1 = save(tmp_path / "t1.nii.gz", image, affine)
    params = PreprocessingParams(orientation="world", brain_extraction="none", z_score=False)
    prepared = prepare(Case("c", "1", {"T1": t1}), params)
    # 20 mm by 20 mm on its corner: a square of 28.3 mm, of which half is image
    assert prepared.mask.shape == (29, 29, 4)
    assert np.count_nonzero(prepared.mask) == pytest.approx(20 * 20 * 4, rel=0.02)
    assert (prepared.images[0][~prepared.mask] == -4).all() and not prepared.mask[0, 0].any()
    assert prepared.images[0][prepared.mask].min() >= image.min()


def test_values_are_limited_before_they_are_standardised(tmp_path: Path) -> None:
    volume = np.arange(64, dtype=np.float32).reshape(4, 4, 4)
    path = save(tmp_path / "ct.nii.gz", volume)
    params = PreprocessingParams(spacing_mm=None, brain_extraction="none", clip_values=[10, 50])
    expected = volume.clip(10, 50)
    found = prepare(Case("c", "1", {"CT": path}), params).images[0]
    assert np.allclose(found, (expected - expected.mean()) / expected.std(), atol=1e-5)


def test_z_scores_and_crop_are_separate(tmp_path: Path) -> None:
    image = np.zeros((20, 20, 20), np.float32)
    image[8:12, 8:12, 8:12] = np.random.default_rng(0).normal(100, 5, (4, 4, 4))
    t1 = save(tmp_path / "t1.nii.gz", image)
    raw = prepare(Case("c", "1", {"T1": t1}), ONE_MM.changed(z_score=False, outside_value=-7))
    assert raw.images.shape == (1, 12, 12, 12)  # 4 voxels of brain and 4 of margin on either side
    assert np.array_equal(raw.images[0][raw.mask], image[image > 0]) and (raw.images[0][~raw.mask] == -7).all()
    whole = prepare(Case("c", "1", {"T1": t1}), ONE_MM.changed(crop=False))
    cropped = prepare(Case("c", "1", {"T1": t1}), ONE_MM)
    assert np.array_equal(whole.images[0][4:16, 4:16, 4:16], cropped.images[0])
    assert np.array_equal(whole.grid.affine, np.eye(4)) and cropped.grid.affine[:3, 3].tolist() == [4, 4, 4]
