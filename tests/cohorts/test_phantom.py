from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg_core.cohorts import ensure_files
from multiseg_core.cohorts.phantom.anatomy import draw_subject, random_displacement, smooth_noise
from multiseg_core.cohorts.phantom.atlas import load_atlas
from multiseg_core.cohorts.phantom.presets import CODES, PRESETS, make_case
from multiseg_core.cohorts.phantom.source import phantom_cases

SIZE = (4.0, 4.0, 4.0)


def test_atlas_fractions_fill_the_brain() -> None:
    atlas = load_atlas()
    assert np.allclose(atlas.gm + atlas.wm + atlas.csf, atlas.brain, atol=1e-4)
    # the template's mask holds 1,887 ml
    assert atlas.brain.sum() / 1000 == pytest.approx(1887, rel=0.01)
    # lateral ventricles: one on each side, of plausible size (ml)
    inside = atlas.ventricle_distance_mm < 0
    x = atlas.affine[0, 3] + atlas.affine[0, 0] * np.argwhere(inside)[:, 0]
    assert 5 < (x < 0).sum() / 1000 < 20 and 5 < (x > 0).sum() / 1000 < 20


def test_deformations_do_not_fold() -> None:
    for seed in range(3):
        field = random_displacement(np.random.default_rng(seed), (30, 36, 30), SIZE, scale_mm=30, amplitude_mm=5)
        jacobian = np.stack([np.stack(np.gradient(d, 4.0)) for d in field])
        jacobian += np.eye(3).reshape(3, 3, 1, 1, 1)
        assert np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min() > 0
        assert 2 < np.abs(field).max() < 30


def test_smooth_noise_has_the_stated_scale() -> None:
    noise = smooth_noise(np.random.default_rng(0), (60, 60, 60), 8.0, (2.0, 2.0, 2.0))
    assert noise.mean() == pytest.approx(0, abs=0.3) and noise.std() == pytest.approx(1, abs=0.25)

    # a Gaussian of sigma s makes a correlation of exp(-d^2 / 4 s^2): at d = 8 mm 0.78, at 32 mm nearly none
    def correlation(voxels: int) -> float:
        return float(np.corrcoef(noise[:-voxels].ravel(), noise[voxels:].ravel())[0, 1])

    assert correlation(4) == pytest.approx(np.exp(-0.25), abs=0.12)
    assert abs(correlation(16)) < 0.2


def test_fractions_of_a_subject_sum_to_its_brain() -> None:
    subject = draw_subject(np.random.default_rng(0), load_atlas(), SIZE)
    assert np.allclose(subject.fractions.sum(0), subject.brain, atol=1e-3)
    faces = [np.take(subject.brain, i, axis) for axis in range(3) for i in (0, -1)]
    assert max(face.max() for face in faces) < 0.5  # the brain lies inside the grid


@pytest.mark.parametrize("index", range(3))
def test_volumes_are_those_of_adults(index: int) -> None:
    case = make_case("mrbrains18", index, SIZE)
    ml = {name: (case.truth == code).sum() * 0.064 for name, code in CODES.items()}
    # healthy adults, ml: GM about 550-850, WM 400-650, CSF in the mask 150-450 (wide, as the atlas is large)
    assert 550 < ml["gm"] < 1050 and 380 < ml["wm"] < 720 and 100 < ml["csf"] < 450
    assert 2 < ml["wmh"] < 50


def test_cohorts_draw_their_own_labels_only() -> None:
    seen = {name: set(np.unique(make_case(name, 0, SIZE).labels)) for name in PRESETS}
    assert seen == {"mrbrains13": {0, 1, 2, 3}, "mrbrains17": {0, 4}, "mrbrains18": {0, 1, 2, 3, 4}}
    assert CODES["wmh"] not in make_case("mrbrains13", 0, SIZE).truth
    hidden = make_case("mrbrains17", 0, SIZE)
    assert set(np.unique(hidden.truth)) == {0, 1, 2, 3, 4}


def test_lesions_are_bright_on_flair_and_hardly_visible_on_t1() -> None:
    case = make_case("mrbrains18", 1, (2.0, 2.0, 2.0))
    mean = {
        m: {name: image[case.truth == code].mean() for name, code in CODES.items()} for m, image in case.images.items()
    }
    t1, flair = mean["T1"], mean["FLAIR"]
    assert flair["wmh"] > flair["gm"] > flair["wm"] > flair["csf"]
    assert t1["wm"] > t1["wmh"] > t1["gm"] > t1["csf"]
    contrast = {m: abs(v["wmh"] - v["wm"]) / v["wm"] for m, v in mean.items()}
    assert contrast["FLAIR"] > 2 * contrast["T1"]


def test_equal_arguments_give_equal_cases() -> None:
    a, b = make_case("mrbrains17", 2, SIZE, seed=5), make_case("mrbrains17", 2, SIZE, seed=5)
    assert all(np.array_equal(a.images[m], b.images[m]) for m in a.images) and np.array_equal(a.labels, b.labels)
    for other in (make_case("mrbrains17", 3, SIZE, seed=5), make_case("mrbrains17", 2, SIZE, seed=6)):
        assert a.labels.shape != other.labels.shape or not np.array_equal(a.truth, other.truth)


def test_files_are_written_when_needed(tmp_path: Path) -> None:
    (case,) = phantom_cases("c", "mrbrains17", 1, 6.0, 0, tmp_path)
    assert not any(tmp_path.iterdir()) and case.labels is not None
    ensure_files(case)
    made = make_case("mrbrains17", 0, (6.0, 6.0, 6.0))
    assert np.array_equal(np.asarray(nib.load(case.labels).dataobj), made.labels)
    assert np.allclose(nib.load(case.images["FLAIR"]).affine, made.affine)
    before = case.labels.stat().st_mtime_ns
    ensure_files(case)
    assert case.labels.stat().st_mtime_ns == before
