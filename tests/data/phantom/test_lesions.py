import numpy as np
import pytest

from multiseg.data.phantom.presets import PRESETS
from multiseg.data.phantom.protocols import CODES
from tests.data.phantom.conftest import ML, anatomy, case, drawn

CASES = [("mrbrains17", 0), ("mrbrains17", 1), ("mrbrains17", 2), ("mrbrains18", 0), ("mrbrains18", 1)]

TISSUES = ("csf", "gm", "wm", "wmh")


@pytest.mark.parametrize(("preset", "index"), CASES)
def test_wmh_lie_in_white_matter_around_the_ventricles(preset: str, index: int) -> None:
    subject, _ = anatomy(preset, index)
    lesion = drawn(preset, index)["wmh"]
    assert 1 - ML <= lesion.sum() * ML <= 60 and not (lesion & (subject.brain <= 0.5)).any()
    distance_mm = subject.ventricle_distance_mm[lesion]
    assert (distance_mm < 12).mean() > 0.4
    # they hug the ventricles: the same share of all white matter is far smaller
    white = subject.fractions[2] > 0.5
    assert (distance_mm < 12).mean() > 1.8 * (subject.ventricle_distance_mm[white] < 12).mean()
    assert (distance_mm > 15).any()  # deep ones
    assert distance_mm.min() >= 0
    share = subject.fractions[2][lesion] / subject.brain[lesion]
    assert share.mean() > 0.8
    assert not (lesion & (subject.hindbrain > 0.5)).any()


def test_loads_differ_between_subjects() -> None:
    ml = [drawn(*which)["wmh"].sum() * ML for which in CASES]
    assert max(ml) > 2 * min(ml)


def test_raters_stray_from_what_images_show_most_where_edges_are_soft() -> None:
    for which in CASES:
        seen, judged = anatomy(*which)[1]["wmh"], drawn(*which)["wmh"]
        sharp = seen > 0.5
        overlap = 2 * (sharp & judged).sum() / (sharp.sum() + judged.sum())
        assert 0.7 < overlap < 0.98  # two raters of the challenge agree at about .8
        assert sharp.sum() == pytest.approx(judged.sum(), abs=2)  # on the volume they agree
        assert np.abs(seen[sharp != judged] - 0.5).mean() < np.abs(seen[sharp & judged] - 0.5).mean()


def test_contrasts_of_wmh_are_those_of_real_ones() -> None:
    """On an MS patient's FLAIR lesions have 1.36 times the signal of white matter, on T1 .69 to .80."""
    ratios: dict[str, list[float]] = {"FLAIR": [], "T1": [], "grey": []}
    for preset in ("mrbrains17", "mrbrains18"):
        for index in range(4):
            phantom = case(preset, index)
            for modality in ("T1", "FLAIR"):
                mean = {name: phantom.images[modality][phantom.truth == CODES[name]].mean() for name in TISSUES}
                ratios[modality].append(mean["wmh"] / mean["wm"])
            ratios["grey"].append(mean["gm"] / mean["wm"])
    assert 1.2 < np.mean(ratios["FLAIR"]) < 1.5 and np.ptp(ratios["FLAIR"]) > 0.1
    assert 0.65 < np.mean(ratios["T1"]) < 0.85
    assert 1.0 < np.mean(ratios["grey"]) < 1.15


def test_healthy_cohorts_have_no_lesions() -> None:
    healthy = [name for name, preset in PRESETS.items() if preset.pathology == "none"]
    assert healthy == ["ibsr", "mrbrains13", "brainweb", "varied"]
    for name in healthy:
        assert set(np.unique(case(name).truth)) == {0, 1, 2, 3}
