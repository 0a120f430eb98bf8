"""KiTS23 and BTCV as tiny files that are written, found and prepared."""

from pathlib import Path

import numpy as np
import pytest

from multiseg.data.loading import Cohort, load_cohorts
from multiseg.data.prepare import prepare
from multiseg.settings.params import CohortParams
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg_core.errors import UserError
from tests.conftest import save

WINDOW = PreprocessingParams(spacing_mm=None, brain_extraction="none", clip_values=[-160, 240], crop=False)


def load(root: Path, source: str) -> Cohort:
    return load_cohorts({"c": CohortParams(source=source, folder="data")}, None, root, root / "work")[0]["c"]


def volumes(codes: int) -> tuple[np.ndarray, np.ndarray]:
    """An image of -1000 to 1000 HU, and labels with every code."""
    labels = np.arange(6 * 5 * 4).reshape(6, 5, 4) % (codes + 1)
    return np.linspace(-1000, 1000, labels.size).reshape(labels.shape).astype(np.float32), labels.astype(np.uint8)


@pytest.mark.parametrize("top", ["", "dataset/"])
def test_kits23(tmp_path: Path, top: str) -> None:
    image, labels = volumes(3)
    for name in ("case_00000", "case_00412"):
        save(tmp_path / f"data/{top}{name}/imaging.nii.gz", image)
        save(tmp_path / f"data/{top}{name}/segmentation.nii.gz", labels)
    (tmp_path / f"data/{top}kits23.json").touch()
    cohort = load(tmp_path, "kits23")
    assert [case.name for case in cohort.cases] == ["case_00000", "case_00412"] and not cohort.problems
    assert cohort.notes == (f"cohort c: KiTS23 has 489 cases, {tmp_path / 'data' / top} holds 2",)
    assert cohort.code_map.annotates == ("kidney", "tumour", "cyst")
    found = prepare(cohort.cases[0], WINDOW, cohort.code_map)
    assert found.target is not None and np.array_equal(found.target, labels)
    limited = image.clip(-160, 240)
    assert np.allclose(found.images[0], (limited - limited.mean()) / limited.std(), atol=1e-5)


@pytest.mark.parametrize(
    ("images", "drawn"),
    [("imagesTr", "labelsTr"), ("img", "label"), ("RawData/Training/img", "RawData/Training/label")],
)
def test_btcv(tmp_path: Path, images: str, drawn: str) -> None:
    image, labels = volumes(13)
    for number in ("0001", "0035"):
        save(tmp_path / f"data/{images}/img{number}.nii.gz", image)
        save(tmp_path / f"data/{drawn}/label{number}.nii.gz", labels)
    cohort = load(tmp_path, "btcv")
    assert [case.name for case in cohort.cases] == ["0001", "0035"] and cohort.modalities == ("CT",)
    names = cohort.code_map.annotates
    assert len(names) == 13 and (names[0], names[5], names[12]) == ("spleen", "liver", "left_adrenal")
    found = prepare(cohort.cases[1], WINDOW, cohort.code_map)
    assert found.target is not None and np.array_equal(found.target, labels)


def test_a_label_file_that_is_missing_is_named(tmp_path: Path) -> None:
    image, _ = volumes(3)
    save(tmp_path / "data/case_00001/imaging.nii.gz", image)
    (fault,) = load(tmp_path, "kits23").problems["case_00001"]
    assert fault.startswith("cohort c, case case_00001: no file for labels (looked for case_00001/segmentation.nii,")
    with pytest.raises(UserError, match="no case in .*looked for files such as imagesTr/img0001.nii.gz or files such"):
        load(tmp_path, "btcv")
