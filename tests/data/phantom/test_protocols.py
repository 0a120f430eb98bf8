import numpy as np
import pytest

from multiseg.data.phantom.presets import PRESETS
from multiseg.data.phantom.protocols import CODES, OTHER, Protocol, complete_truth
from tests.data.phantom.conftest import anatomy, case, small_subject

TISSUES = ("csf", "gm", "wm")


def column(*fractions: tuple[float, float, float]) -> np.ndarray:
    """Fractions (3, n, 1, 1) of n voxels."""
    return np.array(fractions, np.float32).T[:, :, None, None]


def test_codes() -> None:
    assert dict(CODES) == {"csf": 1, "gm": 2, "wm": 3, "wmh": 4, "oedema": 5, "tumour": 6} and OTHER == 7


def test_truth_is_the_most_abundant_tissue_with_pathology_on_top() -> None:
    subject = small_subject(column((0.5, 0.3, 0.2), (0.3, 0.5, 0.2), (0, 0.4, 0.6), (0.1, 0.2, 0.15), (0, 0, 1)))
    assert complete_truth(subject, {}).ravel().tolist() == [1, 2, 3, 0, 3]  # the fourth is less than half brain
    # 1.4 x 0.4 > 0.5, but 1.4 x 0.3 < 0.5
    generous = small_subject(column((0.4, 0.5, 0.1), (0.3, 0.5, 0.2)))
    assert complete_truth(generous, {}, (1.4, 1, 1)).ravel().tolist() == [1, 2]

    def amount(*values: float) -> np.ndarray:
        return np.array(values).reshape(-1, 1, 1)

    maps = {"oedema": amount(0.6, 0.4, 0.9, 1, 0), "tumour": amount(0.4, 0.6, 0.8, 1, 0)}
    assert complete_truth(subject, maps).ravel().tolist() == [5, 6, 6, 0, 3]
    assert complete_truth(subject, {"wmh": maps["oedema"]}).ravel().tolist() == [4, 2, 4, 0, 3]


def test_csf_out_of_reach_becomes_grey_matter_or_background() -> None:
    fractions = column((0.9, 0.1, 0), (0.9, 0.1, 0), (0.6, 0.4, 0), (0.1, 0.9, 0))
    distance = np.array([-1, 5, 5, 5], np.float32).reshape(4, 1, 1)
    subject = small_subject(fractions, ventricle_distance_mm=distance)
    assert Protocol(TISSUES, csf_reach_mm=2.0).draw(subject, {}).ravel().tolist() == [1, 0, 2, 2]
    assert Protocol(TISSUES).draw(subject, {}).ravel().tolist() == [1, 1, 1, 2]


def test_hindbrain_and_labels_that_are_not_drawn() -> None:
    fractions = column((1, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 1), (0, 0, 0))
    hindbrain = np.array([0, 1, 1, 0, 1, 1], np.float32).reshape(6, 1, 1)
    subject = small_subject(fractions, hindbrain)
    wmh = {"wmh": np.array([0, 0, 0, 1, 1, 0]).reshape(6, 1, 1)}

    def drawn(*annotates: str, hindbrain: str = "drawn") -> list[int]:
        labels = Protocol(annotates, hindbrain=hindbrain).draw(subject, wmh)
        assert labels.dtype == np.uint8
        return labels.ravel().tolist()

    assert drawn(*TISSUES, "wmh") == [1, 1, 2, 4, 4, 0]
    assert drawn(*TISSUES) == [1, 1, 2, 0, 0, 0]
    assert drawn("wmh") == [0, 0, 0, 4, 4, 0]
    assert drawn(*TISSUES, "wmh", hindbrain="background") == [1, 0, 0, 4, 4, 0]
    assert drawn(*TISSUES, "wmh", hindbrain="other") == [1, 7, 7, 4, 4, 0]


def test_ibsr_draws_csf_in_and_at_the_ventricles_only() -> None:
    """Thesis, figure 33: IBSR labels far less CSF than the MRBrainS cohorts."""
    phantom, (subject, _) = case("ibsr"), anatomy("ibsr")
    drawn, there = phantom.labels == 1, phantom.truth == 1
    assert 0.01 < drawn.sum() / there.sum() < 0.25 and not (drawn & ~there).any()
    assert subject.ventricle_distance_mm[drawn].max() <= 2
    assert (subject.ventricle_distance_mm[there] > 10).mean() > 0.5
    # part of the rest is called GM; WM is as it is
    assert np.isin(phantom.labels[there & ~drawn], [0, 2]).all()
    assert np.array_equal(phantom.labels == 3, phantom.truth == 3)


@pytest.mark.parametrize(("preset", "hindbrain_code"), [("mrbrains13", 0), ("mrbrains18", 7)])
def test_mrbrains_draw_csf_generously_and_no_hindbrain(preset: str, hindbrain_code: int) -> None:
    phantom, (subject, _) = case(preset), anatomy(preset)
    behind = (subject.hindbrain > 0.5) & phantom.brain_mask
    tissue = np.isin(phantom.truth, [1, 2, 3])
    # cerebellum and brain stem: a tenth of the brain or somewhat more
    assert 0.06 < behind.sum() / phantom.brain_mask.sum() < 0.2
    assert set(phantom.labels[behind & tissue]) == {hindbrain_code}
    assert OTHER not in phantom.labels[~behind]
    # elsewhere, all CSF of the truth is drawn, and more
    drawn, there = (phantom.labels == 1) & ~behind, (phantom.truth == 1) & ~behind
    assert (drawn & there).sum() == there.sum() and drawn.sum() > 1.04 * there.sum()


@pytest.mark.parametrize(
    ("preset", "labels", "truth"),
    [
        ("ibsr", {0, 1, 2, 3}, {0, 1, 2, 3}),
        ("mrbrains13", {0, 1, 2, 3}, {0, 1, 2, 3}),
        ("mrbrains17", {0, 4}, {0, 1, 2, 3, 4}),
        ("mrbrains18", {0, 1, 2, 3, 4, 7}, {0, 1, 2, 3, 4}),
        ("brainweb", {0, 1, 2, 3}, {0, 1, 2, 3}),
        ("brats12", {0, 5, 6}, {0, 1, 2, 3, 5, 6}),
        ("tumorsim", {0, 1, 2, 3, 5, 6}, {0, 1, 2, 3, 5, 6}),
        ("varied", {0, 1, 2, 3}, {0, 1, 2, 3}),
    ],
)
def test_cohorts_draw_their_own_labels_only(preset: str, labels: set[int], truth: set[int]) -> None:
    phantom = case(preset)
    assert set(np.unique(phantom.labels)) == labels and set(np.unique(phantom.truth)) == truth
    # lesions are drawn as they are
    for code in labels & {4, 5, 6}:
        assert np.array_equal(phantom.labels == code, phantom.truth == code)
    assert set(PRESETS[preset].codes) == labels - {0}
