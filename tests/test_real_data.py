"""Real MRI, where a folder of public examples lies beside the project; skipped elsewhere."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from multiseg.data.brain_masks import brain_from_stripped
from multiseg.data.cohorts import Case
from multiseg.data.image_files import read_image, read_volume
from multiseg.data.phantom.presets import make_case
from multiseg.data.prepare import prepare
from multiseg.results.domain_distance import BINS, divergence_matrix
from multiseg.settings.preprocessing import PreprocessingParams
from multiseg.study.check import check_study
from multiseg.study.study import Study
from multiseg_core.labels import CodeMap
from multiseg_core.resampling import most_probable_on
from tests.conftest import ROOT

DATA = ROOT.parent / "shared" / "data"
TWO_MM = PreprocessingParams(spacing_mm=2)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="no real data at hand")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def stripped(path: Path) -> np.ndarray:
    """The brain of a brain-extracted image."""
    found = brain_from_stripped(read_volume(path), read_image(path).affine, path)
    assert found is not None
    return found


def test_tissue_volumes_survive_preprocessing() -> None:
    folder = DATA / "oasis"
    labels = folder / "1000_tissues.nii.gz"
    code_map = CodeMap.build(("csf", "gm", "wm"), {1: "csf", 2: "gm", 3: "wm"})
    prepared = prepare(
        Case("c", "1", {"T1": folder / "1000_SS.nii.gz"}, labels, folder / "1000_mask.nii.gz"), TWO_MM, code_map
    )
    assert nib.aff2axcodes(prepared.grid.affine) == ("R", "A", "S") and prepared.target is not None
    native = read_volume(labels)
    for code in (1, 2, 3):
        ml = np.count_nonzero(prepared.target == code) * 8 / 1000
        # sulci thinner than a 2 mm voxel lose to their neighbours
        assert ml == pytest.approx(np.count_nonzero(native == code) / 1000, rel=0.07)
    one_hot = np.stack([prepared.target == k for k in range(4)]).astype(np.float32)
    back = most_probable_on(one_hot, prepared.grid, prepared.native_grid)
    # a 2 mm grid cannot hold the cortex of a 1 mm grid exactly, but left and right must not be swapped
    assert all(dice(back == code, native == code) > limit for code, limit in ((1, 0.7), (2, 0.8), (3, 0.87)))


def test_the_brain_of_stripped_images_is_found() -> None:
    oasis = DATA / "oasis" / "1001_SS.nii.gz"
    found = stripped(oasis)
    assert dice(found, read_volume(DATA / "oasis" / "1001_mask.nii.gz") > 0) > 0.97
    # small negative values from interpolation, and z-scored images whose background is 0
    (flair,) = (DATA / "ms" / "patient07").glob("FLAIR_*.nii.gz")
    assert 1_000_000 < np.count_nonzero(stripped(flair)) < 2_500_000
    case: Path = DATA / "brats2015" / "brats_2013_pat0001_1"
    image = case / "T1c_subtrMeanDivStd.nii.gz"
    assert dice(stripped(image), read_volume(case / "brainmask.nii.gz") > 0) > 0.97


def test_the_transfer_study_accepts_the_real_data(tmp_path: Path) -> None:
    for name in ("oasis", "ms", "tumour"):
        manifest = (ROOT / "params" / f"transfer_{name}.csv").read_text().replace("../data", str(DATA))
        (tmp_path / f"transfer_{name}.csv").write_text("\n".join(manifest.splitlines()[:4]))  # two of the cases
    shutil.copy(ROOT / "params" / "transfer.yaml", tmp_path)
    findings = check_study(Study(tmp_path / "transfer.yaml"))
    assert findings.errors == [] and findings.warnings == []
    assert findings.cohorts.set_index("cohort").loc[["oasis", "ms", "tumour"], "cases"].tolist() == [2, 1, 2]


def test_phantoms_look_like_real_t1_images() -> None:
    """Intensities of phantoms with any contrast are as near to real ones as cohorts are to each other (figure 16)."""

    def histogram(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
        inside = image[mask]
        counts, _ = np.histogram((inside - inside.mean()) / inside.std(), BINS)
        return counts / counts.sum()

    real, phantom = [], []
    for k in range(4):
        path = DATA / "oasis" / f"100{k}_SS.nii.gz"
        real.append(histogram(read_volume(path), stripped(path)))
        case = make_case("varied", k, (2.0, 2.0, 2.0))
        phantom.append(histogram(case.images["T1"], case.brain_mask))
    assert divergence_matrix({"real": real, "phantom": phantom}).loc["real", "phantom"] < 0.04
