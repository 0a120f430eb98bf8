from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from multiseg.data.phantom.anatomy import draw_geometry
from multiseg.data.phantom.atlas import load_atlas
from multiseg.data.phantom.presets import PRESETS, subject_name
from multiseg.data.phantom.protocols import CODES
from multiseg.data.phantom.tumours import draw_mass, draw_tumour
from tests.data.phantom.conftest import ML, MM, anatomy, case, small_subject, world

CASES = [("brats12", 0), ("brats12", 1), ("brats12", 2), ("tumorsim", 0)]


def test_masses_start_in_deep_white_matter_off_the_midline() -> None:
    atlas = load_atlas()
    radii, strengths = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        geometry = draw_geometry(rng, atlas)
        mass = draw_mass(rng, atlas, geometry)
        at = np.reshape(mass.centre_mm, (3, 1, 1, 1)).astype(np.float32)
        _, _, wm, distance_mm = atlas.sample(geometry.to_atlas(at)).ravel()
        assert wm > 0.4 and distance_mm > 5 and abs(mass.centre_mm[0]) > 12
        radii.append(mass.radius_mm / 1.3)
        strengths.append(mass.strength)
    assert min(radii) >= 8 and max(radii) <= 24 and max(radii) > 1.2 * min(radii)
    assert min(strengths) >= 0.3 and max(strengths) <= 0.6


@pytest.mark.parametrize("radius_mm", [9.0, 12.0])
def test_core_has_the_volume_that_was_asked_for(radius_mm: float) -> None:
    """In a brain of nothing but white matter: a ball of the stated radius."""
    wm = np.zeros((3, 24, 24, 24), np.float32)
    wm[2] = 1
    outside = np.full(wm.shape[1:], 50.0, np.float32)
    subject = replace(
        small_subject(wm, ventricle_distance_mm=outside), affine=np.diag([MM, MM, MM, 1]), spacing_mm=(MM,) * 3
    )
    centre = (33.0, 36.0, 39.0)
    rng = np.random.default_rng(0)
    mass = replace(draw_mass(rng, load_atlas(), draw_geometry(rng, load_atlas())), centre_mm=centre)
    core = draw_tumour(rng, subject, replace(mass, radius_mm=1.3 * radius_mm))[0]["core"] > 0.5
    assert core.sum() * MM**3 == pytest.approx(4 / 3 * np.pi * radius_mm**3, rel=0.02)
    assert np.argwhere(core).mean(0) * MM == pytest.approx(centre, abs=2)
    spread = np.linalg.norm(np.argwhere(core) * MM - centre, axis=1)
    assert spread.max() < 1.4 * radius_mm


@pytest.mark.parametrize(("preset", "index"), CASES)
def test_core_is_one_piece_in_a_bed_of_oedema(preset: str, index: int) -> None:
    subject, maps = anatomy(preset, index)
    core = maps["core"] > 0.5
    oedema = (maps["oedema"] > 0.5) & ~core
    brain = subject.brain > 0.5
    # 4/3 pi r^3 with r from 8 to 24 mm
    assert 2.1 - ML < core.sum() * ML < 58 and not (core & ~brain).any()
    labelled, _ = ndimage.label(core)
    assert np.bincount(labelled.ravel())[1:].max() > 0.97 * core.sum()
    # oedema alone is one to three times as large
    assert 0.9 < oedema.sum() / core.sum() < 3.1
    away_mm = ndimage.distance_transform_edt(~core, sampling=MM)
    assert oedema[brain & (away_mm > 0) & (away_mm <= MM)].mean() > 0.5
    assert away_mm[oedema].max() < 30
    labelled, _ = ndimage.label(core | oedema)
    assert np.bincount(labelled.ravel())[1:].max() > 0.9 * (core | oedema).sum()
    # at the same distances it fills white matter rather than grey
    ring = brain & (away_mm > 0) & (away_mm < 10)
    _, gm, wm = subject.fractions / np.maximum(subject.brain, 1e-3)
    assert oedema[ring & (wm > 0.6)].mean() > 2 * oedema[ring & (gm > 0.6)].mean()
    # nor does a tumour fill the ventricles
    assert (subject.ventricle_distance_mm[core | oedema] < -2).mean() < 0.01


@pytest.mark.parametrize(("preset", "index"), CASES)
def test_rim_is_the_outside_of_the_core(preset: str, index: int) -> None:
    _, maps = anatomy(preset, index)
    core, rim = maps["core"] > 0.5, maps["rim"] > 0.5
    assert rim.any() and not (rim & ~core).any()
    depth_mm = ndimage.distance_transform_edt(core, sampling=MM)
    assert depth_mm[rim].mean() < depth_mm[core].mean()


@pytest.mark.parametrize("preset", ["brats12", "tumorsim"])
def test_tumours_enhance_on_t1c_only(preset: str) -> None:
    phantom = case(preset)
    _, maps = anatomy(preset)
    rim = (phantom.truth == CODES["tumour"]) & (maps["rim"] > 0.7)
    names = ("csf", "gm", "wm", "oedema")
    mean = {m: {n: v[phantom.truth == CODES[n]].mean() for n in names} for m, v in phantom.images.items()}
    bright = {m: v[rim].mean() / mean[m]["wm"] for m, v in phantom.images.items()}
    assert bright["T1c"] > 1.1 and bright["T1"] < 0.9
    assert mean["T1"]["gm"] < mean["T1"]["wm"] and mean["T1"]["oedema"] < mean["T1"]["wm"]
    for modality in ("T2", "FLAIR"):
        assert mean[modality]["oedema"] > 1.2 * mean[modality]["wm"]
    assert mean["FLAIR"]["csf"] < mean["FLAIR"]["wm"] and mean["T2"]["csf"] > mean["T2"]["oedema"]


def test_tumorsim_grows_four_tumours_in_each_brainweb_subject_left_out() -> None:
    tumorsim, brainweb = PRESETS["tumorsim"], PRESETS["brainweb"]
    subjects = [subject_name("tumorsim", k, 0) for k in range(tumorsim.cases)]
    assert subjects == [f"brainweb-0-{s}" for _ in range(4) for s in (16, 17, 18, 19, 20)]
    assert subject_name("brainweb", 15, 0) == "brainweb-0-16"
    assert tumorsim.subjects_of == "brainweb" and brainweb.cases == 15  # subjects 0 to 14

    head, _ = anatomy("brainweb", 15)
    far = np.ones(head.brain.shape, bool)
    for k in (0, 5):
        subject, maps = anatomy("tumorsim", k)
        assert np.array_equal(subject.affine, head.affine)
        at, core = world(subject), maps["core"] > 0.5
        centre = at[:, core].mean(1).reshape(3, 1, 1, 1)
        radius_mm = (core.sum() * ML * 1000 * 3 / 4 / np.pi) ** (1 / 3)
        distance = np.linalg.norm(at - centre, axis=0)
        # within a radius of the centre tissue has moved by millimetres; at r = 4 radii by r exp(-(4 / 1.3)^2) < 0.01
        assert np.abs(subject.fractions - head.fractions).max(0)[distance < radius_mm].mean() > 0.02
        far &= distance > 4 * radius_mm + 10
    first, second = anatomy("tumorsim", 0)[0], anatomy("tumorsim", 5)[0]
    assert (head.brain[far] > 0.5).sum() * ML > 100
    for subject in (first, second):
        assert np.abs(subject.fractions - head.fractions)[:, far].max() < 0.02
    assert not np.array_equal(anatomy("tumorsim", 0)[1]["core"], anatomy("tumorsim", 5)[1]["core"])
    # the second case is of the next subject
    fifth = anatomy("tumorsim", 1)[0]
    alike = [
        np.isclose(other.fractions, fifth.fractions, atol=0.02).all(0)[other.brain > 0.5].mean()
        for other in (anatomy("brainweb", 15)[0], anatomy("brainweb", 16)[0])
    ]
    assert alike[0] < 0.3 and alike[1] > 0.6
