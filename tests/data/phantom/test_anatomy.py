from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from multiseg.data.phantom.anatomy import COARSE_MM, Geometry, MassEffect, draw_geometry, draw_subject, world_grid
from multiseg.data.phantom.atlas import load_atlas
from multiseg.data.phantom.protocols import complete_truth
from multiseg.data.phantom.tumours import draw_mass
from tests.data.phantom.conftest import ML, anatomy, jacobian, world


def test_atlas_fractions_fill_the_brain() -> None:
    atlas = load_atlas()
    assert np.allclose(atlas.gm + atlas.wm + atlas.csf, atlas.brain, atol=1e-4)
    # the template's mask holds 1,887 ml
    assert atlas.brain.sum() / 1000 == pytest.approx(1887, rel=0.01)
    # lateral ventricles: one on each side, of plausible size (ml)
    inside = atlas.ventricle_distance_mm < 0
    x = atlas.affine[0, 3] + atlas.affine[0, 0] * np.argwhere(inside)[:, 0]
    assert 5 < (x < 0).sum() / 1000 < 20 and 5 < (x > 0).sum() / 1000 < 20


def test_origin_under_a_mass() -> None:
    mass = MassEffect((1.0, 2.0, 3.0), radius_mm=10.0, strength=0.5)
    at = np.array([[1, 2, 3], [11, 2, 3], [1, -18, 3], [1, 2, 103]], np.float32).T  # (3, 4): r = 0, 10, 20, 100
    expected = np.array([
        [1, 2, 3],
        [1 + 10 * (1 - 0.5 / np.e), 2, 3],
        [1, 2 - 20 * (1 - 0.5 / np.e**4), 3],
        [1, 2, 103],
    ])  # fmt: skip
    assert np.allclose(mass.origin(at).T, expected, atol=1e-4)
    # at the centre all three axes shrink by 1 - strength
    grid = np.stack(np.meshgrid(*[c + 0.1 * np.arange(-2, 3) for c in mass.centre_mm], indexing="ij"))
    assert jacobian(mass.origin(grid), 0.1)[2, 2, 2] == pytest.approx(0.5**3, rel=0.01)


def test_mapping_is_displacement_then_linear_then_shift() -> None:
    field = np.zeros((3, 6, 6, 6), np.float32)
    field[1] = 5
    geometry = Geometry(field, np.zeros(3), np.full(3, 20.0), np.diag([2.0, 1.0, 1.0]), np.array([0.0, 0.0, -7.0]))
    at = np.array([3, 4, 8], np.float32).reshape(3, 1, 1, 1)
    assert geometry.to_atlas(at).ravel() == pytest.approx([2 * 3, 4 + 5, 8 - 7])
    # with a mass at (3, 4, 0), what lies at z = 8 came from 8 (1 - 0.5 / e)
    pushed = replace(geometry, mass=MassEffect((3.0, 4.0, 0.0), 8.0, 0.5))
    assert pushed.to_atlas(at).ravel() == pytest.approx([6, 9, 8 * (1 - 0.5 / np.e) - 7], rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_the_mapping_to_the_atlas_does_not_fold(seed: int) -> None:
    rng = np.random.default_rng(seed)
    geometry = draw_geometry(rng, load_atlas())
    mass = draw_mass(rng, load_atlas(), geometry)
    step_mm = COARSE_MM / 2  # also within the cells of the displacement field
    for some_mass in (None, mass):
        g = replace(geometry, mass=some_mass)
        assert jacobian(g.to_atlas(world_grid(g, (step_mm,) * 3)[0]), step_mm).min() > 0.02
    if seed == 0:  # this test sees folds where there are some: beyond strength 1 the centre is turned inside out
        g = replace(geometry, mass=replace(mass, strength=1.5))
        assert jacobian(g.to_atlas(world_grid(g, (step_mm,) * 3)[0]), step_mm).min() < 0


def test_a_mass_pushes_the_ventricle_away() -> None:
    atlas, size = load_atlas(), (3.0, 3.0, 3.0)
    geometry = draw_geometry(np.random.default_rng(3), atlas)
    plain = draw_subject(np.random.default_rng(4), atlas, geometry, size)
    at = world(plain)
    ventricles = at[:, plain.ventricle_distance_mm < 0]  # (3, V)
    left = ventricles[:, ventricles[0].argmin()]
    mass = MassEffect((float(left[0]) - 12, float(left[1]), float(left[2])), 20.0, 0.5)
    pushed = draw_subject(np.random.default_rng(4), atlas, replace(geometry, mass=mass), size)

    distance = np.linalg.norm(at - np.reshape(mass.centre_mm, (3, 1, 1, 1)), axis=0)
    nearest = [distance[s.ventricle_distance_mm < 0].min() for s in (plain, pushed)]
    # 12 mm away at first; 12 = r (1 - 0.5 exp(-(r / 20)^2)) for r = 16.4
    assert 9 < nearest[0] <= 12 and 14 < nearest[1] < 19
    # each point's distance from the ventricles is that of the point where its tissue came from
    origin = (mass.origin(at) - plain.affine[:3, 3].reshape(3, 1, 1, 1)) / 3.0
    expected = ndimage.map_coordinates(plain.ventricle_distance_mm, origin, order=1, mode="nearest")
    near = distance < 40
    assert np.abs(pushed.ventricle_distance_mm - expected)[near].mean() < 0.3
    assert np.abs(pushed.ventricle_distance_mm - plain.ventricle_distance_mm)[near].mean() > 1
    # on the far side, nothing has moved
    assert np.allclose(pushed.fractions[:, distance > 80], plain.fractions[:, distance > 80], atol=1e-3)


@pytest.mark.parametrize(("preset", "index"), [("mrbrains13", 0), ("mrbrains13", 1), ("brats12", 0)])
def test_fractions_of_a_subject_sum_to_its_brain(preset: str, index: int) -> None:
    subject, _ = anatomy(preset, index)
    assert subject.fractions.min() >= 0
    assert np.allclose(subject.fractions.sum(0), subject.brain, atol=1e-3)
    faces = [np.take(subject.brain, i, axis) for axis in range(3) for i in (0, -1)]
    assert max(face.max() for face in faces) < 0.5  # the brain lies inside the grid
    # inside the ventricles there is nothing but CSF (the soft surface leaves some tissue: expit(-2.5 / 0.7) = 3 %)
    deep = subject.ventricle_distance_mm < -2.5
    assert deep.any() and np.allclose(subject.fractions[0][deep], subject.brain[deep], atol=0.06)


def test_volumes_are_those_of_adults() -> None:
    """Matsumae et al. 1996 (J Neurosurg 84) report 1469 +- 102 ml inside men's skulls and 1289 +- 111 in women's.

    CSF makes 11 % of it there; since, 150 to more than 330 ml have been reported (Yamada et al. 2023, Eur Radiol).
    Ranges of GM and WM are those usual for programs that segment T1 images of healthy adults. All are taken wide.
    """
    rows = []
    for index in range(5):
        subject, _ = anatomy("mrbrains13", index)
        truth = complete_truth(subject, {})
        rows.append([(truth == code).sum() * ML for code in (1, 2, 3)])
    csf, gm, wm = np.array(rows).T
    assert csf.min() > 150 and csf.max() < 450
    assert gm.min() > 500 and gm.max() < 850
    assert wm.min() > 400 and wm.max() < 650
    total = csf + gm + wm
    assert total.min() > 1050 and total.max() < 1750
    assert 1280 < total.mean() < 1560
    assert total.std(ddof=1) > 30  # heads differ in size


def test_ventricles_vary() -> None:
    ml = np.array([(anatomy("mrbrains13", i)[0].ventricle_distance_mm < 0).sum() * ML for i in range(5)])
    assert ml.min() > 2 and ml.max() < 60
    assert ml.max() > 1.8 * ml.min()
