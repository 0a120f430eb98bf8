from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.data.loading import ensure_files, load_cohorts
from multiseg.data.phantom.abdomen import ABDOMENS, EXTENT_MM, make_case
from multiseg.data.phantom.source import phantom_cases
from multiseg.settings.params import CohortParams

MM = 8.0
SIZE = (MM, MM, MM)


@pytest.mark.parametrize("name", list(ABDOMENS))
def test_equal_arguments_give_equal_cases(name: str) -> None:
    a, b = (make_case(name, 1, SIZE, 3) for _ in range(2))
    assert np.array_equal(a.images["CT"], b.images["CT"]) and np.array_equal(a.labels, b.labels)
    other = make_case(name, 2, SIZE, 3)
    assert not np.array_equal(a.labels, other.labels)
    assert a.labels.shape == tuple(round(extent / MM) for extent in EXTENT_MM)
    assert np.allclose(a.affine @ [*((np.array(a.labels.shape) - 1) / 2), 1], [0, 0, 0, 1])  # the middle is the origin


def test_cysts_are_as_rare_as_they_shall_be() -> None:
    labels = [make_case("kidneys", i, SIZE, 0).labels for i in range(12)]
    ml = np.array([[(volume == code).sum() * MM**3 / 1000 for code in (1, 2, 3)] for volume in labels])
    kidney, tumour, cyst = ml.T
    assert 200 < kidney.mean() < 400 and (kidney > 100).all()
    assert 8 < tumour.mean() < 60 and (tumour > 0).all()
    assert 0.2 < (cyst > 0).mean() < 0.8 and cyst[cyst > 0].mean() < 12
    assert cyst.sum() / sum(volume.size * MM**3 / 1000 for volume in labels) < 5e-4


def test_signals_are_hounsfield_units() -> None:
    case = make_case("organs", 0, SIZE, 0)
    image, labels = case.images["CT"], case.labels
    codes = {label: code for code, label in ABDOMENS["organs"].codes.items()}
    means = {label: image[labels == code].mean() for label, code in codes.items() if (labels == code).sum() > 20}
    assert means["liver"] == pytest.approx(108, abs=45) and means["right_kidney"] > means["stomach"]
    assert image[~case.brain_mask].mean() < -800 and (labels[~case.brain_mask] == 0).all()
    # the right of the body is where x is larger
    right, left = (np.argwhere(labels == codes[name])[:, 0].mean() for name in ("right_kidney", "left_kidney"))
    assert right > left and np.argwhere(labels == codes["liver"])[:, 0].mean() > labels.shape[0] / 2


def test_files_and_params(tmp_path: Path) -> None:
    (case,) = phantom_cases(
        "c", CohortParams(source="phantom", preset="kidneys", cases=1, voxel_mm=12.0), tmp_path, "c"
    )
    ensure_files(case)
    assert list(case.images) == ["CT"] and case.labels is not None
    made = make_case("kidneys", 0, (12.0,) * 3, 0)
    assert np.array_equal(np.asarray(nib.load(case.labels).dataobj), made.labels)
    params = {"kidneys": CohortParams(source="phantom", cases=2, voxel_mm=12.0)}
    cohorts, labels = load_cohorts(params, None, tmp_path, tmp_path)
    assert labels == ("kidney", "tumour", "cyst") and cohorts["kidneys"].modalities == ("CT",)
    assert cohorts["kidneys"].complete_map is not None
    assert len({case.subject for case in cohorts["kidneys"].cases}) == 2
