from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.data.loading import ensure_files
from multiseg.data.phantom.presets import PRESETS, make_case
from multiseg.data.phantom.protocols import CODES
from multiseg.data.phantom.source import phantom_cases
from multiseg.settings.params import CohortParams

SIZE = (4.0, 4.0, 4.0)
ANATOMY = {1: "csf", 2: "gm", 3: "wm"}


@pytest.mark.parametrize(
    ("name", "cases", "modalities", "codes", "absent"),
    [
        ("ibsr", 18, ["T1"], ANATOMY, ["wmh", "oedema", "tumour"]),
        ("mrbrains13", 5, ["T1", "IR", "FLAIR"], ANATOMY, ["wmh", "oedema", "tumour"]),
        ("mrbrains17", 60, ["T1", "FLAIR"], {4: "wmh"}, ["oedema", "tumour"]),
        ("mrbrains18", 7, ["T1", "IR", "FLAIR"], {**ANATOMY, 4: "wmh", 7: "ignore"}, ["oedema", "tumour"]),
        ("brainweb", 15, ["T1"], ANATOMY, ["wmh", "oedema", "tumour"]),
        ("brats12", 50, ["T1", "T1c", "T2", "FLAIR"], {5: "oedema", 6: "tumour"}, ["wmh"]),
        ("tumorsim", 20, ["T1", "T1c", "T2", "FLAIR"], {**ANATOMY, 5: "oedema", 6: "tumour"}, ["wmh"]),
    ],
)
def test_cohorts_are_those_of_the_thesis(
    name: str, cases: int, modalities: list[str], codes: dict[int, str], absent: list[str]
) -> None:
    """Thesis, sections 5 and 6."""
    preset = PRESETS[name]
    assert preset.cases == cases
    assert list(preset.scanner.modalities) == modalities
    assert preset.codes == codes
    assert list(preset.absent) == absent
    assert list(preset.protocol.annotates) == [label for label in codes.values() if label != "ignore"]


def test_some_presets_are_not_of_the_thesis() -> None:
    of_thesis = {"ibsr", "mrbrains13", "mrbrains17", "mrbrains18", "brainweb", "brats12", "tumorsim"}
    assert set(PRESETS) == of_thesis | {"combined", "varied", "varied_wmh", "varied_tumour"}
    assert PRESETS["varied"].codes == ANATOMY and PRESETS["varied"].scanner.any_contrast


@pytest.mark.parametrize("preset", ["mrbrains17", "brats12"])
def test_equal_arguments_give_equal_cases(preset: str) -> None:
    a, b = make_case(preset, 2, SIZE, seed=5), make_case(preset, 2, SIZE, seed=5)
    assert all(np.array_equal(a.images[m], b.images[m]) for m in a.images) and np.array_equal(a.labels, b.labels)
    assert np.array_equal(a.truth, b.truth) and np.array_equal(a.affine, b.affine)
    for other in (make_case(preset, 3, SIZE, seed=5), make_case(preset, 2, SIZE, seed=6)):
        assert a.labels.shape != other.labels.shape or not np.array_equal(a.truth, other.truth)


def test_cohorts_have_subjects_of_their_own() -> None:
    truths = [make_case(name, 0, (6.0, 6.0, 6.0)).truth for name in ("ibsr", "mrbrains13", "brainweb")]
    for i, a in enumerate(truths):
        for b in truths[i + 1 :]:
            assert a.shape != b.shape or (a != b)[a > 0].mean() > 0.05


def test_files_are_written_when_needed(tmp_path: Path) -> None:
    (case,) = phantom_cases(
        "c", CohortParams(source="phantom", preset="mrbrains18", cases=1, voxel_mm=6.0), tmp_path, "c"
    )
    assert not any(tmp_path.iterdir()) and case.labels is not None and case.brain_mask is not None
    assert list(case.images) == ["T1", "IR", "FLAIR"]
    ensure_files(case)
    made = make_case("mrbrains18", 0, (6.0, 6.0, 6.0))
    assert np.array_equal(np.asarray(nib.load(case.labels).dataobj), made.labels)
    assert np.array_equal(np.asarray(nib.load(case.brain_mask).dataobj), made.brain_mask)
    for modality, file in case.images.items():
        assert np.allclose(nib.load(file).affine, made.affine)
        assert np.array_equal(np.asarray(nib.load(file).dataobj), made.images[modality])
    truth = nib.load(case.labels.parent / "complete_truth.nii.gz")
    assert np.array_equal(np.asarray(truth.dataobj), made.truth)
    before = case.labels.stat().st_mtime_ns
    ensure_files(case)
    assert case.labels.stat().st_mtime_ns == before


def test_other_arguments_make_other_folders(tmp_path: Path) -> None:
    def folder(preset: str = "mrbrains17", mm: float = 6.0, seed: int = 0) -> Path:
        (case,) = phantom_cases(
            "c", CohortParams(source="phantom", preset=preset, cases=1, voxel_mm=mm, seed=seed), tmp_path, "c"
        )
        assert case.labels is not None
        return case.labels.parent.parent

    assert folder() == folder()
    assert len({folder(), folder("mrbrains18"), folder(mm=5.0), folder(seed=1)}) == 4


def test_all_labels_in_one_head() -> None:
    """With one protocol, what is drawn is all that there is."""
    case = make_case("combined", 0, (3.0, 3.0, 3.0))
    assert set(np.unique(case.labels)) == {0, *CODES.values()}
    assert np.array_equal(case.labels, case.truth)
    assert PRESETS["combined"].absent == ()
