from dataclasses import replace

import numpy as np
import pytest

from multiseg.data.phantom.anatomy import Subject
from multiseg.data.phantom.presets import PRESETS, averaged, in_slices, make_case
from multiseg.data.phantom.protocols import CODES
from multiseg.data.phantom.scanner import CONTRASTS, Scanner, TissueContrast, t1
from tests.data.phantom.conftest import anatomy, case, small_subject

PERFECT = Scanner(("T1",), 0.2, 0.6, jitter=0, bias=0, noise=0, texture=0, blur_mm=0, uneven=0)


def mixed() -> Subject:
    """Pure CSF, GM and WM, half GM and half WM, and nothing, along x; every voxel repeated."""
    columns = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.5, 0.5], [0, 0, 0]], np.float32).T
    return small_subject(np.broadcast_to(columns[:, :, None, None], (3, 5, 8, 8)).copy())


def test_signal_is_the_mean_of_the_tissues_by_their_shares() -> None:
    image = PERFECT.image(np.random.default_rng(0), mixed(), {}, "T1")
    assert image.dtype == np.float32
    relative = image / image[2, 0, 0]
    expected = np.array([0.2, 0.6, 1.0, (0.6 + 1.0) / 2, 0])
    assert np.allclose(relative, expected.reshape(5, 1, 1), atol=1e-5)
    squared = replace(PERFECT, gamma=2.0).image(np.random.default_rng(0), mixed(), {}, "T1")
    assert np.allclose(squared / squared[2, 0, 0], (expected**2).reshape(5, 1, 1), atol=1e-5)
    # neither the cohort's T1 nor its transfer shape the other modalities
    far = replace(mixed(), ventricle_distance_mm=np.full((5, 8, 8), 50, np.float32))
    flair = replace(PERFECT, gamma=2.0).image(np.random.default_rng(0), far, {}, "FLAIR")
    assert np.allclose((flair / flair[2, 0, 0])[:3, 0, 0], [0.35, 1.2, 1], atol=1e-5)


def test_pathology_covers_tissue_by_its_amount_later_ones_on_top() -> None:
    amount = np.zeros((5, 8, 8), np.float32)
    amount[2, :4], amount[2, 4:] = 0.5, 1
    fixed = replace(PERFECT, contrast=TissueContrast(0.2, 0.6, oedema=(0.72, 0.72), core=(0.55, 0.55)))
    image = fixed.image(np.random.default_rng(0), mixed(), {"oedema": amount, "core": amount**2}, "T1")
    relative = image[2] / image[1, 0, 0] * 0.6
    half = (1 + 0.72) / 2
    assert np.allclose(relative[:4], half + 0.25 * (0.55 - half), atol=1e-5)
    assert np.allclose(relative[4:], 0.55, atol=1e-5)


def test_enhancement_is_in_the_rim() -> None:
    rim = np.zeros((5, 8, 8), np.float32)
    rim[2, :4] = 1
    for modality, (low, high) in (("T1", t1(0.2, 0.6).rim), ("T1c", (1.1, 1.6))):
        images = [PERFECT.image(np.random.default_rng(seed), mixed(), {"rim": rim}, modality) for seed in range(8)]
        levels = [image[2, 0, 0] / image[2, 7, 0] for image in images]
        assert low <= min(levels) < max(levels) <= high


def test_lesions_are_not_of_one_shade() -> None:
    wm = np.zeros((3, 24, 24, 24), np.float32)
    wm[2] = 1
    subject, lesion = small_subject(wm), {"wmh": np.ones(wm.shape[1:], np.float32)}
    even, uneven = (
        replace(PERFECT, contrast=TissueContrast(0.3, 1.1, wmh=(1.5, 1.5)), uneven=uneven).image(
            np.random.default_rng(0), subject, lesion, "FLAIR"
        )
        for uneven in (0.0, 0.3)
    )
    assert even.std() < 1e-4 * even.mean()
    # 1 + .5 (1 + .3 n): a standard deviation of .15 about 1.5
    assert uneven.std() / even.mean() == pytest.approx(0.15 / 1.5, rel=0.3)


def test_the_lining_of_the_ventricles_is_bright_on_flair_whether_there_are_lesions_or_not() -> None:
    wm = np.zeros((3, 24, 6, 6), np.float32)
    wm[2] = 1
    away = np.broadcast_to(np.arange(24, dtype=np.float32)[:, None, None] - 4, wm.shape[1:])
    subject = small_subject(wm, ventricle_distance_mm=away)
    profiles = [PERFECT.image(np.random.default_rng(seed), subject, {}, "FLAIR")[:, 3, 3] for seed in range(8)]
    peaks = [profile[5] / profile[20] for profile in profiles]  # 1 mm from the ventricle
    assert max(peaks) <= 1.2 and max(peaks) > 1.05 and all(p.argmax() == 5 for p in profiles)


def test_noise_is_rician() -> None:
    dark = Scanner(("T1",), 0, 0, jitter=0, bias=0, noise=0.05, texture=0, blur_mm=0)
    subject = small_subject(np.stack([np.ones((30, 30, 30)), *np.zeros((2, 30, 30, 30))]))
    image = dark.image(np.random.default_rng(0), subject, {}, "T1")
    # without signal, Rayleigh: mean / standard deviation = sqrt(pi / 2) / sqrt(2 - pi / 2)
    assert image.min() >= 0
    assert image.mean() / image.std() == pytest.approx(np.sqrt(np.pi / 2) / np.sqrt(2 - np.pi / 2), rel=0.02)
    # far above it, Gaussian with the stated deviation
    bright = replace(dark, csf=1, gm=1).image(np.random.default_rng(0), subject, {}, "T1")
    assert bright.std() / bright.mean() == pytest.approx(0.05, rel=0.05)


@pytest.mark.parametrize("preset", list(PRESETS))
def test_images_are_never_negative_and_0_outside_the_brain(preset: str) -> None:
    phantom = case(preset)
    assert tuple(phantom.images) == PRESETS[preset].scanner.modalities
    for image in phantom.images.values():
        assert image.dtype == np.float32 and np.isfinite(image).all() and image.min() >= 0
        assert not image[~phantom.brain_mask].any() and (image[phantom.brain_mask] > 0).mean() > 0.999


def test_t1_orders_tissues_in_every_cohort() -> None:
    assert set(CONTRASTS) == {"IR", "T2", "FLAIR"}
    for name, preset in PRESETS.items():
        if "T1" not in preset.scanner.modalities:
            continue
        phantom = case(name)
        csf, gm, wm = (phantom.images["T1"][phantom.truth == CODES[t]].mean() for t in ("csf", "gm", "wm"))
        assert csf < gm < wm, name
        assert 0 <= preset.scanner.csf < preset.scanner.gm < 1


def thick(slice_mm: float) -> tuple[Subject, Subject, np.ndarray]:
    """A subject of 2 x 2 x 1 mm with tissue alternating along z, the same in slices, and a blob in those."""
    shape = (8, 8, 40)
    z = np.arange(40)
    wm = np.broadcast_to(z % 2, shape).astype(np.float32)
    affine = np.diag([2.0, 2, 1, 1])
    affine[:3, 3] = -5, 3, -11
    subject = replace(
        small_subject(np.stack([0 * wm, 1 - wm, wm])), affine=affine, spacing_mm=(2.0, 2.0, 1.0),
        ventricle_distance_mm=np.broadcast_to(z, shape).astype(np.float32),
    )  # fmt: skip
    blob = np.broadcast_to(np.exp(-((z - 17.3) ** 2) / 2 / 4.0**2), shape).astype(np.float32)
    return subject, in_slices(subject, slice_mm), averaged(blob, subject.spacing_mm, slice_mm)


@pytest.mark.parametrize("slice_mm", [3.0, 2.5, 4.0])
def test_slices_are_thick_and_stay_where_they_were(slice_mm: float) -> None:
    subject, sliced, blob = thick(slice_mm)
    n_slices = int(40 / slice_mm)
    assert sliced.brain.shape == (8, 8, n_slices) and sliced.fractions.shape == (3, 8, 8, n_slices)
    assert sliced.spacing_mm == (2.0, 2.0, slice_mm)
    assert np.allclose(np.diag(sliced.affine), [2, 2, slice_mm, 1])
    # the first slice begins where the first voxel began, at -11 - 1/2
    assert np.allclose(sliced.affine[:3, 3], [-5, 3, -11.5 + slice_mm / 2])
    assert np.allclose(sliced.fractions.sum(0), sliced.brain, atol=1e-5)
    # tissue that alternates within a slice is averaged
    inner = sliced.fractions[2, :, :, 1:-1]
    assert inner.min() > 0.4 and inner.max() < 0.6
    # in the world, the blob's centre is at -11 + 17.3
    z = sliced.affine[2, 3] + slice_mm * np.arange(n_slices)
    assert (blob[0, 0] * z).sum() / blob[0, 0].sum() == pytest.approx(-11 + 17.3, abs=0.05)
    # a linear map keeps its values at the same world positions
    assert np.allclose(sliced.ventricle_distance_mm[0, 0, 2:-2], (z + 11)[2:-2], atol=0.02)
    assert np.array_equal(subject.affine[:3, 3], [-5, 3, -11])  # left alone


def test_voxels_as_thick_as_the_slices_are_left_alone() -> None:
    subject, maps = anatomy("mrbrains17")
    assert in_slices(subject, 3.0) is subject and in_slices(subject, 0.0) is subject
    assert averaged(maps["wmh"], subject.spacing_mm, 3.0) is maps["wmh"]


def test_cohorts_have_slices_of_their_own() -> None:
    def thickness(preset: str, mm: float) -> tuple[float, ...]:
        return tuple(np.diag(make_case(preset, 0, (4.0, 4.0, mm)).affine)[:3])

    assert thickness("mrbrains13", 2.0) == (4, 4, 3)
    assert thickness("brainweb", 2.0) == (4, 4, 2)
    assert thickness("mrbrains13", 4.0) == (4, 4, 4)
    slices = {name: preset.scanner.slice_mm for name, preset in PRESETS.items()}
    assert slices == {
        "ibsr": 1.5, "mrbrains13": 3, "mrbrains17": 3, "mrbrains18": 3, "brainweb": 0, "brats12": 0, "tumorsim": 0,
        "combined": 0, "varied": 0, "varied_wmh": 0, "varied_tumour": 0,
    }  # fmt: skip


def test_any_contrast_varies() -> None:
    subject = small_subject(np.repeat(np.eye(3, dtype=np.float32), 20, axis=1)[:, :, None, None] * np.ones((20, 20)))

    def grey_to_white(scanner: Scanner, modality: str) -> np.ndarray:
        images = [scanner.image(np.random.default_rng(seed), subject, {}, modality) for seed in range(12)]
        tissues = [[image[part].mean() for part in (slice(5, 15), slice(25, 35), slice(45, 55))] for image in images]
        return np.array([[csf / wm, gm / wm] for csf, gm, wm in tissues])

    assert grey_to_white(PERFECT, "T1").std(0).max() < 1e-6
    csf, gm = grey_to_white(replace(PERFECT, any_contrast=True), "T1").T
    assert (csf < gm).all() and csf.std() > 0.05 and gm.std() > 0.03
    csf, gm = grey_to_white(replace(PERFECT, any_contrast=True), "FLAIR").T
    assert (csf < gm).all() and np.median(gm) > 1 and gm.std() > 0.03
