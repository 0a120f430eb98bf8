import numpy as np
import pytest

from multiseg_core.cohorts.phantom.presets import PRESETS
from multiseg_core.cohorts.phantom.protocols import CODES

from .conftest import ML, anatomy, case

CASES = [("mrbrains17", 0), ("mrbrains17", 1), ("mrbrains17", 2), ("mrbrains18", 0), ("mrbrains18", 1)]

TISSUES = ("csf", "gm", "wm", "wmh")


@pytest.mark.parametrize(("preset", "index"), CASES)
def test_wmh_lie_in_white_matter_around_the_ventricles(preset: str, index: int) -> None:
    subject, pathology = anatomy(preset, index)
    lesion = pathology["wmh"] > 0.5
    assert 3 - ML <= lesion.sum() * ML <= 45 and not (lesion & (subject.brain <= 0.5)).any()
    distance_mm = subject.ventricle_distance_mm[lesion]
    assert (distance_mm < 12).mean() > 0.5
    # they hug the ventricles: the same share of all white matter is far smaller
    white = subject.fractions[2] > 0.5
    assert (distance_mm < 12).mean() > 1.8 * (subject.ventricle_distance_mm[white] < 12).mean()
    assert (distance_mm > 15).any()  # deep ones
    assert distance_mm.min() >= 0
    share = subject.fractions[2][lesion] / subject.brain[lesion]
    assert share.mean() > 0.8
    assert not (lesion & (subject.hindbrain > 0.5)).any()


def test_loads_differ_between_subjects() -> None:
    ml = [(anatomy(*which)[1]["wmh"] > 0.5).sum() * ML for which in CASES]
    assert max(ml) > 2 * min(ml)


@pytest.mark.parametrize(("preset", "index"), CASES[2:])
def test_wmh_are_bright_on_flair_and_hardly_visible_on_t1(preset: str, index: int) -> None:
    phantom = case(preset, index)
    mean = {
        modality: {name: phantom.images[modality][phantom.truth == CODES[name]].mean() for name in TISSUES}
        for modality in ("T1", "FLAIR")
    }
    t1, flair = mean["T1"], mean["FLAIR"]
    assert flair["wmh"] > 1.15 * flair["gm"] and flair["gm"] > flair["wm"] > flair["csf"]
    assert t1["wm"] > t1["wmh"] > t1["gm"] > t1["csf"]
    contrast = {modality: abs(m["wmh"] - m["wm"]) / m["wm"] for modality, m in mean.items()}
    assert contrast["FLAIR"] > 3 * contrast["T1"]


def test_healthy_cohorts_have_no_lesions() -> None:
    healthy = [name for name, preset in PRESETS.items() if preset.pathology == "none"]
    assert healthy == ["ibsr", "mrbrains13", "brainweb", "varied"]
    for name in healthy:
        assert set(np.unique(case(name).truth)) == {0, 1, 2, 3}
